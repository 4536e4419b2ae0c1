/** A thread that reads parts from the disk and packs them, the way that a store's worker would. */
import { closeSync, openSync, readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import { compressBlockSync, type SquashfsCodec } from '../../src/format/squashfs/codec.ts'

export interface Request {
  readonly id: number
  readonly codec: SquashfsCodec
  readonly level: number
  /** Path, offset and length, one after the other. */
  readonly parts: readonly (string | number)[]
  readonly length: number
}

export interface Reply {
  readonly id: number
  readonly bytes: Uint8Array
  readonly isRaw: boolean
}

const scratch = Buffer.allocUnsafeSlow(2 ** 20)

parentPort?.on('message', ({ id, codec, level, parts, length }: Request) => {
  let filled = 0
  for (let at = 0; at < parts.length; at += 3) {
    const file = openSync(Buffer.from(parts[at] as string, 'latin1'), 'r')
    filled += readSync(file, scratch, filled, parts[at + 2] as number, parts[at + 1] as number)
    closeSync(file)
  }
  if (filled !== length) throw new Error(`expected ${length} bytes, found ${filled}`)
  const packed = compressBlockSync(codec, level, scratch.subarray(0, length))
  const isRaw = packed.length >= length
  const bytes = isRaw ? Uint8Array.from(scratch.subarray(0, length)) : packed
  parentPort?.postMessage({ id, bytes, isRaw } satisfies Reply, [bytes.buffer as ArrayBuffer])
})
