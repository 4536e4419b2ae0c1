/**
 * The initramfs: a small tree with busybox, the modules of the boot path and the init script, and the emitter that
 * writes any tree as a newc archive for the kernel.
 */
import { promisify } from 'node:util'
import { constants, gzipSync, zstdCompress } from 'node:zlib'
import { printable, Stage5Error } from '../base/errors.ts'
import { cpioHeader, cpioPadding, cpioTrailer } from '../format/cpio.ts'
import { FILE_TYPE } from '../format/file-type.ts'
import { parseElf } from '../format/elf.ts'
import { resolvePath } from '../tree/resolve-path.ts'
import { baseOf, type Entry, type Inode, lookup, type Tree, treeOf, type TreePath } from '../tree/tree.ts'
import type { Contents } from '../tree/contents.ts'
import type { Emitter, EmitWorld } from './emitter.ts'

export interface InitramfsOptions {
  /** Kernel release, for messages. */
  readonly release: string
  /** The closure of the wanted modules: what to load, dependencies first, and what was found nowhere. */
  readonly modules: { readonly order: readonly TreePath[]; readonly missing: readonly string[] }
  /** The script of `stages/boot/init`. */
  readonly init: Uint8Array
  /** Data areas that the guest mounts before its own init runs. */
  readonly data: readonly InitramfsArea[]
  /** Seconds since 1970: the time of every file. */
  readonly date: number
  /** `bin/ioctl`, with which init lays dm-verity over the base and grows data disks; absent when it does neither. */
  readonly ioctl?: Uint8Array
}

interface InitramfsArea {
  readonly label: string
  /** Bytes of an area in memory. */
  readonly size?: number
  readonly paths: readonly string[]
  /** Absent: a disk with copies. */
  readonly kind?: 'overlay' | 'tmpfs' | 'zram' | 'immutable'
}

/** The busybox applets that `stages/boot/init` calls. */
export const INIT_APPLETS: readonly string[] = (
  'cat chmod chown cp cttyhack dd dmesg findfs grep gzip halt head hexdump insmod losetup mkdir mke2fs mount mv ' +
  'poweroff reboot rm rmdir sed setsid sh sleep stat switch_root sync tail tr umount usleep'
).split(' ')

/**
 * What the kernel unpacks and runs before there is a root: `init`, busybox of the composed root, the modules in
 * `lib/modules` with their load order in `etc/stage5/modules`, the data disks in `etc/stage5/data`, and areas without a
 * disk in `etc/stage5/areas`.
 * @throws S5_MODULE_MISSING; S5_IMAGE_INPUT when the root has no static busybox or a data area cannot be written down
 */
export async function initramfsTree(
  root: Tree,
  contents: Contents,
  options: InitramfsOptions,
): Promise<Tree> {
  const { release, modules, date } = options
  if (modules.missing.length > 0)
    throw new Stage5Error(
      'S5_MODULE_MISSING',
      `kernel ${release} has no module ${modules.missing.join(', ')}: neither a file nor built in`,
      { data: { release, modules: modules.missing } },
    )
  const meta = { uid: 0, gid: 0, mtime: date }
  const entries: Entry[] = []
  const add = (path: TreePath, inode: Inode) => entries.push({ path, owner: 'stage:initramfs', inode })
  const text = async (path: TreePath, mode: number, bytes: Uint8Array) =>
    add(path, { type: 'file', mode, ...meta, size: bytes.length, content: await contents.write(bytes) })

  for (const path of ['', 'bin', 'dev', 'etc', 'etc/stage5', 'lib', 'lib/modules'])
    add(path, { type: 'dir', mode: 0o755, ...meta })
  for (const name of INIT_APPLETS)
    add(`bin/${name}`, { type: 'symlink', mode: 0o777, ...meta, target: 'busybox' })
  add('bin/busybox', await busyboxOf(root, contents, date))
  add('dev/console', { type: 'char', mode: 0o600, ...meta, major: 5, minor: 1 })
  await text('init', 0o755, options.init)
  if (options.ioctl) await text('bin/ioctl', 0o755, options.ioctl)

  const loaded: TreePath[] = []
  for (const path of modules.order) {
    const entry = lookup(root, path)
    if (entry?.inode.type !== 'file') throw new Error(`module closure names ${path}, which is no file`)
    const place = `lib/modules/${baseOf(path)}`
    if (loaded.includes(place)) throw new Error(`module closure has two files named ${baseOf(path)}`)
    loaded.push(place)
    add(place, { ...entry.inode, mode: 0o644, ...meta })
  }
  await text('etc/stage5/modules', 0o644, latin1(loaded.map((path) => `/${path}\n`).join('')))
  const isKept = ({ kind }: InitramfsArea): boolean => kind === undefined || kind === 'overlay'
  const disks = options.data.filter(isKept).map(({ label, kind, paths }) => words(label, kind, paths))
  const others = options.data
    .filter((area) => !isKept(area))
    .map(({ label, kind, size = 0, paths }) => words(label, `${kind} ${size}`, paths))
  await text('etc/stage5/data', 0o644, latin1(disks.join('')))
  if (others.length > 0) await text('etc/stage5/areas', 0o644, latin1(others.join('')))
  return treeOf(entries)
}

async function busyboxOf(root: Tree, contents: Contents, date: number): Promise<Inode> {
  const hint = 'add busybox-static to packages:'
  const found = resolvePath(root, '/bin/busybox')
  if (!('inode' in found) || found.inode.type !== 'file')
    throw new Stage5Error('S5_IMAGE_INPUT', 'initramfs: the root has no /bin/busybox', { hint })
  const interpreter = parseElf(await contents.read(found.inode.content))?.interpreter
  if (interpreter !== undefined)
    throw new Stage5Error(
      'S5_IMAGE_INPUT',
      `initramfs: expected a static /bin/busybox, found that of ${found.owner}, which needs ${interpreter}`,
      { hint },
    )
  return { ...found.inode, mode: 0o755, uid: 0, gid: 0, mtime: date }
}

