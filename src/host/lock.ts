/**
 * A lock between processes, shared or exclusive, that the system releases when its holder dies.
 *
 * Node has no flock. An open transaction of SQLite on a file of its own holds POSIX record locks, which is the same
 * promise without a child process; the file stays empty.
 */
import { readFileSync, statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { DatabaseSync } from 'node:sqlite'
import { Stage5Error } from '../base/errors.ts'
import { now } from './clock.ts'

export type LockMode = 'shared' | 'exclusive'

export interface LockOptions {
  /** How long to wait for others. Default: not at all. */
  readonly waitMs?: number
  readonly signal?: AbortSignal
  /** Told once, when waiting begins: who holds the lock, as `PID (command)`. */
  readonly waiting?: (holders: readonly string[]) => void
}

export interface Lock extends Disposable {
  readonly mode: LockMode
  /**
   * Let go and take it again in another mode; others may come in between. When that fails the lock is held in its
   * former mode again.
   * @throws S5_LOCK_BUSY
   */
  change(mode: LockMode, options?: LockOptions): Promise<void>
}

/**
 * @param path the lock file, made when missing; its directory must exist. Never open it by other means.
 * @throws S5_LOCK_BUSY; S5_DISK_FAILED when the file cannot be made or locked
 */
export async function takeLock(path: string, mode: LockMode, options: LockOptions = {}): Promise<Lock> {
  const database = openDatabase(path)
  let held: LockMode | undefined
  const take = async (wanted: LockMode, how: LockOptions): Promise<void> => {
    const until = now() + (how.waitMs ?? 0)
    let pause = 5
    for (let told = false; !tryTake(path, database, wanted); ) {
      if (now() >= until) throw busy(path)
      if (!told) how.waiting?.(holdersOf(path))
      told = true
      await sleep(pause, undefined, how.signal ? { signal: how.signal } : {})
      pause = Math.min(pause * 2, 100)
    }
    held = wanted
  }
  try {
    await take(mode, options)
  } catch (error) {
    database.close()
    throw error
  }
  return {
    get mode() {
      return held as LockMode
    },
    change: async (wanted, how = {}) => {
      const before = held as LockMode
      if (wanted === before) return
      database.exec('ROLLBACK')
      try {
        await take(wanted, how)
      } catch (error) {
        await take(before, { waitMs: 60_000 })
        throw error
      }
    },
    [Symbol.dispose]: () => {
      if (database.isOpen) database.close()
    },
  }
}

function openDatabase(path: string): DatabaseSync {
  try {
    return new DatabaseSync(path)
  } catch (cause) {
    throw failed(path, cause)
  }
}

function failed(path: string, cause: unknown): Stage5Error {
  const said = cause instanceof Error ? cause.message : String(cause)
  return new Stage5Error('S5_DISK_FAILED', `${path}: cannot be locked: ${said}`, { cause, data: { path } })
}

const BUSY = 5

/** @returns false when others hold it in a way that excludes `mode` */
function tryTake(path: string, database: DatabaseSync, mode: LockMode): boolean {
  try {
    // Without a journal file beside the lock. The first to ask reads the file and can be refused here already.
    database.exec('PRAGMA journal_mode = MEMORY')
    if (mode === 'exclusive') database.exec('BEGIN EXCLUSIVE')
    else database.exec('BEGIN; SELECT count(*) FROM sqlite_master')
    return true
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    if (error instanceof Error && 'errcode' in error && Number(error.errcode) % 256 === BUSY) return false
    throw failed(path, error)
  }
}

function busy(path: string): Stage5Error {
  const holders = holdersOf(path)
  const who = holders.length === 0 ? 'another process' : holders.join(', ')
  return new Stage5Error('S5_LOCK_BUSY', `${path} is held by ${who}`, { data: { path, holders } })
}

/** Processes that hold a record lock on `path`, as `PID (command)`; other people's commands may be hidden. */
function holdersOf(path: string): string[] {
  try {
    const { ino } = statSync(path)
    const holders = new Set<string>()
    for (const line of readFileSync('/proc/locks', 'latin1').split('\n')) {
      const words = line.trim().split(/\s+/)
      if (words[5]?.endsWith(`:${ino}`)) holders.add(words[4] as string)
    }
    return [...holders].map((pid) => `${pid}${commandOf(pid)}`)
  } catch {
    return []
  }
}

function commandOf(pid: string): string {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean)
    return words.length === 0 ? '' : ` (${words.join(' ').slice(0, 120)})`
  } catch {
    return ''
  }
}
