/**
 * Everything that a fleet's engine keeps, followed: listed once, then kept up to date by watching, so that a pass costs
 * what changed and not what there is.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { isStage5Error } from '../base/errors.ts'
import type { ChangeSet, Engine } from '../engine/engine.ts'
import { documentMirror, type Documents } from '../fleet/read.ts'
import { monotonicMs } from '../host/clock.ts'

interface FollowOptions {
  readonly engine: Pick<Engine, 'list' | 'watch'>
  readonly prefix: string
  readonly signal: AbortSignal
  /** Something changed. */
  readonly ring: () => void
  /** A watch may fall silent without an error, on a member that others no longer talk to: after this all is listed anew. */
  readonly listMs: number
}

interface Following {
  /**
   * The documents as of now; they stay as they are until the next call.
   * @throws S5_ENGINE_UNAVAILABLE
   */
  turn(): Promise<Documents>
  /** Waits until what was written in `revision` is seen; the next turn lists when that takes longer than `mostMs`. */
  reach(revision: bigint, mostMs: number): Promise<void>
  /** The next turn lists: what was written is not what was expected. */
  doubt(): void
  /** Resolves when nothing is watched any more, after `signal`. */
  end(): Promise<void>
}

export function followFleet({ engine, prefix, signal, ring, listMs }: FollowOptions): Following {
  const mirror = documentMirror()
  let waiting: ChangeSet[] = []
  let heard = 0n
  let watching: AbortController | undefined
  let ended = Promise.resolve()
  let failure: { readonly error: unknown } | undefined
  let listedAt = -Infinity
  let waiters: readonly { readonly revision: bigint; readonly tell: () => void }[] = []

  function hear(set: ChangeSet): void {
    heard = set.revision
    waiting.push(set)
    for (const { revision: at, tell } of waiters) if (at <= heard) tell()
    ring()
  }

  async function watch(after: bigint, mine: AbortController): Promise<void> {
    const end = AbortSignal.any([signal, mine.signal])
    try {
      for await (const set of engine.watch(prefix, after, end)) {
        if (end.aborted) return
        hear(set)
      }
    } catch (error) {
      if (!end.aborted && !isStage5Error(error, 'S5_ENGINE_UNAVAILABLE', 'S5_ENGINE_COMPACTED')) throw error
    } finally {
      if (watching === mine) watching = undefined
    }
  }

  async function list(): Promise<void> {
    watching?.abort()
    watching = undefined
    const snapshot = await engine.list(prefix)
    waiting = []
    mirror.reset(snapshot.values)
    heard = snapshot.revision
    listedAt = monotonicMs()
    const mine = new AbortController()
    watching = mine
    ended = watch(snapshot.revision, mine).catch((error: unknown) => {
      failure = { error }
      ring()
    })
  }

  return {
    turn: async () => {
      if (failure) throw failure.error
      if (watching === undefined || monotonicMs() - listedAt >= listMs) await list()
      else {
        for (const { changes } of waiting) mirror.apply(changes)
        waiting = []
      }
      return mirror.documents()
    },
    reach: async (at, mostMs) => {
      if (heard >= at || signal.aborted) return
      const reached = Promise.withResolvers<void>()
      const waiter = { revision: at, tell: reached.resolve }
      waiters = [...waiters, waiter]
      const done = new AbortController()
      const timer = sleep(mostMs, 'late' as const, { signal: AbortSignal.any([signal, done.signal]) })
      const outcome = await Promise.race([reached.promise, timer.catch(() => undefined)])
      done.abort()
      waiters = waiters.filter((one) => one !== waiter)
      if (outcome === 'late') listedAt = -Infinity
    },
    doubt: () => {
      listedAt = -Infinity
    },
    end: () => ended,
  }
}
