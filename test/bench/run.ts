/**
 * `npm run bench [-- --json] [--quick] [--only PARTS]`: stage5 beside its rivals on one root of real packages, in the same run.
 *
 * Each side is a process of its own under time(1), ours and theirs in turn, the best of some; so start-up and children
 * count, and memory is each one's own. Times compare within a run only. Counts compare everywhere and go to
 * history.ndjson; `--quick` leaves out zstd 15, `--only start,dedupe` all but some parts.
 */
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { cpus } from 'node:os'
import { join, resolve } from 'node:path'
import { type Cost, ideal, inTurn, measure } from './measure.ts'
import type { Counts, Task, TaskName } from './task.ts'

interface Row {
  readonly work: string
  readonly ours: Cost
  readonly rival: string
  readonly theirs: Cost
  /** Most that ours may take of theirs. */
  readonly aim: number
}

/** MiB that any command of ours may take at its peak, for a root of at most 1 GB. Above it the bench ends with status 1. */
const MOST_MEMORY = 512

const HERE = import.meta.dirname
/** What main.js has a build begin with. */
const LITTLE = '--max-semi-space-size=8'
const MALLOC = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072' }
const FETCHED = process.env['STAGE5_BENCH_DIR'] ?? resolve(HERE, '../.tmp/bench')
mkdirSync(FETCHED, { recursive: true })
const directory = mkdtempSync(join(FETCHED, 'run-'))
const lock = join(directory, 'bench.lock.yaml')
const rows: Row[] = []
const counts: Counts = {}
const overweight: string[] = []

const STAGE5 = [process.execPath, resolve(HERE, '../../src/main.js')]
const PARTS = [
  'start',
  'fleetlock',
  'datadisks',
  'waves',
  'poll',
  'memory',
  'dedupe',
  'disk',
  'peak',
  'unpack',
  'emit',
] as const
/** `--only start,dedupe`: parts of the run; `emit` needs what `unpack` makes. */
const only = process.argv[process.argv.indexOf('--only') + 1]?.split(',') ?? []
const parts = process.argv.includes('--only') ? PARTS.filter((part) => only.includes(part)) : PARTS

