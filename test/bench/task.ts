/** One piece of stage5's work in a process of its own: `node task.ts TASK JSON` does it and prints what it counted. */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import pLimit from 'p-limit'
import { compose, plan } from '../../src/cli/flow.ts'
import { loadRecipe } from '../../src/cli/recipe.ts'
import { openWorld, type World } from '../../src/cli/world.ts'
import { squashfsEmitter } from '../../src/emit/squashfs.ts'
import { type Measured, openFileSink } from '../../src/host/file-sink.ts'
import { openBlocks } from '../../src/jobs/blocks.ts'
import { openThreads } from '../../src/jobs/threads.ts'
import { parseLock, printLock } from '../../src/resolve/lock-text.ts'
import { checkout } from '../../src/store/checkout.ts'
import type { Store } from '../../src/store/store.ts'
import type { Inode, Tree } from '../../src/tree/tree.ts'

export interface Task {
  /** File of the lock. */
  readonly lock: string
  readonly to?: string
  readonly level?: number
  /** How many images; each but the first has another package changed. */
  readonly variants?: number
  /** Change one package that makes up a hundredth of the root. */
  readonly changed?: boolean
  /** Remember no blocks. */
  readonly fresh?: boolean
}

export type Counts = Record<string, number | string>

const signal = new AbortController().signal

function openBench(): World {
  const directory = resolve(import.meta.dirname, 'project')
  return openWorld({ directory, offline: false, locked: false, threads: undefined }, () => undefined, signal)
}

async function fetchAll({ lock: path }: Task): Promise<Counts> {
  await using world = openBench()
  const { profile } = await loadRecipe(world, 'bench')
  const lock = await plan(world, profile)
  writeFileSync(path, printLock(lock))
  const debs: string[] = []
  for (const pkg of lock.packages) debs.push(await (await world.repository(pkg.repo)).fetch(pkg, signal))
  return { packages: lock.packages.length, debs: debs.join('\n') }
}

async function rootOf(world: World, { lock }: Task): Promise<Tree> {
  const recipe = await loadRecipe(world, 'bench')
  return (await compose(world, recipe, parseLock(readFileSync(lock, 'utf8'), lock))).root.tree
}

async function composeAll(task: Task): Promise<Counts> {
  await using world = openBench()
  const tree = await rootOf(world, task)
  const bytes = tree.inodes.reduce((sum, inode) => sum + (inode.type === 'file' ? inode.size : 0), 0)
  const { objects, objectBytes } = (await world.store()).stats()
  return { entries: tree.names.length, bytes, 'objects written': objects, 'bytes hashed': objectBytes }
}

async function checkOut(task: Task): Promise<Counts> {
  await using world = openBench()
  const tree = await rootOf(world, task)
  await checkout(await world.store(), tree, task.to as string, { how: 'link', signal })
  return {}
}

async function squashfs(task: Task): Promise<Counts> {
  await using world = openBench()
  const tree = await rootOf(world, task)
  const store = await world.store()
  const sizes = sizesOf(tree)
  // Largest first.
  const owners = [...sizes.keys()].sort((a, b) => bytes(sizes, b) - bytes(sizes, a) || (a < b ? -1 : 1))
  const all = [...sizes.values()].reduce((sum, size) => sum + size, 0)
  const small = owners.find((owner) => bytes(sizes, owner) <= all / 100) as string
  const first = task.changed ? await changeOwner(tree, small, store) : tree
  const treeOf = async (variant: number): Promise<Tree> =>
    variant === 0 ? first : await changeOwner(tree, owners[variant] as string, store)
  await store.flush()
  const start = performance.now()
  const { counts, digest } = await emit(task, world, treeOf)
  return { ...counts, digest, emitted: (performance.now() - start) / 1000 }
}

async function emit(
  { to, level, fresh, variants = 1 }: Task,
  world: World,
  treeOf: (variant: number) => Promise<Tree>,
): Promise<{ counts: Counts; digest: string }> {
  const store = await world.store()
  const cache = fresh ? { get: () => undefined, put: () => undefined } : store.blocks
  await using blocks = openBlocks(cache, store, pLimit(availableParallelism() + 1), world.threads, signal)
  await using threads = openThreads(1)
  const measured: Promise<Measured>[] = []
  for (let variant = 0; variant < variants; variant++) {
    const file = variant === 0 ? (to as string) : `${to}.${variant}`
    await using sink = await openFileSink(file)
    const options = { codec: 'zstd', level: level ?? 15, blockSize: 131072, mtime: 0 } as const
    const tree = await treeOf(variant)
    await store.flush()
    await squashfsEmitter.emit(tree, options, { contents: store, blocks, sink, signal })
    if (variants > 1) {
      // As a build does where something follows: the next is made while this one is hashed and flushed.
      await sink.close()
      const sum = threads.run({ kind: 'measure', input: { file } }, signal) as Promise<Measured>
      sum.catch(() => undefined)
      measured.push(sum)
    } else measured.push(Promise.resolve(await sink.finish()))
  }
  const all = createHash('sha256')
  for (const { digest } of await Promise.all(measured)) all.update(digest)
  await store.blocks.flush()
  const { misses, hits, bytesCompressed } = blocks.counts
  const counts = { 'blocks compressed': misses, 'blocks known': hits, 'bytes compressed': bytesCompressed }
  return { counts, digest: all.digest('hex') }
}

/** Bytes of the files of each owner. */
function sizesOf(tree: Tree): ReadonlyMap<string, number> {
  const sizes = new Map<string, number>()
  for (const { owner, inode: number } of tree.names) {
    const inode = tree.inodes[number]
    sizes.set(owner, (sizes.get(owner) ?? 0) + (inode?.type === 'file' ? inode.size : 0))
  }
  return sizes
}

function bytes(sizes: ReadonlyMap<string, number>, owner: string): number {
  return sizes.get(owner) as number
}

/** As if the package had been built anew: each of its files ends in one more byte. */
async function changeOwner(tree: Tree, owner: string, store: Store): Promise<Tree> {
  const inodes: Inode[] = [...tree.inodes]
  for (const name of tree.names) {
    const inode = tree.inodes[name.inode]
    if (name.owner !== owner || inode?.type !== 'file' || inodes[name.inode] !== inode) continue
    const bytes = Buffer.concat([await store.read(inode.content), Buffer.from([10])])
    inodes[name.inode] = { ...inode, size: bytes.length, content: await store.write(bytes) }
  }
  return { ...tree, inodes }
}

export type TaskName = 'fetch' | 'compose' | 'checkout' | 'squashfs'
const TASKS: Readonly<Record<TaskName, (task: Task) => Promise<Counts>>> = {
  fetch: fetchAll,
  compose: composeAll,
  checkout: checkOut,
  squashfs,
}

const [, , name, json] = process.argv
console.log(JSON.stringify(await TASKS[name as TaskName](JSON.parse(json as string) as Task)))
