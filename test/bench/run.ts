/**
 * `npm run bench [-- --json]`: stage5 beside its rivals on one root of real packages, in the same run.
 *
 * Every line is a ratio of two times measured one after the other on this machine; figures of other machines do not
 * compare. Counts go to history.ndjson, since they do.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { compose, plan } from '../../src/cli/flow.ts'
import { loadRecipe } from '../../src/cli/recipe.ts'
import { openWorld, type World } from '../../src/cli/world.ts'
import { squashfsEmitter } from '../../src/emit/squashfs.ts'
import { openFileSink } from '../../src/host/file-sink.ts'
import { openBlocks } from '../../src/jobs/blocks.ts'
import type { Lock } from '../../src/resolve/lock.ts'
import { checkout } from '../../src/store/checkout.ts'
import type { Root } from '../../src/tree/root.ts'

interface Row {
  readonly work: string
  readonly ours: number
  readonly rival: string
  readonly theirs: number
}

const signal = new AbortController().signal
const directory = mkdtempSync(join(process.env['STAGE5_BENCH_DIR'] ?? tmpdir(), 'stage5-bench-'))
const rows: Row[] = []
const counts: Record<string, number> = {}

try {
  process.env['STAGE5_STORE'] = join(directory, 'fetched')
  const lock = await fetchAll()
  await benchUnpack(lock)
} finally {
  rmSync(directory, { recursive: true, force: true })
}
report()

function world(): World {
  const options = {
    directory: resolve(import.meta.dirname, 'project'),
    offline: false,
    locked: false,
    threads: undefined,
  }
  return openWorld(options, () => undefined, signal)
}

/** Downloads are no part of any measurement: they are made first. */
async function fetchAll(): Promise<Lock> {
  await using here = world()
  const { profile } = await loadRecipe(here, 'bench')
  const lock = await plan(here, profile)
  for (const pkg of lock.packages) await (await here.repository(pkg.repo)).fetch(pkg, signal)
  counts['packages'] = lock.packages.length
  return lock
}

async function benchUnpack(lock: Lock): Promise<void> {
  const store = join(directory, 'store')
  const debs = await pathsOf(lock)
  const plain = join(directory, 'plain')
  mkdirSync(plain)
  execFileSync('sync')
  const theirs = await time(() => {
    for (const deb of debs) shell(`dpkg-deb --fsys-tarfile '${deb}' | tar -x -C '${plain}' --no-same-owner`)
  })
  mkdirSync(store)
  spawnSync('cp', ['-al', join(directory, 'fetched'), store])
  execFileSync('sync')
  let root: Root | undefined
  const ours = await time(async () => {
    root = await composeIn(store, lock)
  })
  rows.push({
    work: 'cold: packages on disk to root in the store, every file hashed',
    ours,
    rival: 'dpkg-deb | tar x, one by one',
    theirs,
  })
  const warm = await time(async () => void (await composeIn(store, lock)))
  rows.push({ work: 'warm: the same root again', ours: warm, rival: 'dpkg-deb | tar x, one by one', theirs })
  if (!root) throw new Error('nothing was composed')
  counts['entries'] = root.tree.names.length
  counts['bytes'] = root.tree.inodes.reduce((sum, inode) => sum + (inode.type === 'file' ? inode.size : 0), 0)
  await benchCheckout(store, root)
}

/** A process of its own would hide start-up; here the work alone is measured, with a store opened anew. */
async function composeIn(store: string, lock: Lock): Promise<Root> {
  process.env['STAGE5_STORE'] = join(store, 'fetched')
  await using here = world()
  const recipe = await loadRecipe(here, 'bench')
  return (await compose(here, recipe, lock)).root
}

async function benchCheckout(store: string, root: Root): Promise<void> {
  process.env['STAGE5_STORE'] = join(store, 'fetched')
  await using here = world()
  const opened = await here.store()
  const first = join(directory, 'checkout-1')
  await checkout(opened, root.tree, first, { how: 'link', signal })
  execFileSync('sync')
  const theirs = await time(() => shell(`cp -al '${first}' '${join(directory, 'copy')}'`))
  execFileSync('sync')
  const ours = await time(
    async () =>
      void (await checkout(opened, root.tree, join(directory, 'checkout-2'), { how: 'link', signal })),
  )
  rows.push({ work: 'warm checkout by hard links', ours, rival: 'cp -al', theirs })
  for (const level of [3, 15]) await benchSquashfs(opened, root, first, level)
}

async function benchSquashfs(
  store: Awaited<ReturnType<World['store']>>,
  root: Root,
  folder: string,
  level: number,
): Promise<void> {
  const rival = join(directory, `rival-${level}.squashfs`)
  const words = [
    '-comp',
    'zstd',
    '-Xcompression-level',
    String(level),
    '-b',
    '128K',
    '-noappend',
    '-no-progress',
    '-quiet',
    '-no-exports',
  ]
  const theirs = await time(
    () => void execFileSync('mksquashfs', [folder, rival, ...words], { stdio: 'ignore' }),
  )
  const limit = (await import('p-limit')).default(cpus().length + 1)
  for (const kind of ['cold', 'warm'] as const) {
    const path = join(directory, `${kind}-${level}.squashfs`)
    const blocks = openBlocks(store.blocks, limit)
    const ours = await time(async () => {
      await using sink = await openFileSink(path)
      const options = { codec: 'zstd', level, blockSize: 131072, mtime: 0 }
      await squashfsEmitter.emit(root.tree, options as never, { contents: store, blocks, sink, signal })
      await sink.finish()
      await store.blocks.flush()
    })
    rows.push({ work: `${kind} squashfs, zstd ${level}`, ours, rival: 'mksquashfs', theirs })
    counts[`compressed ${kind} ${level}`] = blocks.counts.misses
    counts[`size ${kind} ${level} in % of mksquashfs`] =
      Math.round((1000 * statSync(path).size) / statSync(rival).size) / 10
  }
}

async function pathsOf(lock: Lock): Promise<string[]> {
  await using here = world()
  return await Promise.all(
    lock.packages.map(async (pkg) => (await here.repository(pkg.repo)).fetch(pkg, signal)),
  )
}

function shell(line: string): void {
  const { status } = spawnSync('sh', ['-c', line], { stdio: ['ignore', 'ignore', 'inherit'] })
  if (status !== 0) throw new Error(`${line}: exit status ${status}`)
}

async function time(work: () => void | Promise<void>): Promise<number> {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1000
}

function report(): void {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  const record = { commit, node: process.versions.node, cpu: cpus()[0]?.model, rows, counts }
  appendFileSync(join(import.meta.dirname, 'history.ndjson'), `${JSON.stringify(record)}\n`)
  if (process.argv.includes('--json')) console.log(JSON.stringify(record, null, 2))
  else {
    console.log('     ours    rival   ratio  work (rival)')
    for (const { work, ours, rival, theirs } of rows)
      console.log(
        `${ours.toFixed(2).padStart(7)} s${theirs.toFixed(2).padStart(7)} s${(ours / theirs).toFixed(2).padStart(7)}  ${work} (${rival})`,
      )
    for (const [name, value] of Object.entries(counts)) console.log(`${String(value).padStart(17)}  ${name}`)
  }
}
