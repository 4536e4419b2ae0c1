/**
 * Times of folders while names in them are replaced: put back at the end, and by the next run when this one was killed.
 *
 * Before the first change in a folder its times go into a journal, a file of this process: `FOLDER/PID`, a line
 * `<atime ns> <mtime ns> <path, a JSON byte string>` each. Whoever finds the journal of a dead process puts the times of
 * those folders back that nobody changed since.
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
import { run } from '../host/run.ts'
import type { Place } from './dedupe-scan.ts'

export interface FolderTimes {
  /** Before a name in it is replaced. */
  remember(folder: Place): void
  restore(): Promise<void>
}

type Times = Pick<BigIntStats, 'atimeNs' | 'mtimeNs'>

/** @param journals a folder for journals, made when missing */
export function openFolderTimes(journals: string): FolderTimes {
  const times = new Map<string, Times>()
  const journal = join(journals, String(process.pid))
  let fd: number | undefined
  return {
    remember: (folder) => {
      const path = byteString(folder)
      if (times.has(path)) return
      const found = lstatSync(folder, { bigint: true })
      if (fd === undefined) {
        mkdirSync(journals, { recursive: true, mode: 0o700 })
        fd = openSync(journal, 'a', 0o600)
      }
      writeSync(fd, `${found.atimeNs} ${found.mtimeNs} ${JSON.stringify(path)}\n`)
      times.set(path, found)
    },
    restore: async () => {
      if (fd === undefined) return
      closeSync(fd)
      await putBack(times)
      rmSync(journal, { force: true })
    },
  }
}

/** A change this long after the last line of a journal is none of the run that wrote it: nanoseconds. */
const AFTERMATH = 60_000_000_000n

/** Puts back what killed runs could not. */
export async function recoverFolderTimes(journals: string): Promise<void> {
  for (const name of readNames(journals).filter((each) => /^\d+$/.test(each) && !isAlive(Number(each)))) {
    const journal = join(journals, name)
    const { mtimeNs: last } = lstatSync(journal, { bigint: true })
    const times = new Map<string, Times>()
    for (const line of readFileSync(journal, 'utf8').split('\n')) {
      // The last line may be cut: then nothing in its folder was changed yet.
      const found = /^(\d+) (\d+) (".*")$/.exec(line)
      if (!found) continue
      const path = JSON.parse(found[3] as string) as string
      const now = lstatSync(Buffer.from(path, 'latin1'), { bigint: true, throwIfNoEntry: false })
      const isOurs = now?.isDirectory() && now.mtimeNs <= last + AFTERMATH
      if (isOurs)
        times.set(path, { atimeNs: BigInt(found[1] as string), mtimeNs: BigInt(found[2] as string) })
    }
    await putBack(times)
    rmSync(journal, { force: true })
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
async function putBack(times: ReadonlyMap<string, Times>): Promise<void> {
  const exact = new Map<bigint, Buffer[]>()
  for (const [path, { atimeNs, mtimeNs }] of times) {
    const folder = Buffer.from(path, 'latin1')
    if (lstatSync(folder, { bigint: true }).mtimeNs === mtimeNs) continue
    utimesSync(folder, Number(atimeNs) / 1e9, Number(mtimeNs) / 1e9)
    if (lstatSync(folder, { bigint: true }).mtimeNs === mtimeNs) continue
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

export function byteString(folder: Place): string {
  return (typeof folder === 'string' ? Buffer.from(folder) : folder).toString('latin1')
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH')
  }
}
