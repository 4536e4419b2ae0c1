/**
 * `npm run bench [-- --json] [--quick]`: stage5 beside its rivals on one root of real packages, in the same run.
 *
 * Each side is a process of its own under time(1), ours and theirs in turn, the best of some; so start-up and children
 * count, and memory is each one's own. Times compare within a run only. Counts compare everywhere and go to
 * history.ndjson; `--quick` leaves out zstd 15.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { cpus } from 'node:os'
import { join, resolve } from 'node:path'
import type { Counts, Task, TaskName } from './task.ts'

interface Cost {
  readonly seconds: number
  readonly processorSeconds: number
  /** Peak of the largest process. */
  readonly mebibytes: number
}

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
const FETCHED = process.env['STAGE5_BENCH_DIR'] ?? resolve(HERE, '../.tmp/bench')
mkdirSync(FETCHED, { recursive: true })
const directory = mkdtempSync(join(FETCHED, 'run-'))
const lock = join(directory, 'bench.lock.yaml')
const rows: Row[] = []
const counts: Counts = {}

try {
  const debs = String(task('fetch', { lock }, join(FETCHED, 'store')).counts['debs']).split('\n')
  counts['packages'] = debs.length
  startUp()
  fleetLock()
  dataDisks()
  waves()
  const folder = unpack(debs)
  emission(folder, 3, 2)
  if (!process.argv.includes('--quick')) {
    emission(folder, 15, 1)
    smallChange(folder)
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}
report()

function startUp(): void {
  const stage5 = [process.execPath, resolve(HERE, '../../src/main.js')]
  const [ours, theirs] = inTurn(
    7,
    () => measure([...stage5, '--version']),
    () => measure([process.execPath, '-e', '0']),
  )
  rows.push({ work: 'stage5 --version', ours, rival: 'node -e 0', theirs, aim: 2 })
}

/** A thousand guests that restart over fifty slots, while a replica and the leader of etcd are killed. */
function fleetLock(): void {
  const answer = join(directory, 'fleetlock.json')
  const cost = measure([process.execPath, join(HERE, 'fleetlock.ts'), 'etcd-faults'], { output: answer })
  const { seconds, writes } = JSON.parse(readFileSync(answer, 'utf8')) as { seconds: number; writes: number }
  const theirs = measure(['sleep', '8'])
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

function checkoutBench(store: string): string {
  const first = join(directory, 'checkout')
  task('checkout', { lock, to: first }, store)
  let times = 0
  const [ours, theirs] = inTurn(
    3,
    () => task('checkout', { lock, to: `${first}-${++times}` }, store).cost,
    () => measure(['cp', '-al', first, `${first}-copy-${times}`]),
  )
  rows.push({ work: 'warm checkout by hard links', ours, rival: 'cp -al', theirs, aim: 1 })
  return first
}

function emission(folder: string, level: number, times: number): void {
  const rival = join(directory, `rival-${level}`)
  const image = join(directory, `image-${level}`)
  const store = join(directory, 'store-1')
  let size = 0
  const [ours, theirs] = inTurn(
    times,
    () => {
      rmSync(image, { force: true })
      const fresh = task('squashfs', { lock, level, to: image, fresh: true }, store)
      counts[`blocks compressed, zstd ${level}`] = fresh.counts['blocks compressed'] as number
      counts[`digest, zstd ${level}`] = fresh.counts['digest'] as string
      size = statSync(image).size
      return fresh.cost
    },
    () => mksquashfs(folder, rival, level),
  )
  rows.push({ work: `cold squashfs, zstd ${level}`, ours, rival: 'mksquashfs', theirs, aim: 1 })
  counts[`size, zstd ${level}, in % of mksquashfs`] = Math.round((1000 * size) / statSync(rival).size) / 10
  const remembered = task('squashfs', { lock, level, to: `${image}-filled` }, store)
  const warm = task('squashfs', { lock, level, to: `${image}-warm` }, store)
  for (const { counts: counted } of [remembered, warm])
    if (counted['digest'] !== counts[`digest, zstd ${level}`])
      throw new Error('the image differs from a clean one')
  rows.push({ work: `warm squashfs, zstd ${level}`, ours: warm.cost, rival: 'mksquashfs', theirs, aim: 0.1 })
}

/** What follows has the blocks of the root at level 15 in the store. */
function smallChange(folder: string): void {
  const store = join(directory, 'store-1')
  const theirs = rows.findLast(({ work }) => work.startsWith('cold squashfs, zstd 15'))?.theirs as Cost
  const level = 15
  const changed = task('squashfs', { lock, level, to: join(directory, 'changed'), changed: true }, store)
  const clean = task(
    'squashfs',
    { lock, level, to: join(directory, 'clean'), changed: true, fresh: true },
    store,
  )
  if (changed.counts['digest'] !== clean.counts['digest'])
    throw new Error('the image differs from a clean one')
  counts['blocks compressed, 1 of 100 packages changed'] = changed.counts['blocks compressed'] as number
  const emitted = { ...changed.cost, seconds: changed.counts['emitted'] as number }
  rows.push({
    work: '1 of 100 packages changed, zstd 15, byte-identical to clean',
    ours: emitted,
    rival: `mksquashfs of everything in ${folder.split('/').at(-1)}`,
    theirs,
    aim: 0.02,
  })
  const one = rows.findLast(({ work }) => work.startsWith('cold squashfs, zstd 3'))?.ours as Cost
  const ten = freshTask('ten variants', { lock, level: 3, to: join(directory, 'variant'), variants: 10 })
  rows.push({
    work: 'ten variants of one root, zstd 3',
    ours: ten,
    rival: 'one of them, cold',
    theirs: one,
    aim: 1.5,
  })
}

/** In a store that has the contents but no blocks of this level. */
function freshTask(_work: string, what: Task): Cost {
  const store = join(directory, 'store-2')
  return task('squashfs', what, store).cost
}

function mksquashfs(folder: string, image: string, level: number): Cost {
  const words = `-comp zstd -Xcompression-level ${level} -b 128K -noappend -no-progress -quiet -no-exports`
  return measure(['mksquashfs', folder, image, ...words.split(' ')])
}

function task(name: TaskName, what: Task, store: string): { readonly cost: Cost; readonly counts: Counts } {
  const path = join(directory, 'answer.json')
  const words = [process.execPath, join(HERE, 'task.ts'), name, JSON.stringify(what)]
  const environment = { STAGE5_STORE: store, NODE_COMPILE_CACHE: join(FETCHED, 'compile-cache') }
  const cost = measure(words, { environment, output: path })
  return { cost, counts: JSON.parse(readFileSync(path, 'utf8')) as Counts }
}

/** Best of `times` of each side, one after the other. */
function inTurn(times: number, ours: () => Cost, theirs: () => Cost): [ours: Cost, theirs: Cost] {
  const made: [Cost, Cost][] = Array.from({ length: times }, () => [ours(), theirs()])
  const best = (side: 0 | 1): Cost =>
    made.map((pair) => pair[side]).reduce((a, b) => (b.seconds < a.seconds ? b : a))
  return [best(0), best(1)]
}

function measure(
  words: readonly string[],
  { environment, output }: { readonly environment?: Record<string, string>; readonly output?: string } = {},
): Cost {
  const times = join(directory, 'time')
  const start = performance.now()
  const { status, stdout } = spawnSync('/usr/bin/time', ['-q', '-f', '%U %S %M', '-o', times, ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...environment },
  })
  const seconds = (performance.now() - start) / 1000
  if (status !== 0) throw new Error(`${words.slice(0, 4).join(' ')}: exit status ${status}`)
  if (output) appendFileSync(output, stdout, { flag: 'w' })
  const [user = 0, system = 0, kilobytes = 0] = readFileSync(times, 'utf8').trim().split(' ').map(Number)
  return { seconds, processorSeconds: user + system, mebibytes: Math.round(kilobytes / 1024) }
}

function report(): void {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  const overweight = rows.filter(({ ours }) => ours.mebibytes > MOST_MEMORY).map(({ work }) => work)
  if (overweight.length > 0) process.exitCode = 1
  const record = { commit, node: process.versions.node, cpu: cpus()[0]?.model, rows, counts, overweight }
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
