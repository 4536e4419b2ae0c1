/** root → images and reports: everything the profile asks for, in one output folder. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Json } from '../base/json.ts'
import { makeDataDisk } from '../deploy/data-disk.ts'
import { type Measured, measureFile } from '../host/file-sink.ts'
import { openBlocks } from '../jobs/blocks.ts'
import { openThreads } from '../jobs/threads.ts'
import { printLock } from '../resolve/lock-text.ts'
import { isKept } from '../resolve/profile.ts'
import { DISK_FORMATS as DISKS } from '../resolve/shape-images.ts'
import { treeDigest } from '../tree/text.ts'
import type { ImageOptions, Job } from './emit-job.ts'
import { emitKernel, type Kernel, kernelRecord } from './emit-kernel.ts'
import { beginEsp, emitDisks, emitUki } from './emit-disk.ts'
import { emitExtension } from './emit-extension.ts'
import { checkBudget, fitMemory } from './fit-memory.ts'
import { emitNetboot, emitOneInitrd } from './emit-memory.ts'
import { emitOci } from './emit-oci.ts'
import {
  emitDirectory,
  emitErofs,
  emitSquashfs,
  emitTar,
  type Base,
  emitVerityOf,
  type Verity,
  verityRecord,
  writtenBase,
} from './emit-root.ts'
import type { Composed } from './flow.ts'
import { mayReplace } from './generations.ts'
import type { DataRecord } from './manifest.ts'
import { openOutput, type OutputFile, stemOf, sweepOutput } from './output.ts'
import type { Recipe } from './recipe.ts'
import { diskUsage, diskUsageText, manifest, packagesText } from './reports.ts'
import { timed } from './timed.ts'
import { EXTENSIONS, ON_BASE, PROVED, type Wanted, wantedImages } from './wanted-images.ts'
import type { World } from './world.ts'

/** A file of so many bytes is read and hashed in a thread: starting one takes as long as hashing 32 MiB. */
const WORTH_THREAD = 32 << 20

/** @returns the folder `out/<id>_<version>_<arch>` */
export async function emitAll(world: World, recipe: Recipe, composed: Composed): Promise<string> {
  const { profile } = recipe
  const { version, date } = composed.facts
  const wanted = wantedImages(profile)
  const parent = world.options.out ?? join(world.directory, 'out')
  await sweepOutput(parent)
  const store = await world.store()
  const stem = stemOf(profile.id, version)
  const name = `${stem}_${profile.arch}`
  const inThread = async (kind: string, input: unknown): Promise<Measured> =>
    (await threads.run({ kind, input }, world.signal)) as Measured
  const measure = async (file: string): Promise<Measured> =>
    (await stat(file)).size < WORTH_THREAD ? await measureFile(file) : await inThread('measure', { file })
  await using output = await openOutput(parent, name, measure)
  // A disk is written while its base is read. They end before the folder goes.
  await using threads = openThreads(2)
  if (DISKS.some((format) => wanted.has(format))) threads.warm()
  // Worker threads see what lies in files.
  await store.flush()
  await using blocks = openBlocks(store.blocks, store, world.limit, world.threads, world.signal)
  const writeDisk: Job['writeDisk'] = (input) => inThread('disk-image', input)
  const job: Job = { world, store, profile, composed, output, stem, date, blocks, writeDisk }

  const data = emitData(job)
  const { base, verity, kernel, more } = await emitImages(job, wanted, data)
  const { ready } = profile.boot
  const memory = profile.memory || profile.boot.memory
  const files = {
    ...kernelRecord(kernel),
    ...(base !== undefined && { base }),
    ...verityRecord(verity),
    ...more,
  }
  const areas = profile.data.flatMap(({ name, size, paths, kind }) =>
    isKept({ ...(kind && { kind }) }) ? [] : [{ name, size, paths: [...paths], kind: kind as string }],
  )
  const boot = {
    ...files,
    data: data.records.map((area) => ({ ...area })),
    ...(areas.length > 0 && { areas }),
    ready,
    memory,
  }
  await emitReports(job)
  await output.settle()
  checkBudget(job, base)
  const { digest } = await emitManifest(job, boot)
  await store.blocks.flush()
  const { misses: made, hits: reused, bytesCompressed: bytes } = blocks.counts
  world.report({ kind: 'blocks.counted', made, reused, bytes })
  await mayReplace(world, join(parent, name), digest)
  return await output.commit([profile.id, 'latest'])
}

/** What one build has written so far. */
interface Emitted {
  /** Name of the file that guests use as their base. */
  readonly base: string | undefined
  readonly verity: Verity | undefined
  readonly kernel: Kernel | undefined
  /** What else can be booted, for the manifest. */
  readonly more: { readonly [key: string]: Json }
}

