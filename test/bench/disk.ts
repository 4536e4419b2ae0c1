/**
 * `node test/bench/disk.ts [--mib 1024] [--json]`: squashfs, data disk, a disk that starts by itself and its qcow2 of a root of
 * 1 GB in 20 packages: cold at zstd 3, and again after 45 files changed; beside `mksquashfs`, `mke2fs -d` and `qemu-img convert` on the same files, in the same run.
 *
 * The files are this machine's own /usr, so that they compress as real ones do; times compare within a run only.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Cost, measure } from './measure.ts'

const HERE = import.meta.dirname
const MIB = Number(process.argv[process.argv.indexOf('--mib') + 1]) || 1024
const PACKAGES = 20
const CHANGED = 45
/** Seconds. */
const COLD = 60
const AGAIN = 5

const parent = process.env['STAGE5_BENCH_DIR'] ?? resolve(HERE, '../.tmp/bench')
mkdirSync(parent, { recursive: true })
const directory = mkdtempSync(join(parent, 'disk-'))
const store = join(directory, 'store')
const environment = { STAGE5_STORE: store, SOURCE_DATE_EPOCH: '1700000000' }

try {
  const files = collect()
  for (const [nth, folder] of files.entries()) pack(nth, folder, '1.0.0')
  project()
  const bytes = Number(
    execFileSync('du', ['-sb', join(directory, 'roots')])
      .toString()
      .split('\t')[0],
  )
  stage5('index', 'packages')
  stage5('lock', 'big')
  // What is downloaded is not what is measured: the kernel package lies in the store before.
  stage5('lock', 'kernel')
  stage5('build', 'kernel')
  const cold = stage5('build', 'big')
  const changed = change(files[3] as string)
  pack(3, files[3] as string, '1.0.1')
  stage5('index', 'packages')
  const locked = stage5('lock', 'big')
  const again = stage5('build', 'big')
  const same = stage5('build', 'big')
  const plain = rival()
  const show = ({ seconds, mebibytes }: Cost): string =>
    `${seconds.toFixed(1).padStart(5)} s ${String(mebibytes).padStart(5)} MiB`
  const rows = [
    `root: ${(bytes / 2 ** 20).toFixed(0)} MiB in ${PACKAGES} packages; ${changed} files changed in one of them`,
    `${show(cold)}  squashfs, data disk, disk and qcow2, cold, zstd 3 (at most ${COLD} s)`,
    `${show(again)}  after the change (at most ${AGAIN} s; ${show(locked).trim()} to lock before it)`,
    `${show(same)}  nothing changed`,
    `${show(plain)}  mksquashfs, mke2fs -d and qemu-img convert -c, which does not boot and is made anew each time`,
  ]
  if (process.argv.includes('--json')) console.log(JSON.stringify({ cold, again, same, rival: plain }))
  else console.log(rows.join('\n'))
  if (!process.argv.includes('--json') && (cold.seconds > COLD || again.seconds > AGAIN)) process.exitCode = 1
} finally {
  rmSync(directory, { recursive: true, force: true })
}

/** Folders of about equal size with copies of files of this machine. */
function collect(): string[] {
  const roots = Array.from({ length: PACKAGES }, (_, nth) => join(directory, 'roots', `p${nth}`))
  const most = (MIB * 2 ** 20) / PACKAGES
  let nth = 0
  let size = 0
  const queue = ['/usr/lib', '/usr/share', '/usr/bin', '/usr/include', '/usr/sbin']
  while (queue.length > 0 && nth < PACKAGES) {
    const folder = queue.shift() as string
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name)
      if (entry.isDirectory() && entry.name !== 'modules') queue.push(path)
      if (!entry.isFile() || nth >= PACKAGES) continue
      const target = join(roots[nth] as string, 'srv/data', path)
      mkdirSync(join(target, '..'), { recursive: true })
      spawnSync('cp', ['--reflink=auto', '--no-preserve=mode', '--', path, target])
      size += statSync(path).size
      if (size < most) continue
      nth++
      size = 0
    }
  }
  return roots.slice(0, Math.min(PACKAGES, nth + 1))
}

function pack(nth: number, folder: string, version: string): void {
  stage5('pack', folder, '--name', `data/p${nth}`, '--version', version, '--out', 'packages')
}

function project(): void {
  mkdirSync(join(directory, 'profiles'), { recursive: true })
  mkdirSync(join(directory, 'repos'), { recursive: true })
  writeFileSync(join(directory, 'repos/house.yaml'), 'stage5: 1\nkind: native\nurl: ../packages\n')
  writeFileSync(join(directory, 'profiles/kernel.yaml'), 'stage5: 1\nparents: [minimal]\nnetwork: none\n')
  const packages = Array.from({ length: PACKAGES }, (_, nth) => `data/p${nth}`).join(', ')
  writeFileSync(
    join(directory, 'profiles/big.yaml'),
    `stage5: 1\nparents: [kernel]\nrepositories: [house]\npackages: [${packages}]\n` +
      'images: [{format: squashfs, level: 3}, {format: disk, firmware: bios}, qcow2]\n' +
      'data: [{name: shop, size: 64M, paths: [/var/lib/shop]}]\n' +
      'allow: [{path: "/srv/**", reason: files of another machine}]\n',
  )
}

/** @returns how many files of the folder have another content now */
function change(folder: string): number {
  const found = execFileSync('find', [folder, '-type', 'f', '-size', '+1k'])
    .toString()
    .trim()
    .split('\n')
    .sort()
  const chosen = found.slice(0, CHANGED)
  for (const path of chosen) appendFileSync(path, 'changed\n')
  return chosen.length
}

function stage5(...words: readonly string[]): Cost {
  const argv = [resolve(HERE, '../../src/main.js'), '-C', directory, '--quiet', ...words]
  execFileSync('sync')
  return measure([process.execPath, ...argv], { cwd: directory, environment })
}

function rival(): Cost {
  const merged = join(directory, 'merged')
  execFileSync('sh', ['-c', 'mkdir "$1" && cp -al "$2"/*/. "$1"', 'sh', merged, join(directory, 'roots')])
  execFileSync('sync')
  const script = [
    'mksquashfs merged rival.squashfs -comp zstd -Xcompression-level 3 -b 128K -no-progress -quiet',
    `mke2fs -q -F -t ext4 -d merged rival.ext4 ${MIB * 2}M`,
    'mke2fs -q -F -t ext4 rival-data.ext4 64M',
    'qemu-img convert -c -O qcow2 rival.ext4 rival.qcow2',
  ]
  return measure(['sh', '-ec', script.join('\n')], { cwd: directory })
}
