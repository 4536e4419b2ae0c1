/** root → images and reports: everything the profile asks for, in one output folder. */
import { join } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import type { Json } from '../base/json.ts'
import { makeDataDisk } from '../deploy/data-disk.ts'
import type { EmitWorld, Emitter } from '../emit/emitter.ts'
import { initramfsEmitter, initramfsTree } from '../emit/initramfs.ts'
import { squashfsEmitter } from '../emit/squashfs.ts'
import { type OpenBlocks, openBlocks } from '../jobs/blocks.ts'
import { printLock } from '../resolve/lock-text.ts'
import type { Profile } from '../resolve/profile.ts'
import { checkout } from '../store/checkout.ts'
import type { Store } from '../store/store.ts'
import { BOOT_MODULES, kernelReleases, moduleClosure } from '../stage/modules.ts'
import { printTree, treeDigest } from '../tree/text.ts'
import { type FileInode, lookup, type Tree } from '../tree/tree.ts'
import type { Composed } from './flow.ts'
import { type OutputFolder, openOutput, stemOf, sweepOutput } from './output.ts'
import type { Recipe } from './recipe.ts'
import { diskUsage, diskUsageText, manifest, packagesText } from './reports.ts'
import { timed } from './timed.ts'
import type { World } from './world.ts'

/** The console for scripts and people; a panic reboots instead of standing still (kernel-parameters.txt). */
const CMDLINE = ['console=ttyS0', 'panic=10']

/** Everything that one build writes with. */
interface Job {
  readonly world: World
  readonly store: Store
  readonly profile: Profile
  readonly composed: Composed
  readonly output: OutputFolder
  readonly stem: string
  readonly date: number
  readonly blocks: OpenBlocks
}

/** @returns the folder `out/<id>_<version>_<arch>` */
export async function emitAll(world: World, recipe: Recipe, composed: Composed): Promise<string> {
  const { profile } = recipe
  const { version, date } = composed.facts
  const parent = join(world.directory, 'out')
  await sweepOutput(parent)
  const store = await world.store()
  const stem = stemOf(profile.id, version)
  await using output = await openOutput(parent, `${stem}_${profile.arch}`)
  // Worker threads see what lies in files.
  await store.flush()
  await using blocks = openBlocks(store.blocks, store, world.limit, world.threads, world.signal)
  const job: Job = { world, store, profile, composed, output, stem, date, blocks }

  for (const { format, options } of profile.images) await emitImage(job, format, options)
  const kernel = profile.kernel.wanted ? await emitKernel(job) : undefined
  const data = await emitData(job)
  await emitReports(job, { ...kernel, data, ready: profile.boot.ready, memory: profile.boot.memory })
  await store.blocks.flush()
  return await output.commit([profile.id, 'latest'])
}

async function emitImage(
  job: Job,
  format: string,
  options: { readonly [key: string]: Json | undefined },
): Promise<void> {
  const { composed, date, stem } = job
  switch (format) {
    case 'squashfs':
      return write(job, `${stem}.squashfs`, 'base', squashfsEmitter as Emitter, composed.root.tree, {
        ...options,
        mtime: date,
      })
    case 'dir':
      return emitDirectory(job)
    default:
      throw new Stage5Error(
        'S5_FORMAT_UNKNOWN',
        `unknown image format ${JSON.stringify(format)}; known: squashfs, dir`,
      )
  }
}

async function write(
  job: Job,
  name: string,
  role: string,
  emitter: Emitter,
  tree: Tree,
  options: Json,
): Promise<void> {
  const { world, store, output, blocks } = job
  await timed(world, name, () =>
    output.add(name, role, (sink) => {
      const progress = (done: number, total: number): void =>
        world.report({ kind: 'image.progress', name, done, total })
      const emitWorld: EmitWorld = { contents: store, blocks, sink, signal: world.signal, progress }
      return emitter.emit(tree, options, emitWorld)
    }),
  )
}

