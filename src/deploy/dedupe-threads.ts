/**
 * Compares and links many sets of files in several threads: some in others, the rest here.
 *
 * A rename that frees a file waits for the device where the file system discards what is free, so there are more threads
 * than processors: waits of one are work of another.
 */
import { setImmediate } from 'node:timers/promises'
import { startThread } from '../host/thread.ts'
import { type Bucket, linker, type Outcome, type Setting } from './dedupe-link.ts'
import { pack } from './dedupe-message.ts'
import type { FileNode } from './dedupe-scan.ts'

/** Files and bytes that are compared at a time. */
const SHARE_FILES = 256
const SHARE_BYTES = 8 << 20
/** Shares that another thread has at once: it works on one and finds the next. */
const AHEAD = 3
const OTHERS = 3

type Share = readonly Bucket[]

interface Linked {
  /** Buckets that are done. */
  readonly buckets: number
  readonly outcome: Outcome
}

/** Disposed, all have stopped. */
export interface Threads extends AsyncDisposable {
  /** Starts the other threads, which takes a while. */
  readonly start: () => void
  /**
   * Every bucket once, in no order. A file that cannot be read is equal to none.
   * @param before called with each set of buckets before anything is linked in it
   */
  readonly link: (
    buckets: readonly Bucket[],
    setting: Setting,
    before: (buckets: readonly Bucket[]) => void,
  ) => AsyncGenerator<Linked, void, void>
  /** Resolves when nothing is linked any more: what was given ends between two names. */
  readonly stop: () => Promise<void>
}

export function openThreads(): Threads {
  let others: readonly Other[] = []
  let flag: Int32Array | undefined

  async function* link(
    buckets: readonly Bucket[],
    setting: Setting,
    before: (buckets: readonly Bucket[]) => void,
  ): AsyncGenerator<Linked, void, void> {
    flag = setting.stop
    const shares = sharesOf(buckets)
    const here = linker(setting)
    for (const other of others) other.begin(setting)
    let next = 0
    while (next < shares.length) {
      for (let ahead = 1; ahead <= AHEAD; ahead++)
        for (const other of others) {
          if (other.pending() >= ahead || next >= shares.length - 1) continue
          const share = shares[next++] as Share
          before(share)
          other.give(share)
        }
      const mine = shares[next++] as Share
      before(mine)
      yield { buckets: mine.length, outcome: here(mine) }
      await setImmediate()
      for (const other of others) yield* other.take()
    }
    for (const other of others)
      while (other.pending() > 0) {
        await other.news()
        yield* other.take()
      }
  }

  const stop = async (): Promise<void> => {
    if (flag) Atomics.store(flag, 0, 1)
    await Promise.all(others.map((other) => other.end()))
  }
  return {
    start: () => {
      if (others.length === 0) others = Array.from({ length: OTHERS }, startOther)
    },
    link,
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

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

interface Other {
  readonly begin: (setting: Setting) => void
  readonly give: (share: Share) => void
  /** Shares that were given and not taken back. */
  readonly pending: () => number
  /** What is done by now. */
  readonly take: () => Linked[]
  /** Resolves when there is something to take. */
  readonly news: () => Promise<void>
  /** Resolves when the thread has answered for what it was given, and is gone. */
  readonly end: () => Promise<void>
}

function startOther(): Other {
  const worker = startThread('./dedupe-worker', import.meta.url)
  /** Their numbers of buckets. */
  const given: number[] = []
  let answered: Linked[] = []
  let failure: Error | undefined
  let wake = (): void => {}
  worker.on('message', (outcome: Outcome) => {
    answered.push({ buckets: given.shift() as number, outcome })
    wake()
  })
  worker.on('error', (error) => {
    failure = error instanceof Error ? error : new Error(String(error))
    wake()
  })
  worker.on('exit', (code) => {
    failure ??= new Error(`the thread that links files ended with code ${code}`)
    wake()
  })
  const news = async (): Promise<void> => {
    if (answered.length > 0 || failure) return
    const { promise, resolve } = Promise.withResolvers<void>()
    wake = resolve
    await promise
  }
  return {
    begin: (setting) => worker.postMessage(setting),
    give: (share) => {
      given.push(share.length)
      worker.postMessage(pack(share))
    },
    pending: () => given.length + answered.length,
    take: () => {
      if (failure) throw failure
      const all = answered
      answered = []
      return all
    },
    news,
    end: async () => {
      while (given.length > 0 && !failure) {
        answered = []
        await news()
      }
      await worker.terminate()
    },
  }
}