async function emitImages(job: Job, wanted: Wanted, { records: data, written }: Data): Promise<Emitted> {
  const disks = new Set(DISKS.filter((format) => wanted.has(format)))
  const esp = disks.size > 0 ? beginEsp(job, diskOptions(wanted)) : undefined
  const made = await emitBase(job, wanted, disks.size > 0 && isProved(wanted))
  await using early = made?.early
  await job.blocks.endThreads()
  const verity = made && isProved(wanted) ? await emitVerityOf(job, made) : undefined
  early?.begin()
  const base = made?.base
  const kernel = job.profile.kernel.wanted
    ? await fitMemory(job, await emitKernel(job, verity?.rootHash), base)
    : undefined
  if (!kernel || wanted.has('initrd') || wanted.has('netboot')) await early?.written
  if (!base || !kernel) return { base, verity, kernel, more: {} }
  if (esp) await written
  const more = {
    ...(wanted.has('initrd') && { oneInitrd: await emitOneInitrd(job, kernel, base) }),
    ...(wanted.has('netboot') && { netboot: await emitNetboot(job, kernel, base) }),
    ...(verity && wanted.has('uki') && { uki: await emitUki(job, { base, verity, kernel, data }) }),
    ...(verity &&
      esp &&
      (await emitDisks(job, { base, early, verity, kernel, data }, esp, disks, diskOptions(wanted)))),
  }
  await early?.written
  return { base, verity, kernel, more }
}

/** The formats of one disk may each say a part; the profile was refused when two say different things. */
function diskOptions(wanted: Wanted): ImageOptions {
  return Object.assign({}, ...DISKS.map((format) => wanted.get(format) ?? {})) as ImageOptions
}

/**
 * The root as what was asked for.
 * @param isAwaited whether more stands on the base than its own file
 * @returns what guests use: what says `base: true`, else squashfs, else erofs
 */
async function emitBase(job: Job, wanted: Wanted, isAwaited: boolean): Promise<Base | undefined> {
  if (wanted.has('dir')) await emitDirectory(job)
  if (wanted.has('tar')) await emitTar(job)
  if (wanted.has('oci')) await emitOci(job)
  for (const kind of EXTENSIONS) {
    const options = wanted.get(kind)
    if (options) await emitExtension(job, kind, options)
  }
  const erofs = wanted.has('erofs') ? await emitErofs(job) : undefined
  const given = Object.entries(wanted.get('squashfs') ?? {})
  const options = Object.fromEntries(given.filter(([key]) => key !== 'base'))
  const needed = erofs === undefined && ON_BASE.some((format) => wanted.has(format))
  const chosen = erofs && ['squashfs', 'erofs'].find((format) => wanted.get(format)?.['base'] === true)
  const made =
    wanted.has('squashfs') || needed
      ? await emitSquashfs(job, options, isAwaited && chosen !== 'erofs')
      : undefined
  if (erofs === undefined) return made
  if (made === undefined) return writtenBase(job, erofs)
  if (chosen === undefined)
    job.world.report({
      kind: 'warning',
      code: 'images.base',
      message: `squashfs is the base of the guests, and erofs stands beside it; {format: erofs, base: true} in images: turns that round`,
    })
  return chosen === 'erofs' ? writtenBase(job, erofs) : made
}

/** Whether there is a hash tree. */
function isProved(wanted: Wanted): boolean {
  return PROVED.some((format) => wanted.has(format))
}

/** Disks for data, which may not be written yet. */
interface Data {
  readonly records: readonly DataRecord[]
  readonly written: Promise<unknown>
}

/** Data disks, made one after the other beside what follows: `output.settle` waits for them. */
function emitData({ world, store, profile, composed, output, stem, date }: Job): Data {
  const made: DataRecord[] = []
  let before: Promise<unknown> = Promise.resolve()
  for (const area of profile.data) {
    if (!isKept(area)) continue
    const { label, size, paths, kind } = area
    const name = `${stem}.data-${area.name}.ext4`
    const make = async (): Promise<void> => {
      const seed = `${profile.id} ${area.name}`
      const target = join(output.directory, name)
      // An overlay begins empty: everything in it hides something of the base.
      const seeded = { label, size, paths: kind === 'overlay' ? [] : paths }
      await makeDataDisk(seeded, composed.root.tree, store, target, { date, seed, signal: world.signal })
    }
    const written = before.then(() => timed(world, name, make))
    before = written
    void output.adopt(
      name,
      'data',
      written.then(() => output.measure(name)),
    )
    const record = { name: area.name, label, file: name, size, paths: [...paths] }
    made.push(kind === 'overlay' ? { ...record, kind } : record)
  }
  return { records: made, written: before }
}

async function emitReports({ store, composed, output, stem }: Job): Promise<void> {
  const { root, lock } = composed
  await output.addBytes(`${stem}.packages`, 'report', packagesText(lock))
  await output.addBytes(`${stem}.contents.txt`, 'report', await store.treeText(root.tree))
  const usage = diskUsage(root)
  await output.addBytes(`${stem}.disk_usage.txt`, 'report', diskUsageText(usage))
  await output.addBytes(`${stem}.disk_usage.json`, 'report', `${JSON.stringify(usage)}\n`)
  await output.addBytes(`${stem}.lock.yaml`, 'report', printLock(lock))
}

/** @returns the manifest, which is written last: it has the digests of all others */
async function emitManifest({ profile, composed, output, stem }: Job, boot: Json): Promise<OutputFile> {
  const { root, lock, facts } = composed
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
  return await output.addBytes(`${stem}.manifest.json`, 'manifest', `${JSON.stringify(record, null, 2)}\n`)
}