/** A folder hard-linked from the store. */
async function emitDirectory({ world, store, composed, output, stem }: Job): Promise<void> {
  const how = 'link'
  const done = await checkout(store, composed.root.tree, join(output.directory, `${stem}.dir`), {
    how,
    signal: world.signal,
  })
  if (done.skipped.length > 0)
    world.report({
      kind: 'warning',
      code: 'dir.incomplete',
      message: `${stem}.dir: ${done.skipped.length} owners, devices or attributes need root; first: ${done.skipped[0]}`,
    })
}

/** Kernel, initrd and command line beside the base. */
async function emitKernel(job: Job): Promise<{ [key: string]: Json }> {
  const { world, store, profile, composed, output, stem, date } = job
  const packages = composed.packages.map(({ tree }) => tree)
  const owner = packages.find((tree) => kernelReleases(tree).length > 0)
  const release = owner && kernelReleases(owner).at(-1)
  const image = owner && lookup(owner, `boot/vmlinuz-${release}`)
  if (release === undefined || image?.inode.type !== 'file')
    throw new Stage5Error(
      'S5_KERNEL_MISSING',
      `no package of ${profile.name} has boot/vmlinuz-* and its modules`,
      {
        hint: 'add a kernel package to packages:, or set kernel: none',
      },
    )
  await output.addBytes(`${stem}.vmlinuz`, 'kernel', await store.read((image.inode as FileInode).content))
  const wanted = [...BOOT_MODULES, ...profile.kernel.modules]
  const modules = await moduleClosure(composed.root.tree, store, release, wanted)
  const init = await world.read('stages/boot/init')
  if (!init) throw new Error('stages/boot/init is missing from the bundle')
  const tree = await initramfsTree(composed.root.tree, store, {
    release,
    modules,
    init,
    date,
    data: profile.data,
  })
  await write(job, `${stem}.initrd`, 'initrd', initramfsEmitter as Emitter, tree, {
    compress: 'zstd',
    level: 19,
  })
  const words = [...CMDLINE, ...profile.kernel.cmdline]
  const cmdline = [...new Set(words)].join(' ')
  await output.addBytes(`${stem}.cmdline`, 'cmdline', `${cmdline}\n`)
  return { kernel: `${stem}.vmlinuz`, initrd: `${stem}.initrd`, base: `${stem}.squashfs`, cmdline, release }
}

async function emitData({ world, store, profile, composed, output, stem, date }: Job): Promise<Json> {
  const made: Json[] = []
  for (const area of profile.data) {
    const name = `${stem}.data-${area.name}.ext4`
    await timed(world, name, async () => {
      const seed = `${profile.id} ${area.name}`
      const target = join(output.directory, name)
      await makeDataDisk(area, composed.root.tree, store, target, { date, seed, signal: world.signal })
      await output.adopt(name, 'data')
    })
    made.push({ name: area.name, label: area.label, file: name, size: area.size, paths: [...area.paths] })
  }
  return made
}

async function emitReports({ profile, composed, output, stem }: Job, boot: Json): Promise<void> {
  const { root, lock, facts } = composed
  await output.addBytes(`${stem}.packages`, 'report', packagesText(lock))
  await output.addBytes(`${stem}.contents.txt`, 'report', printTree(root.tree))
  const usage = diskUsage(root)
  await output.addBytes(`${stem}.disk_usage.txt`, 'report', diskUsageText(usage))
  await output.addBytes(`${stem}.disk_usage.json`, 'report', `${JSON.stringify(usage)}\n`)
  await output.addBytes(`${stem}.lock.yaml`, 'report', printLock(lock))
  const tools = { node: process.versions.node, zstd: process.versions['zstd'] ?? '' }
  const record = manifest({
    profile,
    lock,
    version: facts.version,
    date: facts.date,
    rootDigest: treeDigest(root.tree),
    files: output.files,
    boot,
    tools,
  })
  await output.addBytes(`${stem}.manifest.json`, 'manifest', `${JSON.stringify(record, null, 2)}\n`)
}
