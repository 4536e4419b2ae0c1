/** Compares many sets of files: some in another thread, the others here, between which the caller uses what was found. */
import { setImmediate } from 'node:timers/promises'
import { startThread } from '../host/thread.ts'
import { comparer } from './dedupe-compare.ts'
import type { FileNode } from './dedupe-scan.ts'

type Bucket = readonly FileNode[]

/** Files and bytes that are compared at a time. */
const SHARE_FILES = 256
const SHARE_BYTES = 8 << 20
/** Shares that the other thread has at once: it works on one and finds the next. */
const AHEAD = 3
/** Less is done before a thread has started. */
const WORTH_BYTES = 32 << 20

export interface Compared {
  /** Buckets that are done, of all. */
  readonly done: number
  /** At least two files of equal bytes each. */
  readonly classes: readonly Bucket[]
}

/** Every bucket once, in no order. A file that cannot be read is equal to none. */
export async function* compareAll(buckets: readonly Bucket[]): AsyncGenerator<Compared, void, void> {
  const shares = sharesOf(buckets)
  const bytes = buckets.reduce(
    (sum, [first, ...rest]) => sum + (rest.length + 1) * (first as FileNode).size,
    0,
  )
  await using other = bytes < WORTH_BYTES ? undefined : startOther()
  const here = comparer()
  let done = 0
  let next = 0
  while (next < shares.length) {
    while (other && other.pending() < AHEAD && next < shares.length - 1) other.give(shares[next++] as Share)
    const mine = shares[next++] as Share
    yield found(mine, mine.map(likely).map(here.classes))
    await setImmediate()
    for (const { share, answer } of other?.take() ?? []) yield found(share, answer)
  }
  while (other && other.pending() > 0) {
    await other.news()
    for (const { share, answer } of other.take()) yield found(share, answer)
  }

  function found(share: Share, answer: readonly number[][][]): Compared {
    done += share.length
    const classes = answer.flatMap((lists, at) =>
      lists.map((list) => list.map((number) => (share[at] as Bucket)[number] as FileNode)),
    )
    return { done, classes }
  }
}

type Share = readonly Bucket[]

function sharesOf(buckets: readonly Bucket[]): Share[] {
  const shares: Bucket[][] = []
  let files = SHARE_FILES
  let bytes = 0
  for (const bucket of buckets) {
    if (files >= SHARE_FILES || bytes >= SHARE_BYTES) {
      shares.push([])
      files = 0
      bytes = 0
    }
    shares.at(-1)?.push(bucket)
    files += bucket.length
    bytes += bucket.length * (bucket[0] as FileNode).size
  }
  return shares
}

function likely(bucket: Bucket): { size: number; places: FileNode['names'][number]['place'][] } {
  const places = bucket.map(({ names: [name] }) => (name as FileNode['names'][number]).place)
  return { size: (bucket[0] as FileNode).size, places }
}

interface Answered {
  readonly share: Share
  readonly answer: readonly number[][][]
}

interface Other extends AsyncDisposable {
  give(share: Share): void
  /** Shares that were given and not taken back. */
  readonly pending: () => number
  /** What is answered by now. */
  take(): Answered[]
  /** Resolves when there is something to take. */
  news(): Promise<void>
}

function startOther(): Other {
  const worker = startThread('./dedupe-worker', import.meta.url)
  const given: Share[] = []
  let answered: Answered[] = []
  let failure: Error | undefined
  let wake = (): void => {}
  worker.on('message', (answer: readonly number[][][]) => {
    answered.push({ share: given.shift() as Share, answer })
    wake()
  })
  worker.on('error', (error) => {
    failure = error instanceof Error ? error : new Error(String(error))
    wake()
  })
  worker.on('exit', (code) => {
    failure ??= new Error(`the thread that compares files ended with code ${code}`)
    wake()
  })
  return {
    give: (share) => {
      given.push(share)
      worker.postMessage(share.map(likely))
    },
    pending: () => given.length + answered.length,
    take: () => {
      if (failure) throw failure
      const all = answered
      answered = []
      return all
    },
    news: async () => {
      if (answered.length > 0 || failure) return
      const { promise, resolve } = Promise.withResolvers<void>()
      wake = resolve
      await promise
    },
    [Symbol.asyncDispose]: async () => void (await worker.terminate()),
  }
}
