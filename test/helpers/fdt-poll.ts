/** A client of three web servers: what each answered, asked 20 times a second whatever happens. */

export interface Sample {
  readonly guest: string
  /** Milliseconds since the beginning. */
  readonly at: number
  /** What it answered; undefined when nothing came. */
  readonly answer: string | undefined
}

export interface Poll {
  readonly samples: readonly Sample[]
  /** Milliseconds since the beginning. */
  now(): number
  stop(): Promise<void>
}

const PERIOD_MS = 50
/** A guest without its own processor answers late; who hangs for longer is down. */
const ANSWER_MS = 10_000
/** Questions that wait at one guest; further ones count as unanswered. */
const WAITING = 40

export function startPoll(guests: ReadonlyMap<string, string>): Poll {
  const samples: Sample[] = []
  const begin = performance.now()
  const now = (): number => performance.now() - begin
  const open = new Set<Promise<void>>()
  const waiting = new Map<string, number>()
  const ask = async (guest: string, url: string): Promise<void> => {
    const at = now()
    const before = waiting.get(guest) ?? 0
    if (before >= WAITING) {
      samples.push({ guest, at, answer: undefined })
      return
    }
    waiting.set(guest, before + 1)
    const answer = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS) })
      .then(async (response) => (response.status === 200 ? (await response.text()).trim() : undefined))
      .catch(() => undefined)
    waiting.set(guest, (waiting.get(guest) ?? 1) - 1)
    samples.push({ guest, at, answer })
  }
  const timer = setInterval(() => {
    for (const [guest, url] of guests) {
      const one = ask(guest, url)
      open.add(one)
      void one.finally(() => open.delete(one))
    }
  }, PERIOD_MS)
  return {
    samples,
    now,
    stop: async () => {
      clearInterval(timer)
      await Promise.all(open)
    },
  }
}

/** Moments at which fewer than `least` of the guests answered the question that each was asked last. */
export function below(samples: readonly Sample[], guests: readonly string[], least: number): number[] {
  const last = new Map(guests.map((guest) => [guest, true]))
  const moments: number[] = []
  for (const { guest, at, answer } of samples.toSorted((a, b) => a.at - b.at)) {
    last.set(guest, answer !== undefined)
    if ([...last.values()].filter(Boolean).length < least) moments.push(Math.round(at))
  }
  return moments
}
