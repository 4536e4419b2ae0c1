/**
 * The upper layers of overlays on a guest's data disk: read and mended with debugfs(8), as any user and without a mount.
 * On the disk they lie in `/upper`, under the names that they have in the guest; the guest is off.
 */
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type Digest, digestOf } from '../base/digest.ts'
import { printable, Stage5Error } from '../base/errors.ts'
import { debugfsScript } from '../emit/data-disk.ts'
import type { UpperEntry } from '../fleet/shadow.ts'
import { fileTypeOf } from '../format/file-type.ts'
import { syncFile } from '../host/disk.ts'
import { run } from '../host/run.ts'
import { temporaryDirectory } from '../host/temp.ts'
import { comparePaths, type TreePath, type Xattr } from '../tree/tree.ts'
import { type Beside, goingNames, sortXattrs, type UpperLayer } from './upper-layer.ts'

const UPPER = 'upper'

/** The layers on one disk: an ext4 file. */
export function diskLayer(disk: string): UpperLayer {
  return {
    isLive: false,
    exists: () => existsSync(disk),
    settle: (signal) => settleDisk(disk, signal),
    read: (...words) => readUpper(disk, ...words),
    mend: (...words) => mendUpper(disk, ...words),
  }
}

/** One name of a directory on the disk. */
interface Found {
  readonly path: TreePath
  readonly ino: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
}

/**
 * Replays the journal of a guest that was cut off, as its next start would, and mends what that needs.
 * @throws S5_TOOL_MISSING, S5_TOOL_FAILED
 */
async function settleDisk(disk: string, signal: AbortSignal): Promise<void> {
  await run(['e2fsck', '-p', disk], { signal, accept: [0, 1] })
}

async function readUpper(
  disk: string,
  paths: readonly TreePath[],
  isCompared: (path: TreePath) => boolean,
  signal: AbortSignal,
): Promise<readonly UpperEntry[]> {
  const found: Found[] = []
  let level: TreePath[] = [...paths]
  while (level.length > 0) {
    const below = await listAll(
      disk,
      level.map((path) => `${UPPER}/${path}`),
      signal,
    )
    const own = below.map((one) => ({ ...one, path: one.path.slice(UPPER.length + 1) }))
    found.push(...own)
    level = own.filter(({ mode }) => fileTypeOf(mode) === 'dir').map(({ path }) => path)
  }
  const facts = await factsOf(disk, found, signal)
  const bodies = await bodiesOf(disk, found, isCompared, signal)
  return found
    .map((one) => entryOf(one, facts.get(one.ino) as Facts, bodies.get(one.ino)))
    .sort((a, b) => comparePaths(a.path, b.path))
}

function entryOf(one: Found, facts: Facts, body: Uint8Array | undefined): UpperEntry {
  const { path, mode, uid, gid, size } = one
  const { xattrs, marks } = sortXattrs(facts.xattrs)
  const meta = { mode: mode & 0o7777, uid, gid, mtime: 0, ...(xattrs.length > 0 && { xattrs }) }
  const type = fileTypeOf(mode)
  switch (type) {
    case 'dir':
      return { path, inode: { type, ...meta }, ...marks }
    case 'file': {
      const content = digestOf(body ?? new Uint8Array(0))
      return { path, inode: { type, ...meta, size, content }, ...marks }
    }
    case 'symlink':
      return {
        path,
        inode: { type, ...meta, target: facts.target ?? Buffer.from(body ?? []).toString('latin1') },
      }
    case 'char':
    case 'block':
      // Character device 0:0.
      if (type === 'char' && facts.major === 0 && facts.minor === 0) return { path }
      return { path, inode: { type, ...meta, major: facts.major, minor: facts.minor } }
    case 'fifo':
    case 'socket':
      return { path, inode: { type, ...meta } }
    case undefined:
      throw unreadable(path, `mode ${mode.toString(8)}`)
  }
}

