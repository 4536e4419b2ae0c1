/** Real guests for tests: built by the program itself, booted under TCG, spoken to over the console and HTTP. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { bootGuest, type Guest, type GuestSpec } from '../../src/deploy/qemu.ts'
import { findTool } from '../../src/host/run.ts'
import { type Ran, stage5 } from './console.ts'

/** One store for all runs: packages are fetched once. */
export const STORE: string = process.env['STAGE5_STORE'] ?? resolve(import.meta.dirname, '../.tmp/store')

/** Why guests cannot be booted here, or false. */
export const cannotBoot: string | false =
  findTool('qemu-system-x86_64') === undefined
    ? 'needs qemu-system-x86_64'
    : findTool('gpgv') === undefined || findTool('apt-get') === undefined
      ? 'needs a Debian machine with gpgv'
      : false

export interface Built {
  readonly directory: string
  file(ending: string): string
}

/**
 * Locks and builds a profile in a project folder.
 * @returns the output, or why the archive cannot be reached
 */
export async function buildProfile(
  project: string,
  profile: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Built | { skip: string }> {
  mkdirSync(STORE, { recursive: true })
  const program = (...words: string[]): Promise<Ran> =>
    stage5(project, [...words, '--json'], { STAGE5_STORE: STORE, ...env })
  const locked = await program('lock', profile)
  if (locked.code !== 0 && /S5_FETCH_FAILED|S5_OFFLINE/.test(locked.stdout + locked.stderr))
    return { skip: 'needs a Debian archive that can be reached' }
  if (locked.code !== 0) throw new Error(`stage5 lock ${profile}: ${locked.stdout}${locked.stderr}`)
  const built = await program('build', profile)
  if (built.code !== 0) throw new Error(`stage5 build ${profile}: ${built.stdout}${built.stderr}`)
  const directory = resolve(project, (JSON.parse(built.stdout) as { directory: string }).directory)
  const names = readdirSync(directory)
  return {
    directory,
    file: (ending) => {
      const name = names.find((each) => each.endsWith(ending))
      if (name === undefined) throw new Error(`${directory} has no *${ending}: ${names.join(' ')}`)
      return join(directory, name)
    },
  }
}

/** A guest of this output with 128 MiB under TCG, and what the test wants otherwise. */
export async function bootBuilt(
  built: Built,
  signal: AbortSignal,
  more: Partial<GuestSpec> = {},
): Promise<Guest> {
  const spec: GuestSpec = {
    arch: 'amd64',
    kernel: built.file('.vmlinuz'),
    initrd: built.file('.initrd'),
    base: more.base ?? built.file('.squashfs'),
    data: [],
    cmdline: ['quiet'],
    memoryMiB: 128,
    forwards: [],
    network: false,
    accel: 'tcg',
    extra: [],
    ...more,
  }
  return await bootGuest(spec, { signal })
}

let asked = 0

/** Types a command at the guest's shell. @returns the lines that it printed */
export async function shell(guest: Guest, command: string): Promise<string[]> {
  const end = `end-of-${++asked}`
  guest.write(`${command}; echo end""-of-${asked}\n`)
  const found = await guest.waitFor(`${end}\n`, 60_000)
  const lines = guest.last(500)
  if (!found.found) throw new Error(`${command}: ${found.why}; ${lines.slice(-20).join('\n')}`)
  const last = lines.lastIndexOf(end)
  const typed = lines.findLastIndex((line, at) => at < last && line.includes('end""-of-'))
  return lines.slice(typed + 1, last)
}

/** A port of 127.0.0.1 that nobody uses now. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const address = server.address()
  await new Promise((closed) => server.close(closed))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** Asks until the answer has this status, for at most a minute. */
export async function httpGet(port: number, path: string, status = 200): Promise<string> {
  const until = performance.now() + 60_000
  let last = ''
  while (performance.now() < until) {
    try {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(5_000) })
      const text = await answer.text()
      if (answer.status === status) return text
      last = `${answer.status} ${text}`
    } catch (error) {
      last = String(error)
    }
    await new Promise((later) => setTimeout(later, 100))
  }
  throw new Error(`no answer ${status} from port ${port} ${path}; the last was: ${last}`)
}

/** A file for a guest's disk that is no file system at all. */
export function noise(folder: string): string {
  const path = join(folder, 'noise.img')
  writeFileSync(path, Buffer.alloc(1024 * 1024, 'stage5 '))
  return path
}
