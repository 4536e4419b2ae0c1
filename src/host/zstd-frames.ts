/**
 * Where zstd frames begin and end, without decompressing: decoders that stop after the first frame can then be given one
 * frame at a time, and what stands between or behind the frames is seen.
 */
import { type Refusal, refuse } from '../base/errors.ts'

interface ZstdHandler {
  /** A piece of the frame that is being read; a view of the pushed chunk. */
  data(bytes: Uint8Array): void
  /** The frame is whole. Skippable frames are not reported at all. */
  close(): void
}

interface ZstdReader {
  /** @throws S5_ARCHIVE_REFUSED; after that the reader must not be used any more */
  push(chunk: Uint8Array): void
  /** @throws S5_ARCHIVE_REFUSED `truncated` inside a frame, or when there was none */
  end(): void
}

/** Each frame costs a decoder; writers make one, or one per several MiB. */
const MAX_FRAMES = 10_000

type State = 'magic' | 'descriptor' | 'header' | 'skip-size' | 'block-header'

/**
 * @param maxWindow largest window in bytes that a frame may ask for
 * @see RFC 8878, sections 3.1.1 and 3.1.2
 */
export function zstdReader(file: string, handler: ZstdHandler, maxWindow: number = 2 ** 27): ZstdReader {
  const held = new Uint8Array(16)
  const view = new DataView(held.buffer)
  let state: State = 'magic'
  /** Bytes of `held` that the state needs, and that it has. */
  let wanted = 4
  let filled = 0
  /** Bytes to pass over before the next field: a block with its checksum, or a skippable frame. */
  let through = 0
  /** Between the magic number and the last byte of a frame that is not skippable. */
  let inFrame = false
  let lastBlock = false
  let descriptor = 0
  let frames = 0
  let offset = 0

  const fail = (reason: Refusal, message: string) => refuse(reason, file, message, { offset })

  function next(to: State, bytes: number): void {
    state = to
    wanted = bytes
    filled = 0
  }

  /** Acts on a complete field. */
  function field(): void {
    switch (state) {
      case 'magic': {
        const magic = view.getUint32(0, true)
        const skippable = magic >>> 4 === 0x184d2a5
        if (!skippable && magic !== 0xfd2fb528)
          throw fail(frames > 0 ? 'trailing-data' : 'magic', 'no zstd frame where one should start')
        if (++frames > MAX_FRAMES) throw fail('too-big', `more than ${MAX_FRAMES} zstd frames`)
        inFrame = !skippable
        return skippable ? next('skip-size', 4) : next('descriptor', 1)
      }
      case 'skip-size':
        through = view.getUint32(0, true)
        return next('magic', 4)
      case 'descriptor': {
        descriptor = held[0] as number
        if ((descriptor & 0x08) !== 0) throw fail('decompress', 'a reserved bit of a zstd frame is set')
        if ((descriptor & 0x03) !== 0) throw fail('decompress', 'a zstd frame that needs a dictionary')
        return next('header', (single() ? 0 : 1) + contentSizeBytes())
      }
      case 'header': {
        const window = single() ? contentSize() : windowSize(held[0] as number)
        if (window > maxWindow)
          throw fail('too-big', `a zstd window of ${window} bytes, at most ${maxWindow} are allowed`)
        return next('block-header', 3)
      }
      case 'block-header': {
        const header = (held[0] as number) | ((held[1] as number) << 8) | ((held[2] as number) << 16)
        const type = (header >> 1) & 3
        if (type === 3) throw fail('decompress', 'a zstd block of a reserved type')
        lastBlock = (header & 1) === 1
        through = (type === 1 ? 1 : header >> 3) + (lastBlock && (descriptor & 0x04) !== 0 ? 4 : 0)
        return lastBlock ? next('magic', 4) : next('block-header', 3)
      }
    }
  }

  function single(): boolean {
    return (descriptor & 0x20) !== 0
  }

  function contentSizeBytes(): number {
    const flag = descriptor >> 6
    return flag === 0 ? (single() ? 1 : 0) : 1 << flag
  }

  function contentSize(): number {
    switch (contentSizeBytes()) {
      case 1:
        return held[0] as number
      case 2:
        return view.getUint16(0, true) + 256
      case 4:
        return view.getUint32(0, true)
      default:
        return Number(view.getBigUint64(0, true))
    }
  }

  function push(chunk: Uint8Array): void {
    let at = 0
    /** Where in `chunk` the bytes of the frame start that are not handed out yet. */
    let from = 0
    while (at < chunk.length) {
      const before = at
      if (through > 0) {
        at += Math.min(through, chunk.length - at)
        through -= at - before
      } else {
        at += Math.min(wanted - filled, chunk.length - at)
        held.set(chunk.subarray(before, at), filled)
        filled += at - before
        if (filled === wanted) {
          const starts = state === 'magic'
          field()
          if (starts && inFrame) {
            handler.data(held.slice(0, 4))
            from = at
          }
        }
      }
      offset += at - before
      if (inFrame && lastBlock && through === 0) {
        if (at > from) handler.data(chunk.subarray(from, at))
        inFrame = false
        lastBlock = false
        handler.close()
      }
    }
    if (inFrame && at > from) handler.data(chunk.subarray(from, at))
  }

  function end(): void {
    if (state !== 'magic' || filled > 0 || through > 0 || inFrame)
      throw fail('truncated', 'the compressed data ends inside a zstd frame')
    if (frames === 0) throw fail('truncated', 'there is no zstd frame')
  }

  return { push, end }
}

/** "windowLog = 10 + Exponent; windowBase = 1 << windowLog; windowAdd = (windowBase / 8) * Mantissa" */
function windowSize(byte: number): number {
  const base = 2 ** (10 + (byte >> 3))
  return base + (base / 8) * (byte & 7)
}
