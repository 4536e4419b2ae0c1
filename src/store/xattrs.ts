/** Extended attributes of real files, by the attr tools: Node has no calls for them. */
import { findTool, run } from '../host/run.ts'
import type { TreePath, Xattr } from '../tree/tree.ts'

export interface FileXattrs {
  readonly path: Uint8Array | string
  readonly xattrs: readonly Xattr[]
}

/** Whether this process can give files any attribute that a package may bring: file capabilities need root. */
export function canSetXattrs(): boolean {
  return process.geteuid?.() === 0 && findTool('setfattr') !== undefined
}

/** @throws S5_TOOL_MISSING, S5_TOOL_FAILED */
export async function setXattrs(files: readonly FileXattrs[], signal?: AbortSignal): Promise<void> {
  if (files.length === 0) return
  const blocks = files.map(({ path, xattrs }) => {
    const lines = xattrs.map(([name, value]) => `${name}=0x${Buffer.from(value, 'latin1').toString('hex')}`)
    return `# file: ${quote(Buffer.from(path).toString('latin1'))}\n${lines.join('\n')}\n\n`
  })
  await run(['setfattr', '-h', '--restore=-'], {
    input: Buffer.from(blocks.join(''), 'latin1'),
    ...(signal ? { signal } : {}),
  })
}

/**
 * Attributes of everything below a directory, by path in it.
 * @throws S5_TOOL_MISSING, S5_TOOL_FAILED
 */
export async function readXattrs(directory: string, signal?: AbortSignal): Promise<Map<TreePath, Xattr[]>> {
  const { stdout } = await run(['getfattr', '-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '.'], {
    cwd: directory,
    ...(signal ? { signal } : {}),
  })
  return parseXattrs(stdout.toString('latin1'))
}

/**
 * Attributes of everything below some directories, by absolute path: a byte string.
 * @param directories absolute paths
 * @throws S5_TOOL_MISSING, S5_TOOL_FAILED
 */
export async function readXattrsBelow(
  directories: readonly string[],
  signal?: AbortSignal,
): Promise<Map<string, Xattr[]>> {
  const words = ['--absolute-names', '-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '--', ...directories]
  const { stdout } = await run(['getfattr', ...words], signal ? { signal } : {})
  return parseXattrs(stdout.toString('latin1'))
}

/** The output of `getfattr -e hex` for `.` or absolute paths. */
export function parseXattrs(text: string): Map<TreePath, Xattr[]> {
  const found = new Map<TreePath, Xattr[]>()
  let current: Xattr[] = []
  for (const line of text.split('\n')) {
    const file = /^# file: (.*)$/.exec(line)
    if (file) {
      const path = unquote(file[1] as string).replace(/^\.\/?/, '')
      current = []
      found.set(path, current)
      continue
    }
    const pair = /^([^=]+)=(?:0x([0-9a-f]*))?$/.exec(line)
    if (pair) current.push([pair[1] as string, Buffer.from(pair[2] ?? '', 'hex').toString('latin1')])
  }
  for (const list of found.values()) list.sort(([a], [b]) => (a < b ? -1 : 1))
  return found
}

/** The attr tools write and read bytes that would break a line as `\` and three octal digits. */
function quote(path: string): string {
  // oxlint-disable-next-line no-control-regex -- they are what has to be escaped
  return path.replace(
    /[\0-\x1f\\\x7f-\xff]/g,
    (letter) => `\\${letter.charCodeAt(0).toString(8).padStart(3, '0')}`,
  )
}

function unquote(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}
