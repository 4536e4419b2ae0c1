/**
 * `node test/bench/memory.ts [--json] [--all]`: one tree of real packages as the root of a guest that has no disk, and
 * what of the guest's memory is gone once it stands at its ready line. `--all`: a larger tree, and every compressor.
 *
 * "Used" is MemTotal minus MemAvailable, as the guest has it; the base in the initrd is the story's starting point of
 * many servers in memory. The kernel's command line chooses the root, so zram's modules (half a MiB) are
 * loaded in every guest. The build of the tree is not measured. A guest that is not ready in time has a row that says so.
 */
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import type { Built } from '../helpers/guest.ts'
import { buildProfile, shell } from '../helpers/guest.ts'
import { diskless, manifestOf, mebibytesOf } from '../helpers/i5b-memory.ts'

const HERE = import.meta.dirname
const FETCHED = process.env['STAGE5_BENCH_DIR'] ?? resolve(HERE, '../.tmp/bench')
const ALL = process.argv.includes('--all')
const PACKAGES = ALL
  ? ['python3', 'perl', 'git', 'vim', 'nginx', 'php8.2-fpm', 'gdb', 'rsync', 'tmux']
  : ['python3', 'perl']
const MIB = 1_048_576
/** Seconds until a guest is ready, emulated: three of them and two builds take less than eight minutes. */
const LIMIT = ALL ? 600 : 120

interface Row {
  readonly root: string
  /** Of the guest, in MiB; undefined when it was not ready in time. */
  readonly used?: number
  readonly seconds: number
  /** Bytes that zram keeps, and what it was given. */
  readonly zram?: { readonly given: number; readonly kept: number }
}

mkdirSync(FETCHED, { recursive: true })
const project = mkdtempSync(join(FETCHED, 'memory-'))
for (const name of ['profiles', 'stages']) mkdirSync(join(project, name))
const STAGES = 'usrmerge users files services busybox etc os-release modules strip clamp'.split(' ')
writeFileSync(join(project, 'stages/ram.yaml'), `stage5: 1\nstages: [${STAGES.join(', ')}]\n`)

const WAYS: readonly (readonly [name: string, words: readonly string[]])[] = [
  ['tmpfs', ['stage5.root=tmpfs', 'stage5.rw=512M']],
  ...(ALL ? ['lzo-rle', 'lz4', 'zstd'] : ['zstd']).map(
    (name) => [`zram, ${name}`, ['stage5.root=zram', 'stage5.rw=512M', `stage5.zram=${name}`]] as const,
  ),
  ['squashfs and overlay', []],
]

const rows: Row[] = []
let sizes = { base: 0, tree: 0 }
try {
  for (const [name, words] of WAYS) {
    const compressor = words.find((word) => word.startsWith('stage5.zram='))?.slice('stage5.zram='.length)
    const found = await built(compressor ?? 'zstd')
    sizes = { base: statSync(found.file('.squashfs')).size, tree: treeSize(found) }
    rows.push(await measured(found, name, words))
  }
} finally {
  rmSync(project, { recursive: true, force: true })
}
const record = { bench: 'memory of roots', packages: PACKAGES, ...sizes, rows }
if (process.argv.includes('--json')) console.log(JSON.stringify(record, null, 2))
else {
  appendFileSync(join(HERE, 'history.ndjson'), `${JSON.stringify(record)}\n`)
  console.log(`tree ${(sizes.tree / MIB).toFixed(0)} MiB, as squashfs ${(sizes.base / MIB).toFixed(0)} MiB`)
  console.log('used, MiB   ready, s  root')
  for (const { root, used, seconds, zram } of rows)
    console.log(
      `${(used?.toFixed(0) ?? 'not ready').padStart(9)}${seconds.toFixed(1).padStart(11)}  ${root}${zram ? ` (${(zram.kept / zram.given).toFixed(2)} of what it holds)` : ''}`,
    )
}

/** The modules of one compressor are in the initramfs. */
async function built(compressor: string): Promise<Built> {
  writeFileSync(
    join(project, 'profiles/roots.yaml'),
    `stage5: 1\nparents: [minimal]\nnetwork: none\npackages: [${PACKAGES.join(', ')}]\npipeline: ram\n` +
      `images: [{format: squashfs, level: ${ALL ? 15 : 3}}, initrd]\nboot: {root: zram, compressor: ${compressor}}\n`,
  )
  const found = await buildProfile(project, 'roots', { STAGE5_STORE: join(FETCHED, 'store') })
  if ('skip' in found) throw new Error(found.skip)
  return found
}

async function measured(found: Built, root: string, words: readonly string[]): Promise<Row> {
  const others = (manifestOf(found).boot.memoryCmdline ?? '')
    .split(' ')
    .filter((word) => !/^stage5\.(?:root|rw|zram)=/.test(word))
  const start = performance.now()
  await using guest = await diskless(found, 2048, AbortSignal.timeout((LIMIT + 120) * 1000), {
    cmdline: [...others, 'panic=-1', 'quiet', ...words],
  })
  const ready = await guest.waitFor('stage5: ready', LIMIT * 1000)
  const seconds = (performance.now() - start) / 1000
  if (!ready.found) {
    if (ready.why !== 'timeout') throw new Error(`${root}: ${guest.last(20).join('\n')}`)
    return { root, seconds }
  }
  await guest.waitFor('# ', 60_000)
  const memory = await shell(guest, 'sync; echo 3 >/proc/sys/vm/drop_caches; cat /proc/meminfo')
  const used = mebibytesOf(memory, 'MemTotal') - mebibytesOf(memory, 'MemAvailable')
  const stat = (await shell(guest, 'cat /sys/block/zram0/mm_stat 2>/dev/null')).join('').trim().split(/\s+/)
  const [given = 0, , kept = 0] = stat.map(Number)
  return { root, used, seconds, ...(given > 0 && { zram: { given, kept } }) }
}

function treeSize(found: Built): number {
  const usage = JSON.parse(readFileSync(found.file('.disk_usage.json'), 'utf8')) as { total: number }
  return usage.total
}
