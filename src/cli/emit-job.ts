/** What the parts of emission share: the job of one build, and the way from an emitter into a file. */
import { type Json, stableJson } from '../base/json.ts'
import type { EmitWorld, Emitter, Sink } from '../emit/emitter.ts'
import type { Measured } from '../host/file-sink.ts'
import type { openBlocks } from '../jobs/blocks.ts'
import type { DiskImageInput } from '../jobs/messages.ts'
import type { Profile } from '../resolve/profile.ts'
import type { Store } from '../store/store.ts'
import { treeDigest } from '../tree/text.ts'
import type { Tree } from '../tree/tree.ts'
import type { Composed } from './flow.ts'
import type { OutputFile, OutputFolder } from './output.ts'
import { timed } from './timed.ts'
import type { World } from './world.ts'

/** Everything that one build writes with. */
export interface Job {
  readonly world: World
  readonly store: Store
  readonly profile: Profile
  readonly composed: Composed
  readonly output: OutputFolder
  readonly stem: string
  readonly date: number
  readonly blocks: ReturnType<typeof openBlocks>
  /** Writes a disk image in a thread. */
  readonly writeDisk: (input: DiskImageInput) => Promise<Measured>
}

export type ImageOptions = { readonly [key: string]: Json | undefined }

/** A tree through an emitter into a file of the output. */
export async function write<O extends Json>(
  job: Job,
  name: string,
  role: string,
  emitter: Emitter<O>,
  tree: Tree,
  options: O,
  { placed, beside = false }: { readonly placed?: EmitWorld['placed']; readonly beside?: boolean } = {},
): Promise<{ readonly measured: Promise<OutputFile> }> {
  const { world, store, output, blocks } = job
  return await timed(world, name, async () => {
    const fill = (sink: Sink): Promise<void> => {
      const progress = (done: number, total: number): void =>
        world.report({ kind: 'image.progress', name, done, total })
      const emitWorld: EmitWorld = {
        contents: store,
        blocks,
        sink,
        signal: world.signal,
        progress,
        ...(placed && { placed }),
      }
      return emitter.emit(tree, options, emitWorld)
    }
    if (beside) return await output.addBeside(name, role, fill)
    const file = await output.add(name, role, fill)
    return { measured: Promise.resolve(file) }
  })
}

/**
 * Like `write`, for images that fit into memory and that one compresses as a whole: one of the same tree that was made
 * before comes from the store.
 */
export async function writeKept<O extends Json>(
  job: Job,
  name: string,
  role: string,
  emitter: Emitter<O>,
  tree: Tree,
  options: O,
): Promise<OutputFile> {
  const { world, store, output, blocks } = job
  const { zstd = '', zlib } = process.versions
  const { format, version } = emitter
  const key = stableJson(['image', format, version, zstd, zlib, options, treeDigest(tree)])
  return await timed(world, name, async () => {
    const known = store.blocks.get(key)
    if (known) return await output.addBytes(name, role, known)
    const parts: Uint8Array[] = []
    const sink: Sink = {
      write: async (bytes) => void parts.push(Uint8Array.from(bytes)),
      patch: () => Promise.reject(new Error(`${format} is not written in one go`)),
    }
    await emitter.emit(tree, options, { contents: store, blocks, sink, signal: world.signal })
    const bytes = Buffer.concat(parts)
    store.blocks.put(key, bytes)
    return await output.addBytes(name, role, bytes)
  })
}
