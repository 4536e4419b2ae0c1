/** `stage5 convert INITRD`: an old initrd that holds a whole root becomes initramfs and base, or is split into them. */
import { readdir, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Json } from '../../base/json.ts'
import { Stage5Error } from '../../base/errors.ts'
import { treeOfArchives } from '../../emit/cpio-tree.ts'
import { initramfsEmitter, initramfsTree } from '../../emit/initramfs.ts'
import { planOneInitrd } from '../../emit/one-initrd.ts'
import { squashfsEmitter } from '../../emit/squashfs.ts'
import { diskError, errnoOf } from '../../host/disk.ts'
import { openBlocks } from '../../jobs/blocks.ts'
import { BOOT_MODULES, kernelReleases, moduleClosure } from '../../stage/modules.ts'
import { resolvePath } from '../../tree/resolve-path.ts'
import type { Tree } from '../../tree/tree.ts'
import { type Command, textOption, type Words } from '../command.ts'
import { openOutput, type OutputFolder } from '../output.ts'
import { mebibytes } from '../render/progress.ts'
import { type Initrd, readInitrd } from '../read-initrd.ts'
import { timed } from '../timed.ts'
import { shownPath, type World } from '../world.ts'

const BASE = 'squashfs.img'
const PARTS = 'parts.json'
const NAMES = { initramfs: 'initramfs', base: BASE, cmdline: 'cmdline', one: 'one.initrd' } as const

export const convert: Command = {
  name: 'convert',
  summary: 'turn an initrd that holds a whole root into initramfs and squashfs, apart or as one file',
  arguments: [
    { name: '<initrd>', description: 'cpio archives (newc), plain or compressed, one behind the other' },
  ],
  options: [
    { flags: '--to <layout>', description: 'parts: initramfs and squashfs.img; one: both in one file' },
    {
      flags: '-o, --out <dir>',
      description: 'folder to make (default: the name of the initrd with .converted)',
    },
    {
      flags: '--kernel <release>',
      description: 'kernel of the guests, where the root has modules of several',
    },
    { flags: '--level <level>', description: 'zstd level of the squashfs, 1 to 22 (default 15)' },
  ],
  examples: ['stage5 convert old.img --to parts', 'stage5 convert old.img --to one -o new'],
  run: async (world, words) => {
    const given = words.arguments[0] as string
    const layout = textOption(words, 'to') ?? 'parts'
    if (layout !== 'parts' && layout !== 'one')
      throw new Stage5Error('S5_USAGE', `--to expects parts or one, found ${JSON.stringify(layout)}`)
    const path = resolve(world.directory, given)
    const target = resolve(world.directory, textOption(words, 'out') ?? `${path}.converted`)
    await refuseForeign(target, path)
    const initrd = await timed(world, 'read', () => readInitrd(path, shownPath(path), world.signal))
    await using output = await openOutput(join(target, '..'), target.split('/').at(-1) as string)
    const ready = splitAgain(initrd)
    if (ready && layout === 'one')
      throw new Stage5Error('S5_USAGE', `${shownPath(path)} has this layout already`, {
        hint: `stage5 convert ${given} --to parts splits it`,
      })
    const cmdline = ready
      ? await writeParts(output, ready)
      : await convertRoot(world, words, initrd, output, path)
    if (layout === 'one') await joinParts(output, cmdline, initrd)
    const record = output.files.map(({ name, role, size, digest }) => ({ name, role, size, digest }))
    const directory = await output.commit([])
    return {
      data: {
        directory: shownPath(directory),
        files: record as unknown as Json,
        segments: segmentsOf(initrd),
      },
      text: [
        `${shownPath(directory)}\n`,
        ...record.map(({ name, size }) => `${mebibytes(size).padStart(12)}  ${name}\n`),
      ].join(''),
    }
  },
}

/** What stands there is replaced as a whole: only what an earlier run made may go. @throws S5_DIRECTORY_EXISTS */
async function refuseForeign(target: string, initrd: string): Promise<void> {
  const ours = new Set<string>([...Object.values(NAMES), PARTS, 'SHA256SUMS'])
  const there = await readdir(target).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return []
    throw diskError(error, shownPath(target))
  })
  if (there.every((name) => ours.has(name) && join(target, name) !== initrd)) return
  throw new Stage5Error(
    'S5_DIRECTORY_EXISTS',
    `${shownPath(target)}: expected nothing there or what convert made before`,
    { hint: 'stage5 convert INITRD --out DIR names another folder' },
  )
}

function segmentsOf({ segments }: Initrd): Json {
  return segments.map(({ offset, length, compression, entries }) => ({
    offset,
    length,
    compression,
    members: entries.length,
  }))
}

interface Parts {
  readonly initramfs: Uint8Array
  readonly base: Uint8Array
  readonly cmdline: string
}

