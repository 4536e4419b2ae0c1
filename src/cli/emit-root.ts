/** The root as images: squashfs, erofs, folder and tar, and the hash tree that proves one of them. */
import { join } from 'node:path'
import type { Json } from '../base/json.ts'
import { runOf } from '../emit/delta.ts'
import type { EmitWorld } from '../emit/emitter.ts'
import { erofsEmitter } from '../emit/erofs.ts'
import { squashfsEmitter } from '../emit/squashfs.ts'
import { tarEmitter } from '../emit/tar.ts'
import { emitVerity, type Stretch, stretchesOf, verityIdentity } from '../emit/verity.ts'
import { printLayout, type Run } from '../format/delta.ts'
import { piecesOfFile } from '../host/pieces.ts'
import { checkout } from '../store/checkout.ts'
import { type ImageOptions, type Job, write } from './emit-job.ts'
import { timed } from './timed.ts'

/** An image that is written, and may still be being hashed: `output.settle` waits for that, and for its layout. */
export interface Base {
  /** Name of the file. */
  readonly base: string
  /** What lies where in it, ascending. */
  readonly runs: readonly Run[]
}

/** The image, which is hashed beside what follows, and its layout for deltas. */
export async function emitSquashfs(job: Job, options: ImageOptions): Promise<Base> {
  const name = `${job.stem}.squashfs`
  const settings = { ...options, mtime: job.date }
  const runs: Run[] = []
  const { tree } = job.composed.root
  const placed: EmitWorld['placed'] = (...run) => void runs.push(runOf(...run))
  const { measured } = await write(job, name, 'base', squashfsEmitter, tree, settings, {
    placed,
    beside: true,
  })
  runs.sort((a, b) => a.offset - b.offset)
  const layout = measured.then(({ size, digest }) => printLayout({ name, size, digest, runs }))
  job.output.addLater(`${job.stem}.layout`, 'layout', layout)
  return { base: name, runs }
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

/** The hash tree of a base, and its root hash in a file of its own. @param runs of the base, where they are known */
export async function emitVerityOf(job: Job, base: string, runs: readonly Run[]): Promise<Verity> {
  const { world, store, output, profile, stem } = job
  const tree = `${stem}.verity`
  const rootHash = await timed(world, tree, async () => {
    const path = join(output.directory, base)
    const read = (stretch: Whole): AsyncIterable<Uint8Array> => piecesOfFile(path, stretch)
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