/** One line of a table that the init reads: a word that does not begin with `/` says what kind of area it is. */
function words(name: string, kind: string | undefined, paths: readonly string[]): string {
  const bad = [name, ...paths].find((word) => !/^[^\s\\*?[\]]+$/.test(word))
  if (bad !== undefined)
    throw new Stage5Error(
      'S5_IMAGE_INPUT',
      `data area ${name}: expected no white space, backslash or pattern, found ${JSON.stringify(bad)}`,
    )
  return `${[name, ...(kind === undefined ? [] : [kind]), ...paths].join(' ')}\n`
}

function latin1(text: string): Uint8Array {
  return Buffer.from(text, 'latin1')
}

export type InitramfsEmitOptions = {
  readonly compress: 'zstd' | 'gzip' | 'none'
  /** 1 to 22 for zstd, 1 to 9 for gzip. */
  readonly level: number
}

/**
 * zstd window of 2 MiB: what the kernel allocates to unpack, so it must stay small beside the memory of the guest.
 * Windows of 4 and 8 MiB made the initramfs of `minimal` smaller by less than 0.1 %.
 */
const WINDOW_LOG = 21

/**
 * Writes a tree as a newc archive, compressed as one frame. The kernel takes no extended attributes from cpio, so a
 * tree that has some is refused.
 * @throws S5_IMAGE_INPUT
 */
export const initramfsEmitter: Emitter<InitramfsEmitOptions> = {
  format: 'initramfs',
  version: 1,
  emit: async (tree, options, world) => {
    if (options.compress === 'none') {
      for await (const bytes of cpioOf(tree, world)) await world.sink.write(bytes)
      return
    }
    const parts: Uint8Array[] = []
    for await (const bytes of cpioOf(tree, world)) parts.push(bytes)
    await world.sink.write(await compressed(Buffer.concat(parts), options))
  },
}

async function compressed(bytes: Uint8Array, options: InitramfsEmitOptions): Promise<Uint8Array> {
  if (options.compress === 'gzip') {
    const packed = gzipSync(bytes, { level: options.level, memLevel: 9 })
    packed[9] = 255 // RFC 1952, OS: unknown, so that the platform of the build does not show
    return packed
  }
  return await promisify(zstdCompress)(bytes, {
    params: {
      [constants.ZSTD_c_compressionLevel]: options.level,
      [constants.ZSTD_c_windowLog]: WINDOW_LOG,
      [constants.ZSTD_c_checksumFlag]: 1,
    },
  })
}

/**
 * A tree as the pieces of a newc archive. Of several names of one file the last carries the body, as cpio writes it and
 * Linux expects it; a symlink has its target at every name, since Linux links only files and devices.
 */
export async function* cpioOf(
  tree: Tree,
  world: Pick<EmitWorld, 'contents' | 'signal' | 'progress'>,
): AsyncGenerator<Uint8Array> {
  const links = new Uint32Array(tree.inodes.length)
  for (const { inode } of tree.names) links[inode] = (links[inode] as number) + 1
  const seen = new Uint32Array(tree.inodes.length)
  const total = tree.inodes.reduce((sum, inode) => sum + (inode.type === 'file' ? inode.size : 0), 0)
  let offset = 0
  let done = 0
  for (const name of tree.names) {
    world.signal.throwIfAborted()
    const inode = tree.inodes[name.inode] as Inode
    const nlink = links[name.inode] as number
    const nth = (seen[name.inode] as number) + 1
    seen[name.inode] = nth
    const body =
      nth === nlink || inode.type !== 'file'
        ? await bodyOf(inode, name.path, world.contents)
        : new Uint8Array(0)
    const head = cpioHeader({
      name: name.path === '' ? '.' : name.path,
      ino: name.inode + 1,
      mode: FILE_TYPE[inode.type] | inode.mode,
      uid: inode.uid,
      gid: inode.gid,
      nlink: inode.type === 'dir' ? 2 : nlink,
      mtime: inode.mtime,
      size: body.length,
      rdevMajor: 'major' in inode ? inode.major : 0,
      rdevMinor: 'minor' in inode ? inode.minor : 0,
    })
    const pad = cpioPadding(body.length)
    yield head
    if (body.length > 0) yield body
    if (pad.length > 0) yield pad
    offset += head.length + body.length + pad.length
    if (inode.type === 'file' && body.length > 0) world.progress?.((done += body.length), total)
  }
  yield cpioTrailer(offset)
}

async function bodyOf(inode: Inode, path: TreePath, contents: Contents): Promise<Uint8Array> {
  if (inode.xattrs)
    throw new Stage5Error(
      'S5_IMAGE_INPUT',
      `${printable(path)}: a cpio archive cannot carry the attribute ${inode.xattrs[0]?.[0]}`,
      { data: { path, format: 'cpio' } },
    )
  if (inode.type === 'symlink') return latin1(inode.target)
  if (inode.type !== 'file') return new Uint8Array(0)
  if (inode.size > 0xffffffff)
    throw new Stage5Error(
      'S5_IMAGE_INPUT',
      `${printable(path)}: expected less than 4 GiB in a cpio archive, found ${inode.size} bytes`,
      { data: { path, format: 'cpio' } },
    )
  return await contents.read(inode.content)
}
