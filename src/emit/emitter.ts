/** The ports of image emission. */
import type { Json } from '../base/json.ts'
import type { RunKind } from '../format/delta.ts'
import type { Contents } from '../tree/contents.ts'
import type { Tree } from '../tree/tree.ts'

/** Block compressors. `gzip` is zlib framing, as squashfs wants it. */
export type Codec = 'zstd' | 'gzip'

/**
 * Compressed blocks by (content, codec, level): asking twice for the same block compresses once, in this run or any
 * earlier one. The result is a pure function of the arguments.
 */
export interface Blocks {
  /**
   * @param key names the input bytes (for example a content digest, block size and index), or undefined when
   *   the block is not worth remembering
   * @param read gives the bytes to compress; called only on a miss
   */
  compress(
    codec: Codec,
    level: number,
    key: string | undefined,
    read: () => Promise<Uint8Array>,
  ): Promise<Uint8Array>
}

/** Where image bytes go, in order; `patch` goes back to fill in a header. The bytes belong to the caller again when it resolves. */
export interface Sink {
  write(bytes: Uint8Array): Promise<void>
  patch(offset: number, bytes: Uint8Array): Promise<void>
}

export interface EmitWorld {
  readonly contents: Contents
  readonly blocks: Blocks
  readonly sink: Sink
  readonly signal: AbortSignal
  /** Called now and then with bytes of content done and in all. */
  readonly progress?: (done: number, total: number) => void
  /**
   * Called with every run of the image, for emitters that know their layout: ascending but for the head, without gaps.
   * `digest` is `runDigest(bytes)`, where that is known already.
   */
  readonly placed?: (
    kind: RunKind,
    owner: string,
    offset: number,
    bytes: Uint8Array,
    digest?: Uint8Array,
  ) => void
}

/** Writes a tree as one image. Raise `version` when equal input gives other bytes than before. */
export interface Emitter<O extends Json = Json> {
  readonly format: string
  readonly version: number
  emit(tree: Tree, options: O, world: EmitWorld): Promise<void>
}
