/**
 * Times of folders while names in them are replaced: put back at the end, and by the next run when this one was killed.
 *
 * Before the first change in a folder its times go into a journal, a file of this process: `FOLDER/PID`, a line
 * `<atime ns> <mtime ns> <path, a JSON byte string>` each. While folders are changed the journal is touched. Whoever
 * finds the journal of a dead process puts the times of those folders back that nobody changed since.
 */
import {
  type BigIntStats,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { monotonicMs, now } from '../host/clock.ts'
import { isAlive } from '../host/processes.ts'
import { run } from '../host/run.ts'
import { placeOf } from './dedupe-scan.ts'

interface FolderTimes {
  /** Before names in them are replaced. */
  remember(numbers: Iterable<number>): void
  /** Puts back the times of those that were changed. @param changed by number, not 0 for those */
  restore(changed: Uint8Array): Promise<void>
}

type Times = Pick<BigIntStats, 'atimeNs' | 'mtimeNs'>

function journalIn(journals: string): string {
  return join(journals, String(process.pid))
}

/**
 * @param journals a folder for journals, made when missing
 * @param folders paths by number, byte strings
 */
export function openFolderTimes(journals: string, folders: readonly string[]): FolderTimes {
  const times = new Map<number, Times>()
  const journal = journalIn(journals)
  let fd: number | undefined
  return {
    remember: (numbers) => {
      let lines = ''
      for (const number of numbers) {
        if (times.has(number)) continue
        const path = folders[number] as string
        const found = lstatSync(placeOf(path), { bigint: true })
        lines += `${found.atimeNs} ${found.mtimeNs} ${JSON.stringify(path)}\n`
        times.set(number, found)
      }
      if (lines === '') return
      if (fd === undefined) {
        mkdirSync(journals, { recursive: true, mode: 0o700 })
        fd = openSync(journal, 'a', 0o600)
      }
      writeSync(fd, lines)
    },
    restore: async (changed) => {
      if (fd === undefined) return
      closeSync(fd)
      const own = [...times].filter(([number]) => changed[number] !== 0)
      await putBack(own.map(([number, found]) => [folders[number] as string, found]))
      rmSync(journal, { force: true })
    },
  }
}

const TOUCH_MS = 10_000

/** Called in any thread before each change in a folder: the journal is never much older than what was changed last. */
export function journalToucher(journals: string): () => void {
  let last = monotonicMs()
  return () => {
    if (monotonicMs() - last < TOUCH_MS) return
    last = monotonicMs()
    utimesSync(journalIn(journals), now() / 1000, now() / 1000)
  }
}

/** A change this long after the last line of a journal is none of the run that wrote it: nanoseconds. */
const AFTERMATH = 60_000_000_000n

/** What killed runs left changed, found before anything else changes the folders. */
interface Unmended {
  mend(): Promise<void>
}

export function findUnmended(journals: string): Unmended {
  const dead = readNames(journals).filter((each) => /^\d+$/.test(each) && !isAlive(Number(each)))
  const times = new Map<string, Times>()
  for (const journal of dead.map((name) => join(journals, name))) {
    const { mtimeNs: last } = lstatSync(journal, { bigint: true })
    for (const line of readFileSync(journal, 'utf8').split('\n')) {
      // The last line may be cut: then nothing in its folder was changed yet.
      const found = /^(\d+) (\d+) (".*")$/.exec(line)
      if (!found) continue
      const path = JSON.parse(found[3] as string) as string
      const present = lstatSync(placeOf(path), { bigint: true, throwIfNoEntry: false })
      const isOurs = present?.isDirectory() && present.mtimeNs <= last + AFTERMATH
      if (isOurs)
        times.set(path, { atimeNs: BigInt(found[1] as string), mtimeNs: BigInt(found[2] as string) })
    }
  }
  return {
    mend: async () => {
      await putBack(times)
      for (const name of dead) rmSync(join(journals, name), { force: true })
    },
  }
}

function readNames(journals: string): readonly string[] {
  try {
    return readdirSync(journals)
  } catch {
    return []
  }
}

const SECOND = 1_000_000_000n
/** Folders for one process; a path may have 4 kB, and all of them 2 MB. */
const TOUCHED = 256

/** Node gives times as floating-point seconds, which lose the last hundreds of nanoseconds; touch does not. */
async function putBack(times: Iterable<[string, Times]>): Promise<void> {
  const exact = new Map<bigint, Buffer[]>()
  for (const [path, { atimeNs, mtimeNs }] of times) {
    const folder = placeOf(path)
    utimesSync(folder, Number(atimeNs) / 1e9, Number(mtimeNs) / 1e9)
    if (mtimeNs % SECOND === 0n || lstatSync(folder, { bigint: true }).mtimeNs === mtimeNs) continue
    const quoted = Buffer.from(` '${path.replaceAll("'", "'\\''")}'`, 'latin1')
    const sameTime = exact.get(mtimeNs)
    if (sameTime) sameTime.push(quoted)
    else exact.set(mtimeNs, [quoted])
  }
  if (exact.size === 0) return
  const lines: Buffer[] = []
  for (const [mtimeNs, quoted] of exact) {
    const time = `${mtimeNs / SECOND}.${String(mtimeNs % SECOND).padStart(9, '0')}`
    for (let at = 0; at < quoted.length; at += TOUCHED) {
      const folders = quoted.slice(at, at + TOUCHED)
      lines.push(Buffer.from(`touch -c -m -d @${time} --`), ...folders, Buffer.from('\n'))
    }
  }
  await run(['sh', '-e'], { input: Buffer.concat(lines) })
}
