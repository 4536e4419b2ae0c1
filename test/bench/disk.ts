/**
 * `node test/bench/disk.ts [--mib 1024] [--json]`: a disk that starts by itself, of a root of 1 GB in 20 packages: cold at
 * zstd 3, and again after 45 files changed; then squashfs, data disk and qcow2 after 45 others. Beside them, on the same
 * files in the same run: mke2fs and qemu-img, with mksquashfs as well, and virt-make-fs.
 *
 * The files are every nth of this machine's own /usr, so that they compress as real ones do, and are many as in a real
 * root; times compare within a run only. virt-make-fs starts a virtual machine, which no limit of its own ends: it has
 * one here, and the kernel that the disk has.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { type Cost, measure } from './measure.ts'

const HERE = import.meta.dirname
const MIB = Number(process.argv[process.argv.indexOf('--mib') + 1]) || 1024
const PACKAGES = 20
const CHANGED = 45
/** Larger files are left out, in bytes: a few would be most of the root. */
const LARGEST = 64 << 20
/** Seconds. */
const COLD = 60
const AGAIN = 5
const IMAGES = 3
const APPLIANCE = 150

const parent = process.env['STAGE5_BENCH_DIR'] ?? resolve(HERE, '../.tmp/bench')
mkdirSync(parent, { recursive: true })
const directory = mkdtempSync(join(parent, 'disk-'))
const store = join(directory, 'store')
const environment = { STAGE5_STORE: store, SOURCE_DATE_EPOCH: '1700000000' }

/** What one side did; without a cost it did not run, or not to its end. */
interface Row {
  readonly work: string
  readonly cost?: Cost
  /** Most seconds. */
  readonly aim?: number
  readonly why?: string
}

