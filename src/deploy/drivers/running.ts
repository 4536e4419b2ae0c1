/** What a guest's console says about what really runs in it. */
import { open } from 'node:fs/promises'
import type { GuestFolder } from './folder.ts'

/** Bytes of a console that are kept when it is cut. The init names base and start in its first lines; kernels are talkative before. */
export const CONSOLE_HEAD = 1_048_576
export const CONSOLE_TAIL = 4_194_304

export function imageLine({ id, version }: { readonly id: string; readonly version: string }): string {
  return `${id} ${version}`
}

/** The beginning of the console since the guest started. */
export async function consoleHead(folder: GuestFolder): Promise<string> {
  return (
    (await part(folder, 'console.head', CONSOLE_HEAD, false)) ??
    (await part(folder, 'console.log', CONSOLE_HEAD, false)) ??
    ''
  )
}

/**
 * Everything that the console showed since the guest started, or the last 4 MiB of it. While the keeper cuts the log its
 * end stands in `console.tail`, from before the log is emptied until a second after it is filled again.
 */
export async function consoleTail(folder: GuestFolder): Promise<string | undefined> {
  const shown = await part(folder, 'console.log', CONSOLE_TAIL, true)
  const cut = await part(folder, 'console.tail', CONSOLE_TAIL, true)
  return shown === undefined ? cut : (cut ?? '') + shown
}

const FAILURE = /stage5: cannot boot: .*|Kernel panic - .*/

/** Why a trial used up its starts: what its last console says of it, and how its program ended. */
export async function whyFallen(folder: GuestFolder, generation: string): Promise<string> {
  const shown = (await part(folder, 'fallen.log', CONSOLE_TAIL, true)) ?? ''
  const last = shown.trimEnd().split('\n').at(-1)?.trim() ?? ''
  const said = FAILURE.exec(shown)?.[0] ?? last
  const ends = folder.read('run/ends').split('\n')
  const end = ends.findLast((line) => line.startsWith(`${generation} `))
  const code = /ended with (\d+)$/.exec(end ?? '')?.[1] ?? '0'
  return [said, code === '0' ? '' : `exit code ${code}`].filter((text) => text !== '').join(', ')
}

async function part(
  folder: GuestFolder,
  name: string,
  most: number,
  last: boolean,
): Promise<string | undefined> {
  const file = await open(folder.file('run', name)).catch(() => undefined)
  if (!file) return undefined
  try {
    const { size } = await file.stat()
    const bytes = Buffer.alloc(Math.min(size, most))
    const { bytesRead } = await file.read(bytes, 0, bytes.length, last ? size - bytes.length : 0)
    return bytes.toString('utf8', 0, bytesRead).replaceAll('\r', '')
  } finally {
    await file.close()
  }
}

/**
 * The init prints what it read from the base that it mounted (`stage5: base DISK ID VERSION`), and the words of its own
 * kernel command line (`stage5: start GENERATION BOOT-ID`). Both must be those of the generation that was started.
 */
export function runningImage(
  folder: GuestFolder,
  generation: string,
  bootId: string,
  console: string,
): { readonly running: string } | { readonly unknown: string } {
  const base = /^stage5: base \S+ (\S+ \S+)$/m.exec(console)?.[1]
  const start = /^stage5: start (\S+) (\S+)$/m.exec(console)
  if (base === undefined || !start) {
    const reason = FAILURE.exec(console)?.[0]
    return { unknown: reason ?? 'starting' }
  }
  if (start[1] !== generation || start[2] !== bootId)
    return { unknown: `expected the start ${generation} ${bootId}, found ${start[1]} ${start[2]}` }
  const expected = folder.read(`gen/${generation}/image`)
  return base === expected
    ? { running: generation }
    : { unknown: `expected the image ${expected}, found ${base}` }
}
