/**
 * Times of folders while names in them are replaced: put back at the end, and by the next run when this one was killed.
 *
 * Before the first change in a folder its times go into a journal, a file of this process: `FOLDER/PID`, a line
 * `<atime ns> <mtime ns> <path, a JSON byte string>` each. Whoever finds the journal of a dead process puts the times of
 * those folders back that nobody changed since.
 */
import {
  appendFileSync,
  type BigIntStats,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
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
  return {
    remember: (folder) => {
      const path = bytesOf(folder)
      if (times.has(path)) return
      const found = lstatSync(folder, { bigint: true })
      if (times.size === 0) mkdirSync(journals, { recursive: true, mode: 0o700 })
      appendFileSync(journal, `${found.atimeNs} ${found.mtimeNs} ${JSON.stringify(path)}\n`)
      times.set(path, found)
    },
    restore: async () => {
      if (times.size === 0) return
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

/** Node gives times as floating-point seconds, which lose the last hundreds of nanoseconds; touch does not. */
async function putBack(times: ReadonlyMap<string, Times>): Promise<void> {
  const exact: Buffer[] = []
  for (const [path, { atimeNs, mtimeNs }] of times) {
    const folder = Buffer.from(path, 'latin1')
    if (lstatSync(folder, { bigint: true }).mtimeNs === mtimeNs) continue
    utimesSync(folder, Number(atimeNs) / 1e9, Number(mtimeNs) / 1e9)
    if (lstatSync(folder, { bigint: true }).mtimeNs === mtimeNs) continue
    const time = `${mtimeNs / SECOND}.${String(mtimeNs % SECOND).padStart(9, '0')}`
    exact.push(Buffer.from(`touch -c -m -d @${time} -- '${path.replaceAll("'", "'\\''")}'\n`, 'latin1'))
  }
  if (exact.length > 0) await run(['sh', '-e'], { input: Buffer.concat(exact) })
}

/** A byte string. */
function bytesOf(folder: Place): string {
  return Buffer.from(folder).toString('latin1')
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH')
  }
}
