/** The root as images: squashfs, erofs, folder and tar, and the hash tree that proves one of them. */
import { join } from 'node:path'
import type { Json } from '../base/json.ts'
import { runOf } from '../emit/delta.ts'
import type { EmitWorld, Sink } from '../emit/emitter.ts'
import { erofsEmitter } from '../emit/erofs.ts'
import { squashfsEmitter } from '../emit/squashfs.ts'
import { type Forecast, forecastSquashfs } from '../emit/squashfs-forecast.ts'
import { tarEmitter } from '../emit/tar.ts'
import { emitVerity, type Stretch, stretchesOf, verityIdentity } from '../emit/verity.ts'
import { printLayout, type Run } from '../format/delta.ts'
import { giveUp, grow, type Growth, openGrowth } from '../host/growth.ts'
import { piecesOfFile } from '../host/pieces.ts'
import { checkout } from '../store/checkout.ts'
import { type ImageOptions, type Job, write } from './emit-job.ts'
import type { OutputFile } from './output.ts'
import { timed } from './timed.ts'

/** The image that guests use, which may still be being written or hashed: `output.settle` waits for that. */
export interface Base {
  /** Name of the file. */
  readonly base: string
  /** What lies where in it, ascending; empty when that is not known. */
  readonly runs: readonly Run[]
  /** Hands over a part of it, in pieces. */
  readonly read: ReadStretch
  /** Of an image that is known before it is written. */
  readonly early?: Early
}

type ReadStretch = (stretch: Whole, take: (bytes: Uint8Array) => void) => Promise<void>

/** An image that is being written. Dispose ends that. */
export interface Early extends AsyncDisposable {
  readonly size: number
  readonly growth: Growth
  /** Writing begins when this is called: what is made of `read` first has the processor for itself. */
  begin(): void
  readonly written: Promise<void>
}

/** A base that is written. */
export function writtenBase(job: Job, base: string, runs: readonly Run[] = []): Base {
  const path = join(job.output.directory, base)
  const read: ReadStretch = async (stretch, take) => {
    for await (const bytes of piecesOfFile(path, stretch)) take(bytes)
  }
  return { base, runs, read }
}

/**
 * The image, which is hashed beside what follows, and its layout for deltas.
 * @param isAwaited whether something else stands on it, for which it is worth knowing it before it is written
 */
export async function emitSquashfs(job: Job, options: ImageOptions, isAwaited: boolean): Promise<Base> {
  const { world, store, blocks, stem, composed } = job
  const name = `${stem}.squashfs`
  const settings = { ...options, mtime: job.date }
  const { tree } = composed.root
  const { signal } = world
  const forecast = isAwaited
    ? await timed(world, `${name} plan`, () =>
        forecastSquashfs(tree, settings, { contents: store, blocks, signal }),
      )
    : undefined
  if (forecast) return await beginSquashfs(job, name, forecast)
  const runs: Run[] = []
  const placed: EmitWorld['placed'] = (...run) => void runs.push(runOf(...run))
  const { measured } = await write(job, name, 'base', squashfsEmitter, tree, settings, {
    placed,
    beside: true,
  })
  runs.sort((a, b) => a.offset - b.offset)
  addLayout(job, name, runs, measured)
  return writtenBase(job, name, runs)
}

async function beginSquashfs(job: Job, name: string, forecast: Forecast): Promise<Base> {
  const { world, output } = job
  const { size, runs } = forecast
  const growth = openGrowth()
  const stop = new AbortController()
  const begun = Promise.withResolvers<void>()
  const signal = AbortSignal.any([world.signal, stop.signal])
  const fill = async (sink: Sink): Promise<void> => {
    await begun.promise
    await timed(world, name, () => forecast.write({ offset: 0, length: size }, sink, signal))
  }
  const grown = (now: number): void => {
    grow(growth, now)
    world.report({ kind: 'image.progress', name, done: now, total: size })
  }
  const { written, measured } = await output.addGrowing(name, 'base', size, fill, grown)
  written.catch(() => giveUp(growth))
  addLayout(job, name, runs, measured)
  return {
    base: name,
    runs,
    read: (stretch, take) => forecast.write(stretch, { write: async (bytes) => take(bytes) }, world.signal),
    early: {
      size,
      growth,
      written,
      begin: begun.resolve,
      [Symbol.asyncDispose]: async () => {
        stop.abort()
        begun.resolve()
        await written.catch(() => undefined)
      },
    },
  }
}

function addLayout(job: Job, name: string, runs: readonly Run[], measured: Promise<OutputFile>): void {
  const layout = measured.then(({ size, digest }) => printLayout({ name, size, digest, runs }))
  job.output.addLater(`${job.stem}.layout`, 'layout', layout)
}

/** @returns the name of the file */
export async function emitErofs(job: Job): Promise<string> {
  const name = `${job.stem}.erofs`
  const options = { date: job.date, seed: job.profile.id }
  await write(job, name, 'base', erofsEmitter, job.composed.root.tree, options)
  return name
}

export async function emitTar(job: Job): Promise<void> {
  await write(job, `${job.stem}.tar`, 'root', tarEmitter, job.composed.root.tree, {})
}

/** A folder hard-linked from the store. */
export async function emitDirectory({ world, store, composed, output, stem }: Job): Promise<void> {
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

/** A stretch of an image, whether its bytes have a name or not. */
type Whole = Omit<Stretch, 'key'> & Partial<Stretch>
const WHOLE: Whole = { offset: 0, length: Infinity }

export interface Verity {
  /** Name of the file with the hash tree. */
  readonly tree: string
  /** 64 hex digits. */
  readonly rootHash: string
}

/** The hash tree of a base, and its root hash in a file of its own. */
export async function emitVerityOf(job: Job, { runs, read }: Base): Promise<Verity> {
  const { world, store, output, profile, stem } = job
  const tree = `${stem}.verity`
  const rootHash = await timed(world, tree, async () => {
    const stretches: readonly Whole[] = runs.length > 0 ? stretchesOf(runs) : [WHOLE]
    const hashed = { identity: verityIdentity(profile.id), known: store.blocks }
    const made = await emitVerity(stretches, read, hashed, world.signal)
    await output.addBytes(tree, 'verity', Buffer.concat(made.parts))
    return made.rootHash
  })
  await output.addBytes(`${stem}.roothash`, 'roothash', `${rootHash}\n`)
  return { tree, rootHash }
}

/** What the manifest says of a verified base. */
export function verityRecord(verity: Verity | undefined): { [key: string]: Json } {
  return verity ? { verity: verity.tree, roothash: verity.rootHash } : {}
}