interface Facts {
  readonly xattrs: readonly Xattr[]
  readonly target?: string
  readonly major: number
  readonly minor: number
}

/** What `ls` does not tell: attributes, targets of short symlinks, numbers of devices. */
async function factsOf(
  disk: string,
  found: readonly Found[],
  signal: AbortSignal,
): Promise<Map<number, Facts>> {
  const inodes = [...new Set(found.map(({ ino }) => ino))]
  const answers = await ask(
    disk,
    inodes.flatMap((ino) => [`ea_list <${ino}>`, `stat <${ino}>`]),
    signal,
  )
  return new Map(
    inodes.map((ino, at) => {
      const stat = answers[2 * at + 1] ?? ''
      const device = /Device major\/minor number: (\d+):(\d+)/.exec(stat)
      const target = /^Fast link dest: "(.*)"$/m.exec(stat)?.[1]
      return [
        ino,
        {
          xattrs: xattrsOf(answers[2 * at] ?? ''),
          major: Number(device?.[1] ?? 0),
          minor: Number(device?.[2] ?? 0),
          ...(target !== undefined && { target }),
        },
      ]
    }),
  )
}

/** `  name (length) = "text"`, or bytes in hex where the value is no text. */
function xattrsOf(text: string): Xattr[] {
  const found: Xattr[] = []
  for (const [, name = '', length = '', shown = ''] of text.matchAll(/^ {2}(\S+) \((\d+)\)(?: = (.*))?$/gm)) {
    const value = shown.startsWith('"')
      ? shown.slice(1, 1 + Number(length))
      : Buffer.from(shown.replaceAll(' ', ''), 'hex').toString('latin1')
    found.push([name, value])
  }
  return found.sort(([a], [b]) => (a < b ? -1 : 1))
}

async function bodiesOf(
  disk: string,
  found: readonly Found[],
  isCompared: (path: TreePath) => boolean,
  signal: AbortSignal,
): Promise<Map<number, Uint8Array>> {
  using folder = temporaryDirectory()
  const wanted = found.filter(({ mode, path, size }) => {
    const type = fileTypeOf(mode)
    return (type === 'file' && isCompared(path)) || (type === 'symlink' && size >= 60)
  })
  await ask(
    disk,
    wanted.map(({ ino }) => `dump <${ino}> ${folder.path}/${ino}`),
    signal,
  )
  const bodies = new Map<number, Uint8Array>()
  for (const { ino } of wanted) bodies.set(ino, await readFile(join(folder.path, `${ino}`)))
  return bodies
}

/** Names right in these directories; one that does not exist has none. */
async function listAll(
  disk: string,
  directories: readonly TreePath[],
  signal: AbortSignal,
): Promise<Found[]> {
  const answers = await ask(
    disk,
    directories.map((path) => `ls -p ${quoted(path)}`),
    signal,
  )
  return directories.flatMap((directory, at) => {
    const found: Found[] = []
    for (const line of (answers[at] ?? '').split('\n')) {
      if (line === '') continue
      const [, ino, mode, uid, gid, name = '', size] =
        /^\/(\d+)\/(\d+)\/(\d+)\/(\d+)\/([^/]*)\/(\d*)\/$/.exec(line) ?? []
      if (mode === undefined) throw unreadable(directory, line)
      if (ino === '0' || name === '.' || name === '..') continue
      found.push({
        path: directory === '' ? name : `${directory}/${name}`,
        ...{ ino: Number(ino), mode: Number.parseInt(mode, 8), uid: Number(uid), gid: Number(gid) },
        size: Number(size),
      })
    }
    return found
  })
}

function unreadable(path: TreePath, what: string): Stage5Error {
  return new Stage5Error(
    'S5_TOOL_FAILED',
    `debugfs says of /${printable(path)} what cannot be read: ${printable(what)}`,
    {
      data: { path },
    },
  )
}