try {
  const { files, bytes } = collect()
  project()
  packAll()
  stage5('index', 'packages')
  // What is downloaded is not what is measured: the kernel package lies in the store before.
  for (const name of ['kernel', 'big', 'cloud']) stage5('lock', name)
  stage5('build', 'kernel')
  const cold = stage5('build', 'big')
  const [first = 0, second = 0] = files.flatMap((folder, nth) =>
    changeable(folder).length < CHANGED ? [] : [nth],
  )
  changeOne(files[first] as string, first)
  stage5('lock', 'big')
  const again = stage5('build', 'big')
  changeOne(files[second] as string, second)
  stage5('lock', 'cloud')
  const images = stage5('build', 'cloud')
  const [plain, rival] = usualTools()
  const rows: Row[] = [
    { work: 'stage5, cold: bootable disk, zstd 3', cost: cold, aim: COLD },
    { work: `stage5, ${CHANGED} files changed: bootable disk`, cost: again, aim: AGAIN },
    { work: `stage5, ${CHANGED} files changed: squashfs, data disk and qcow2`, cost: images, aim: IMAGES },
    { work: 'mke2fs -d and qemu-img convert, not bootable', cost: plain },
    { work: 'mksquashfs, mke2fs -d for root and data, qemu-img convert, not bootable', cost: rival },
    appliance(),
  ]
  const record = {
    bench: 'disk',
    bytes,
    packages: PACKAGES,
    changed: CHANGED,
    cold,
    again,
    images,
    plain,
    rival,
    rows,
  }
  if (process.argv.includes('--json')) console.log(JSON.stringify(record))
  else {
    appendFileSync(join(HERE, 'history.ndjson'), `${JSON.stringify(record)}\n`)
    print(bytes, rows)
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}

function print(bytes: number, rows: readonly Row[]): void {
  console.log(`root of ${(bytes / 2 ** 20).toFixed(0)} MiB in ${PACKAGES} packages`)
  console.log(' time, s   processor, s   memory, MiB   at most, s')
  for (const { work, cost, aim, why } of rows) {
    const numbers = cost
      ? `${cost.seconds.toFixed(1).padStart(8)}${cost.processorSeconds.toFixed(1).padStart(15)}${String(cost.mebibytes).padStart(14)}`
      : '-'.padStart(8).padEnd(37)
    console.log(`${numbers}${String(aim ?? '').padStart(13)}  ${work}${why === undefined ? '' : `: ${why}`}`)
    if (cost && aim !== undefined && cost.seconds > aim) process.exitCode = 1
  }
}

/** Every nth file of this machine, in folders of about equal size. */
function collect(): { readonly files: readonly string[]; readonly bytes: number } {
  const found = execFileSync(
    'find',
    ['/usr/lib', '/usr/share', '/usr/bin', '-type', 'f', '-printf', '%s\\t%p\\0'],
    {
      maxBuffer: 1 << 28,
    },
  )
  const all = found
    .toString('latin1')
    .split('\0')
    .filter((line) => /^\d+\t[\x20-\x7e]+$/.test(line))
    .map((line) => ({ size: Number.parseInt(line, 10), path: line.slice(line.indexOf('\t') + 1) }))
    .filter(({ size, path }) => size <= LARGEST && !path.startsWith('/usr/lib/modules/'))
    .sort((a, b) => (a.path < b.path ? -1 : 1))
  const total = all.reduce((sum, { size }) => sum + size, 0)
  const wanted = Math.min(MIB * 2 ** 20, total)
  const roots = Array.from({ length: PACKAGES }, (_, nth) => join(directory, 'roots', `p${nth}`))
  let seen = 0
  let bytes = 0
  for (const { path, size } of all) {
    seen += size
    // What is taken lies evenly among what there is.
    if (bytes + size / 2 > (seen / total) * wanted) continue
    const nth = Math.min(PACKAGES - 1, Math.floor((bytes / wanted) * PACKAGES))
    const target = join(roots[nth] as string, 'srv/data', path)
    mkdirSync(dirname(target), { recursive: true })
    copyFileSync(path, target)
    bytes += size
  }
  return { files: roots, bytes }
}

/** Two at a time: packing is not what is measured. */
function packAll(): void {
  const words = [
    '-P',
    '2',
    '-I',
    '{}',
    process.execPath,
    resolve(HERE, '../../src/main.js'),
    '-C',
    directory,
    '--quiet',
  ]
  const pack = [
    'pack',
    join(directory, 'roots/p{}'),
    '--name',
    'data/p{}',
    '--version',
    '1.0.0',
    '--out',
    'packages',
  ]
  const input = Array.from({ length: PACKAGES }, (_, nth) => `${nth}\n`).join('')
  const env = { ...process.env, ...environment }
  execFileSync('xargs', [...words, ...pack], { cwd: directory, env, input })
}

function project(): void {
  mkdirSync(join(directory, 'profiles'), { recursive: true })
  mkdirSync(join(directory, 'repos'), { recursive: true })
  writeFileSync(join(directory, 'repos/house.yaml'), 'stage5: 1\nkind: native\nurl: ../packages\n')
  writeFileSync(join(directory, 'profiles/kernel.yaml'), 'stage5: 1\nparents: [minimal]\nnetwork: none\n')
  const packages = Array.from({ length: PACKAGES }, (_, nth) => `data/p${nth}`).join(', ')
  const images = { big: '{format: disk, firmware: bios}', cloud: 'qcow2' }
  for (const [name, image] of Object.entries(images))
    writeFileSync(
      join(directory, `profiles/${name}.yaml`),
      `stage5: 1\nparents: [kernel]\nrepositories: [house]\npackages: [${packages}]\n` +
        `images: [{format: squashfs, level: 3}, ${image}]\n` +
        'data: [{name: shop, size: 64M, paths: [/var/lib/shop]}]\n' +
        'allow: [{path: "/srv/**", reason: files of another machine}]\n',
    )
}

function changeable(folder: string): readonly string[] {
  const found = execFileSync('find', [folder, '-type', 'f', '-size', '+1k'])
  return found.toString().trim().split('\n').sort().slice(0, CHANGED)
}

/** Gives files of one package another content, and makes the package anew. */
function changeOne(folder: string, nth: number): void {
  for (const path of changeable(folder)) appendFileSync(path, 'changed\n')
  stage5('pack', folder, '--name', `data/p${nth}`, '--version', '1.0.1', '--out', 'packages')
  stage5('index', 'packages')
}

function stage5(...words: readonly string[]): Cost {
  const argv = [resolve(HERE, '../../src/main.js'), '-C', directory, '--quiet', ...words]
  execFileSync('sync')
  return measure([process.execPath, ...argv], { cwd: directory, environment })
}

/** What makes images without a virtual machine, on all files in one folder. @returns without and with a squashfs */
function usualTools(): readonly [plain: Cost, rival: Cost] {
  execFileSync('sh', ['-c', 'mkdir merged && cp -al roots/*/. merged'], { cwd: directory })
  const plain = [
    `mke2fs -q -F -t ext4 -d merged rival.ext4 ${MIB * 2}M`,
    'qemu-img convert -O qcow2 rival.ext4 rival.qcow2',
  ]
  const rest = [
    'mksquashfs merged rival.squashfs -comp zstd -Xcompression-level 3 -b 128K -no-progress -quiet',
    'mke2fs -q -F -t ext4 rival-data.ext4 64M',
  ]
  const timed = (script: readonly string[]): Cost => {
    execFileSync('sync')
    return measure(['sh', '-ec', script.join('\n')], { cwd: directory })
  }
  const made = timed(plain)
  const others = timed(rest)
  const seconds = made.seconds + others.seconds
  const processorSeconds = made.processorSeconds + others.processorSeconds
  return [made, { seconds, processorSeconds, mebibytes: Math.max(made.mebibytes, others.mebibytes) }]
}

/** virt-make-fs on the same folder, emulated: libguestfs wants a kernel, which this machine need not have. */
function appliance(): Row {
  const work = 'virt-make-fs, ext4 in qcow2, not bootable'
  if (spawnSync('virt-make-fs', ['--version']).status !== 0)
    return { work, why: 'is not there (Debian: guestfs-tools)' }
  const [deb] = globSync(join(store, 'v1/downloads/debian/packages/*.deb')).filter((path) =>
    /^linux-image-\d/.test(execFileSync('dpkg-deb', ['-f', path, 'Package']).toString()),
  )
  if (deb === undefined) throw new Error('no kernel package in the store')
  const machine = join(directory, 'machine')
  execFileSync('dpkg-deb', ['-x', deb, machine])
  const [version = ''] = readdirSync(join(machine, 'lib/modules'))
  execFileSync('/sbin/depmod', ['-b', machine, version])
  const kernel = {
    SUPERMIN_KERNEL: join(machine, `boot/vmlinuz-${version}`),
    SUPERMIN_KERNEL_VERSION: version,
    SUPERMIN_MODULES: join(machine, 'lib/modules', version),
    LIBGUESTFS_BACKEND: 'direct',
    LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg',
    LIBGUESTFS_CACHEDIR: machine,
  }
  // supermin looks at the machine's own folder of modules, empty or not, and fails where there is none.
  const own = '/lib/modules'
  const missing = !existsSync(own)
  try {
    if (missing) mkdirSync(own)
    const making = `timeout -k 10 ${APPLIANCE} virt-make-fs --format=qcow2 --type=ext4 --size=+256M merged guest.qcow2`
    const cost = measure(
      ['sh', '-c', `${making}; code=$?; [ $code = 124 ] || [ $code = 137 ] || exit $code`],
      {
        cwd: directory,
        environment: kernel,
      },
    )
    if (cost.seconds >= APPLIANCE) return { work, why: `did not end in ${APPLIANCE} s` }
    return { work, cost }
  } catch (error) {
    return { work, why: String(error).split('\n').slice(0, 3).join(' ').slice(0, 300) }
  } finally {
    if (missing) rmdirSync(own)
  }
}