/** An initrd of our own layout: its last archive is plain and has the base. */
function splitAgain({ bytes, segments }: Initrd): Parts | undefined {
  const last = segments.at(-1)
  const base = last?.entries.findLast(({ name }) => name === BASE)
  if (!last || segments.length < 2 || last.compression !== 'none' || !base) return undefined
  const before = segments.at(-2) as Initrd['segments'][number]
  const cmdline = last.entries.find(({ name }) => name === 'etc/cmdline')
  return {
    initramfs: bytes.subarray(0, before.offset + before.length),
    base: base.body,
    cmdline: cmdline ? Buffer.from(cmdline.body).toString('latin1').trimEnd() : '',
  }
}

async function writeParts(output: OutputFolder, parts: Parts): Promise<string> {
  await output.addBytes(NAMES.initramfs, 'initrd', parts.initramfs)
  await output.addBytes(NAMES.base, 'base', parts.base)
  await output.addBytes(NAMES.cmdline, 'cmdline', `${parts.cmdline}\n`)
  return parts.cmdline
}

/** The root of the old initrd as a base, with an initramfs of its own busybox and modules. @returns the command line */
async function convertRoot(
  world: World,
  words: Words,
  initrd: Initrd,
  output: OutputFolder,
  path: string,
): Promise<string> {
  const store = await world.store()
  const shown = shownPath(path)
  const tree = await timed(world, 'root', () =>
    treeOfArchives(
      initrd.segments.map(({ entries }) => entries),
      store,
      shown,
    ),
  )
  await store.flush()
  const date = dateOf(tree)
  const init = await world.read('stages/boot/init')
  if (!init) throw new Error('stages/boot/init is missing from the bundle')
  const release = releaseOf(tree, textOption(words, 'kernel'), shown)
  const modules = await moduleClosure(tree, store, release, BOOT_MODULES)
  const boot = await initramfsTree(tree, store, { release, modules, init, date, data: [] })
  const level = levelOf(textOption(words, 'level'))
  await using blocks = openBlocks(store.blocks, store, world.limit, world.threads, world.signal)
  const emit = { contents: store, blocks, signal: world.signal }
  await output.add(NAMES.initramfs, 'initrd', (sink) =>
    initramfsEmitter.emit(boot, { compress: 'zstd', level: 19 }, { ...emit, sink }),
  )
  await store.flush()
  await timed(world, BASE, () =>
    output.add(NAMES.base, 'base', (sink) =>
      squashfsEmitter.emit(tree, { mtime: date, level }, { ...emit, sink }),
    ),
  )
  await store.blocks.flush()
  const cmdline = cmdlineOf(tree)
  await output.addBytes(NAMES.cmdline, 'cmdline', `${cmdline}\n`)
  return cmdline
}

/** The initrd began with /init; a base begins with /sbin/init unless it is told otherwise. */
function cmdlineOf(tree: Tree): string {
  const isThere = (path: string): boolean => 'inode' in resolvePath(tree, path)
  const init = isThere('/sbin/init') ? [] : isThere('/init') ? ['init=/init'] : []
  return ['console=ttyS0', 'panic=10', ...init].join(' ')
}

function releaseOf(tree: Tree, wanted: string | undefined, shown: string): string {
  const known = kernelReleases(tree)
  if (wanted !== undefined && known.includes(wanted)) return wanted
  if (wanted !== undefined)
    throw new Stage5Error(
      'S5_USAGE',
      `--kernel expects ${known.join(' or ') || 'a release that the root has modules of'}, found ${JSON.stringify(wanted)}`,
    )
  const newest = known.at(-1)
  if (newest === undefined)
    throw new Stage5Error(
      'S5_KERNEL_MISSING',
      `${shown}: its root has no kernel modules, of which an initramfs could be made`,
      {
        hint: 'the base needs squashfs, overlay and loop: put lib/modules of the kernel into the initrd first',
      },
    )
  return newest
}

function levelOf(text: string | undefined): number {
  const level = text === undefined ? 15 : Number(text)
  if (Number.isInteger(level) && level >= 1 && level <= 22) return level
  throw new Stage5Error('S5_USAGE', `--level expects a number from 1 to 22, found ${JSON.stringify(text)}`)
}

function dateOf(tree: Tree): number {
  const { SOURCE_DATE_EPOCH } = process.env
  if (SOURCE_DATE_EPOCH && /^\d+$/.test(SOURCE_DATE_EPOCH)) return Number(SOURCE_DATE_EPOCH)
  return tree.inodes.reduce((newest, { mtime }) => Math.max(newest, mtime), 0)
}

async function joinParts(output: OutputFolder, cmdline: string, old: Initrd): Promise<void> {
  const date = Math.max(0, ...old.segments.flatMap(({ entries }) => entries.map(({ mtime }) => mtime)))
  const read = (name: string): Promise<Uint8Array> => readFile(join(output.directory, name))
  const bytes = { initramfs: await read(NAMES.initramfs), base: await read(NAMES.base) }
  const plan = planOneInitrd({ initramfs: bytes.initramfs.length, base: bytes.base.length }, cmdline, date)
  await output.add(NAMES.one, 'one-initrd', async (sink) => {
    for (const piece of plan.pieces) await sink.write(typeof piece === 'string' ? bytes[piece] : piece)
  })
  const record = { file: NAMES.one, parts: plan.parts }
  await output.addBytes(PARTS, 'report', `${JSON.stringify(record, null, 2)}\n`)
}