/** Runs commands and gives back what each printed; debugfs repeats a command before its answer. */
async function ask(disk: string, commands: readonly string[], signal: AbortSignal): Promise<string[]> {
  if (commands.length === 0) return []
  using folder = temporaryDirectory()
  const file = join(folder.path, 'commands')
  await writeFile(file, commands.map((line) => `${line}\n`).join(''), 'latin1')
  const { stdout } = await run(['debugfs', '-f', file, disk], { signal })
  const answers: string[] = []
  const text = stdout.toString('latin1')
  let from = 0
  for (const [at, command] of commands.entries()) {
    const head = `debugfs: ${command}\n`
    const begin = text.indexOf(head, from)
    if (begin === -1) throw unreadable('', `no answer to ${command}`)
    if (at > 0) answers.push(text.slice(from, begin))
    from = begin + head.length
  }
  answers.push(text.slice(from))
  return answers
}

/**
 * On a copy that takes the disk's name when it is whole: cut off anywhere, the disk is as it was.
 * @throws S5_TOOL_FAILED
 */
async function mendUpper(
  disk: string,
  upper: readonly UpperEntry[],
  remove: readonly TreePath[],
  add: readonly Beside[],
  signal: AbortSignal,
): Promise<void> {
  const commands = goingNames(upper, remove, add).map(
    ({ path, inode }) => `${inode?.type === 'dir' ? 'rmdir' : 'rm'} ${quoted(`/${UPPER}/${path}`)}\n`,
  )
  if (commands.length === 0 && add.length === 0) return
  using folder = temporaryDirectory()
  const places = new Map<Digest, string>()
  for (const { inode, bytes } of add) {
    const place = join(folder.path, `${places.size}`)
    places.set(inode.content, place)
    await writeFile(place, bytes)
  }
  const entries = add.map(({ path, inode }) => ({ path: `${UPPER}/${path}`, owner: '', inode: { ...inode } }))
  const plain = entries.map(({ inode: { xattrs: _, ...inode }, ...entry }) => ({ ...entry, inode }))
  const script = debugfsScript({ label: disk, size: 0, entries: plain, files: [] }, (what) =>
    typeof what === 'string' ? (places.get(what) as string) : '',
  )
  const file = join(folder.path, 'commands')
  await writeFile(file, `${commands.join('')}${script}`, 'latin1')
  await onCopy(disk, signal, async (copy) => {
    const { stderr } = await run(['debugfs', '-w', '-f', file, copy], { signal })
    refuseComplaints(disk, stderr)
    await run(['e2fsck', '-f', '-p', copy], { signal, accept: [0, 1] })
  })
}

/** Ending of a copy that is being mended. */
const COPY = '.mended'

async function onCopy(
  disk: string,
  signal: AbortSignal,
  work: (copy: string) => Promise<void>,
): Promise<void> {
  const folder = dirname(disk)
  const prefix = `.${basename(disk)}.`
  for (const name of await readdir(folder))
    if (name.startsWith(prefix) && name.endsWith(COPY)) await rm(join(folder, name), { force: true })
  // A name of its own: a tool of a program that was killed may still write.
  const copy = join(folder, `${prefix}${randomUUID()}${COPY}`)
  try {
    await run(['cp', '-a', '--sparse=always', '--reflink=auto', '--', disk, copy], { signal })
    await work(copy)
    await syncFile(copy)
    await rename(copy, disk)
  } catch (error) {
    await rm(copy, { force: true })
    throw error
  }
  await syncFile(folder)
}

function refuseComplaints(disk: string, stderr: string): void {
  const complaints = stderr.split('\n').filter((line) => line !== '' && !/^debugfs \d/.test(line))
  if (complaints.length > 0)
    throw new Stage5Error(
      'S5_TOOL_FAILED',
      `debugfs could not mend ${disk}: ${complaints.slice(0, 5).join('; ')}`,
      {
        data: { disk, stderr },
      },
    )
}

/** In double quotes, where only a double quote needs care and is written twice. */
function quoted(path: TreePath): string {
  return `"${path.replaceAll('"', '""')}"`
}