try {
  const debs = String(task('fetch', { lock }, join(FETCHED, 'store')).counts['debs']).split('\n')
  counts['packages'] = debs.length
  if (parts.includes('start')) startUp()
  if (parts.includes('fleetlock')) fleetLock()
  if (parts.includes('datadisks')) dataDisks()
  if (parts.includes('waves')) waves()
  if (parts.includes('poll')) poll()
  if (parts.includes('memory')) rootsInMemory()
  if (parts.includes('dedupe')) dedupe(debs)
  if (parts.includes('disk')) disk()
  if (parts.includes('peak')) peak()
  if (parts.includes('unpack')) {
    const folder = unpack(debs)
    if (parts.includes('emit')) emit(folder)
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
  // What was measured before something failed is shown all the same.
  report()
}

function startUp(): void {
  const [ours, theirs] = inTurn(
    7,
    () => measure([...STAGE5, '--version']),
    () => measure([process.execPath, '-e', '0']),
  )
  rows.push({ work: 'stage5 --version', ours, rival: 'node -e 0', theirs, aim: 2 })
}

function dedupe(debs: readonly string[]): void {
  const list = join(directory, 'debs')
  const answer = join(directory, 'dedupe.json')
  writeFileSync(list, debs.join('\n'))
  measure([process.execPath, join(HERE, 'dedupe.ts'), '--json', '--megabytes', '85', '--debs', list], {
    output: answer,
  })
  const { rows: measured } = JSON.parse(readFileSync(answer, 'utf8')) as {
    rows: { tool: string; cost: Cost; savedKiB: number }[]
  }
  const [ours, ...rivals] = measured
  if (!ours) throw new Error('dedupe.ts measured nothing')
  for (const { tool, cost, savedKiB } of rivals) {
    if (ours.savedKiB < savedKiB * 0.99) throw new Error(`${tool} saves more than stage5 dedupe`)
    rows.push({
      work: 'stage5 dedupe, 10 roots of 85 MB',
      ours: ours.cost,
      rival: tool,
      theirs: cost,
      aim: 0.5,
    })
  }
}

function disk(): void {
  const answer = join(directory, 'disk.json')
  measure([process.execPath, join(HERE, 'disk.ts'), '--json'], { output: answer })
  const {
    cold,
    again,
    images,
    plain,
    rival,
    rows: all,
  } = JSON.parse(readFileSync(answer, 'utf8')) as {
    readonly [side in 'cold' | 'again' | 'images' | 'plain' | 'rival']: Cost
  } & { readonly rows: readonly { readonly work: string; readonly cost?: Cost; readonly why?: string }[] }
  const work = 'bootable disk of a root of 1 GB'
  rows.push({ work: `cold: ${work}`, ours: cold, rival: 'at most 60 s', theirs: ideal(60), aim: 1 })
  rows.push({ work: `cold: ${work}`, ours: cold, rival: 'mke2fs -d, qemu-img', theirs: plain, aim: 1 })
  for (const { work: theirWork, cost, why } of all.filter(({ work }) => work.startsWith('virt-make-fs')))
    if (cost) rows.push({ work: `cold: ${work}`, ours: cold, rival: theirWork, theirs: cost, aim: 1 })
    else counts[theirWork] = why ?? ''
  rows.push({
    work: `45 files changed: ${work}`,
    ours: again,
    rival: 'at most 5 s',
    theirs: ideal(5),
    aim: 1,
  })
  const three = '45 files changed: squashfs, data disk and qcow2'
  rows.push({ work: three, ours: images, rival: 'at most 3 s', theirs: ideal(3), aim: 1 })
  rows.push({ work: three, ours: images, rival: 'mksquashfs, mke2fs -d, qemu-img', theirs: rival, aim: 1 })
}

/** What each command takes at its peak on a root of 1 GiB; `peak.ts --gib 10` does the same for a larger one. */
function peak(): void {
  const answer = join(directory, 'peak.json')
  measure([process.execPath, join(HERE, 'peak.ts'), '--json'], { output: answer })
  const { rows: commands, over } = JSON.parse(readFileSync(answer, 'utf8')) as {
    rows: { command: string; cost: Cost }[]
    over: string[]
  }
  for (const { command, cost } of commands)
    counts[`MiB of memory at most, root of 1 GiB: ${command}`] = cost.mebibytes
  overweight.push(...over)
}

/** A thousand guests that restart over fifty slots, while a replica and the leader of etcd are killed. */
function fleetLock(): void {
  const answer = join(directory, 'fleetlock.json')
  const cost = measure([process.execPath, join(HERE, 'fleetlock.ts'), 'etcd-faults'], { output: answer })
  const { seconds, writes } = JSON.parse(readFileSync(answer, 'utf8')) as { seconds: number; writes: number }
  const theirs = ideal(8)
  const work = 'FleetLock: 1,000 guests, 50 slots, a replica and the leader killed'
  rows.push({ work, ours: { ...cost, seconds }, rival: 'ideal: 20 times 0.4 s', theirs, aim: 2 })
  counts['FleetLock: writes for 1,000 guests'] = writes
}

/** A wave of a tenth of the guests on the embedded engine; what grows with them is said per updated guest. */
function waves(): void {
  for (const guests of process.argv.includes('--quick') ? [1000, 10_000] : [1000, 10_000, 100_000]) {
    const answer = join(directory, 'rollout.json')
    const words = [process.execPath, '--max-old-space-size=4096', join(HERE, 'rollout.ts'), String(guests)]
    measure(words, { output: answer })
    const found = JSON.parse(readFileSync(answer, 'utf8')) as Record<string, number>
    for (const name of ['seconds', 'decision, ms', 'requests per updated guest', 'peak MiB'])
      counts[`rollout, a wave among ${guests} guests: ${name}`] = found[name] as number
  }
}

/** Guests that follow static files: what one of them costs while nothing is new, and when something is. */
function poll(): void {
  const answer = join(directory, 'poll.json')
  const cost = measure([process.execPath, join(HERE, 'poll.ts')], { output: answer })
  const found = JSON.parse(readFileSync(answer, 'utf8')) as Record<string, number>
  const theirs = ideal(60)
  const work = 'stage5 serve: 100,000 polls of a channel where nothing is new'
  rows.push({
    work,
    ours: { ...cost, seconds: found['seconds'] as number },
    rival: 'a poll a minute',
    theirs,
    aim: 1,
  })
  counts['poll, nothing new: bytes both ways, the whole timestamp'] = found['bytesFull'] as number
  counts['poll, nothing new: bytes both ways, with If-None-Match'] = found['bytesUnchanged'] as number
  counts['poll, something new: bytes of metadata'] = found['bytesNew'] as number
  counts['poll, something new: requests'] = found['requestsNew'] as number
}

/** One tree as the root of guests that have no disk; see memory.ts for more of them. */
function rootsInMemory(): void {
  const answer = join(directory, 'memory.json')
  measure([process.execPath, join(HERE, 'memory.ts'), '--json'], { output: answer })
  const { tree, rows: roots } = JSON.parse(readFileSync(answer, 'utf8')) as {
    tree: number
    rows: readonly { readonly root: string; readonly used?: number }[]
  }
  const size = Math.round(tree / 1_048_576)
  for (const { root, used } of roots)
    counts[`MiB of memory used by a guest, ${size} MiB of files as ${root}`] =
      used === undefined ? 'not ready in time' : Math.round(used)
}

/** What guests get when they are made; each of ours is on the disk when it has its name. */
function dataDisks(): void {
  const template = join(directory, 'template.ext4')
  execFileSync('truncate', ['-s', '1G', template])
  execFileSync('/sbin/mke2fs', ['-q', '-F', '-t', 'ext4', template])
  const own = join(directory, 'disks')
  const copies = join(directory, 'copies')
  for (const folder of [own, copies]) mkdirSync(folder)
  const ours = measure([process.execPath, resolve(HERE, 'data-disks.ts'), template, own])
  const loop = `for n in $(seq 1000); do cp --sparse=always '${template}' '${copies}'/$n; done; sync -f '${copies}'`
  const theirs = measure(['sh', '-ec', loop])
  for (const folder of [own, copies]) rmSync(folder, { recursive: true })
  rows.push({
    work: '1,000 sparse data disks of 1 GiB',
    ours,
    rival: 'cp --sparse=always',
    theirs,
    aim: 1,
  })
}

function unpack(debs: readonly string[]): string {
  let times = 0
  const plain = (): string => join(directory, `plain-${times}`)
  const store = (): string => join(directory, `store-${times}`)
  const [ours, theirs] = inTurn(
    2,
    () => {
      times++
      mkdirSync(join(store(), 'v1'), { recursive: true })
      symlinkSync(join(FETCHED, 'store/v1/downloads'), join(store(), 'v1/downloads'))
      execFileSync('sync')
      const { cost, counts: counted } = task('compose', { lock }, store())
      Object.assign(counts, counted)
      return cost
    },
    () => {
      mkdirSync(plain())
      execFileSync('sync')
      const one = (deb: string) =>
        `dpkg-deb --fsys-tarfile '${deb}' | tar -x -C '${plain()}' --no-same-owner --keep-directory-symlink`
      return measure(['sh', '-ec', debs.map(one).join('\n')])
    },
  )
  const work = 'cold: packages on disk to root in the store, every file hashed'
  rows.push({ work, ours, rival: 'dpkg-deb | tar x, one by one', theirs, aim: 1 })
  const warm = task('compose', { lock }, store()).cost
  rows.push({ work: 'warm: the same root again', ours: warm, rival: 'the same', theirs, aim: 0.1 })
  return checkoutBench(store())
}

/** The commands as people type them, on an output folder that is there. */
function checkoutBench(store: string): string {
  const project = join(directory, 'project')
  cpSync(join(HERE, 'project'), project, { recursive: true })
  copyFileSync(lock, join(project, 'profiles/bench.lock.yaml'))
  const environment = { STAGE5_STORE: store }
  const stage5 = (...words: string[]): Cost =>
    measure([...STAGE5, '-C', project, '--quiet', ...words], { environment })
  stage5('build', 'bench')
  const plan = (): Cost => stage5('plan', 'bench')
  const [ours, theirs] = inTurn(5, plan, () => ideal(0.3))
  rows.push({ work: 'stage5 plan, nothing changed', ours, rival: 'at most 300 ms', theirs, aim: 1 })
  const output = join('out', readdirSync(join(project, 'out')).find((name) => /_.*_/.test(name)) as string)
  const first = join(directory, 'checkout')
  stage5('checkout', output, first)
  let times = 0
  const [linked, copied] = inTurn(
    3,
    () => stage5('checkout', output, `${first}-${++times}`),
    () => measure(['cp', '-al', first, `${first}-copy-${times}`]),
  )
  const work = 'stage5 checkout, hard links'
  rows.push({ work, ours: linked, rival: 'cp -al', theirs: copied, aim: 1 })
  const repo = join(directory, 'ostree')
  measure(['ostree', 'init', `--repo=${repo}`, '--mode=bare'])
  measure(['ostree', 'commit', `--repo=${repo}`, '-b', 'bench', `--tree=dir=${first}`])
  const [again, ostree] = inTurn(
    2,
    () => stage5('checkout', output, `${first}-${++times}`),
    () => measure(['ostree', 'checkout', `--repo=${repo}`, '-H', 'bench', `${first}-ostree-${times}`]),
  )
  rows.push({ work, ours: again, rival: 'ostree checkout -H', theirs: ostree, aim: 0.5 })
  return first
}

function emit(folder: string): void {
  emission(folder, 3, 2)
  variants()
  if (process.argv.includes('--quick')) return
  emission(folder, 15, 1)
  smallChange()
}

/** The first of ours keeps its blocks, as a build does; so the next has nothing to compress. */
function emission(folder: string, level: number, times: number): void {
  const rival = join(directory, `rival-${level}`)
  const image = join(directory, `image-${level}`)
  const store = join(directory, 'store-1')
  const digests = new Set<string>()
  let size = 0
  const emitted = (what: Task): { readonly cost: Cost; readonly counts: Counts } => {
    rmSync(image, { force: true })
    const done = task('squashfs', { ...what, lock, level, to: image }, store)
    digests.add(done.counts['digest'] as string)
    return done
  }
  const [ours, theirs] = inTurn(
    times,
    () => {
      // At 3 the blocks are kept in a run of its own, which is not measured.
      const cold = emitted(times > 1 ? { lock, fresh: true } : { lock })
      counts[`blocks compressed, zstd ${level}`] = cold.counts['blocks compressed'] as number
      counts[`digest, zstd ${level}`] = cold.counts['digest'] as string
      size = statSync(image).size
      return cold.cost
    },
    () => mksquashfs(folder, rival, level),
  )
  rows.push({ work: `cold squashfs, zstd ${level}`, ours, rival: 'mksquashfs', theirs, aim: 1 })
  counts[`size, zstd ${level}, in % of mksquashfs`] = Math.round((1000 * size) / statSync(rival).size) / 10
  if (times > 1) emitted({ lock })
  const warm = emitted({ lock })
  if (digests.size > 1) throw new Error('the image differs from a clean one')
  rows.push({ work: `warm squashfs, zstd ${level}`, ours: warm.cost, rival: 'mksquashfs', theirs, aim: 0.1 })
}

/** What follows has the blocks of the root in the store. */
function smallChange(): void {
  const store = join(directory, 'store-1')
  const theirs = rows.findLast(({ work }) => work.startsWith('cold squashfs, zstd 15'))?.theirs as Cost
  const changed = (fresh: boolean): { readonly cost: Cost; readonly counts: Counts } =>
    task(
      'squashfs',
      { lock, level: 15, to: join(directory, `changed-${fresh}`), changed: true, fresh },
      store,
    )
  const { cost, counts: counted } = changed(false)
  if (counted['digest'] !== changed(true).counts['digest'])
    throw new Error('the image differs from a clean one')
  counts['blocks compressed, 1 of 100 packages changed'] = counted['blocks compressed'] as number
  const ours = { ...cost, seconds: counted['emitted'] as number }
  const work = '1 of 100 packages changed, zstd 15, byte-identical to clean'
  rows.push({ work, ours, rival: 'mksquashfs of everything', theirs, aim: 0.02 })
}

/** Each with another one of the largest packages changed, in a store that has the contents but no blocks. */
function variants(): void {
  const one = rows.findLast(({ work }) => work.startsWith('cold squashfs, zstd 3'))?.ours as Cost
  const to = join(directory, 'variant')
  const ten = task('squashfs', { lock, level: 3, to, variants: 10 }, join(directory, 'store-2')).cost
  const work = 'ten variants of one root, zstd 3'
  rows.push({ work, ours: ten, rival: 'one of them, cold', theirs: one, aim: 1.5 })
}

function mksquashfs(folder: string, image: string, level: number): Cost {
  const words = `-comp zstd -Xcompression-level ${level} -b 128K -noappend -no-progress -quiet -no-exports`
  return measure(['mksquashfs', folder, image, ...words.split(' ')])
}

function task(name: TaskName, what: Task, store: string): { readonly cost: Cost; readonly counts: Counts } {
  const path = join(directory, 'answer.json')
  const words = [process.execPath, LITTLE, join(HERE, 'task.ts'), name, JSON.stringify(what)]
  const cache = join(FETCHED, 'compile-cache')
  const environment = { STAGE5_STORE: store, NODE_COMPILE_CACHE: cache, ...MALLOC }
  const cost = measure(words, { environment, output: path })
  return { cost, counts: JSON.parse(readFileSync(path, 'utf8')) as Counts }
}

function report(): void {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  overweight.push(...rows.filter(({ ours }) => ours.mebibytes > MOST_MEMORY).map(({ work }) => work))
  if (overweight.length > 0) process.exitCode = 1
  const record = { commit, node: process.versions.node, cpu: cpus()[0]?.model, rows, counts, overweight }
  if (parts.length === PARTS.length)
    appendFileSync(join(HERE, 'history.ndjson'), `${JSON.stringify(record)}\n`)
  if (process.argv.includes('--json')) return console.log(JSON.stringify(record, null, 2))
  console.log('  time: ours, rival, ratio (aim)    processor time      memory, MiB         work (rival)')
  for (const { work, ours, rival, theirs, aim } of rows) {
    const pair = (what: keyof Cost, digits: number): string =>
      `${ours[what].toFixed(digits).padStart(8)}${theirs[what].toFixed(digits).padStart(8)}${(ours[what] / theirs[what]).toFixed(2).padStart(6)}`
    const time = `${pair('seconds', 2)} (${aim})`.padEnd(30)
    console.log(`${time}${pair('processorSeconds', 2)}${pair('mebibytes', 0)}  ${work} (${rival})`)
  }
  for (const work of overweight) console.log(`more than ${MOST_MEMORY} MiB of memory: ${work}`)
  for (const [name, value] of Object.entries(counts)) console.log(`${String(value).padStart(17)}  ${name}`)
}
