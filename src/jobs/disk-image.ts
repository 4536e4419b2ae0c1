/**
 * Disk images, raw or qcow2, written in one pass from the files that become their partitions: each byte is read once,
 * hashed and written; what is zero is left as a hole and is not read again for the digest.
 */
import { closeSync, fsync, fstatSync, fsyncSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { promisify } from 'node:util'
import { digester } from '../base/digest.ts'
import { QCOW2_CLUSTER, qcow2Layout } from '../format/qcow2.ts'
import { diskError, readAll, realDisk } from '../host/disk.ts'
import { waitForGrowth } from '../host/growth.ts'
import type { Measured } from '../host/file-sink.ts'
import type { DiskImageInput, DiskPart } from './messages.ts'

/** Whole clusters. */
const CHUNK = 4 * QCOW2_CLUSTER
const ZEROS = Buffer.alloc(CHUNK)
/** Written bytes after which the disk is set to work: it writes while the next ones are hashed. */
const FLUSH = 64 * 2 ** 20

/** One part, opened. */
interface Source {
  readonly at: number
  readonly end: number
  /** Whether it may be zeros for long, which are to be looked for. */
  readonly isSparse: boolean
  read(into: Uint8Array, at: number): void
}

interface Sources extends Disposable {
  /** Those that touch a stretch. */
  within(at: number, end: number): readonly Source[]
}

/**
 * Makes `target`, which must not exist. Equal input gives equal bytes, however the files lie on this machine's disks.
 * @returns size and digest; the file is flushed to the disk
 * @throws S5_DISK_FULL
 */
export async function writeDiskImage({ target, format, size, parts }: DiskImageInput): Promise<Measured> {
  using sources = openSources(parts)
  await using output = openImage(target)
  if (format === 'raw') writeRaw(sources, size, output)
  else writeQcow2(sources, size, output)
  return await output.finish()
}

function writeRaw(sources: Sources, size: number, output: Image): void {
  const buffer = Buffer.allocUnsafeSlow(CHUNK)
  for (let at = 0; at < size; at += CHUNK) {
    const length = Math.min(CHUNK, size - at)
    const bytes = load(sources, at, buffer.subarray(0, length))
    if (bytes) output.write(bytes)
    else output.skip(length)
  }
}

function writeQcow2(sources: Sources, size: number, output: Image): void {
  const buffer = Buffer.allocUnsafeSlow(QCOW2_CLUSTER)
  const allocated: number[] = []
  for (let at = 0; at < size; at += QCOW2_CLUSTER) {
    const found = sources.within(at, at + QCOW2_CLUSTER)
    if (found.some(({ isSparse }) => !isSparse) || (found.length > 0 && load(sources, at, buffer)))
      allocated.push(at / QCOW2_CLUSTER)
  }
  output.write(qcow2Layout(size, allocated).head)
  for (const cluster of allocated)
    output.write(load(sources, cluster * QCOW2_CLUSTER, buffer) ?? ZEROS.subarray(0, QCOW2_CLUSTER))
}

/** @returns what the disk has at `at`; undefined when it is all zeros, as far as one need look */
function load(sources: Sources, at: number, into: Buffer): Buffer | undefined {
  const found = sources.within(at, at + into.length)
  if (found.length === 0) return undefined
  const [only] = found
  if (found.length > 1 || !only || only.at > at || only.end < at + into.length) into.fill(0)
  for (const source of found) {
    const from = Math.max(at, source.at)
    source.read(into.subarray(from - at, Math.min(source.end, at + into.length) - at), from - source.at)
  }
  const isZero = found.every(({ isSparse }) => isSparse) && into.equals(ZEROS.subarray(0, into.length))
  return isZero ? undefined : into
}

function openSources(parts: readonly DiskPart[]): Sources {
  const opened: number[] = []
  const close = (): void => opened.forEach((file) => closeSync(file))
  try {
    const sources = parts.map((part): Source => {
      if ('bytes' in part) return sourceOf(part.at, part.bytes)
      const file = openSync(part.file, 'r')
      opened.push(file)
      const { offset = 0, length = fstatSync(file).size - offset, growth } = part
      const end = part.at + length
      return {
        at: part.at,
        end,
        isSparse: part.isSparse,
        read: (into, at) => {
          if (growth) waitForGrowth(growth, offset + at + into.length)
          readFully(file, into, offset + at, part.file)
        },
      }
    })
    return {
      within: (at, end) => sources.filter((source) => source.at < end && source.end > at),
      [Symbol.dispose]: close,
    }
  } catch (error) {
    close()
    throw error
  }
}

function sourceOf(at: number, bytes: Uint8Array): Source {
  const read = (into: Uint8Array, from: number): void => into.set(bytes.subarray(from, from + into.length))
  return { at, end: at + bytes.length, isSparse: true, read }
}

function readFully(file: number, into: Uint8Array, at: number, path: string): void {
  if (!readAll(realDisk, file, into, into.length, at))
    throw new Error(`${path} became shorter while it was read`)
}

interface Image extends AsyncDisposable {
  write(bytes: Uint8Array): void
  /** Zeros: hashed, and a hole in the file. */
  skip(length: number): void
  finish(): Promise<Measured>
}

function openImage(path: string): Image {
  const file = openSync(path, 'wx', 0o644)
  const sum = digester()
  let size = 0
  let dirty = 0
  /** A flush that failed says so once only: every answer counts. */
  let flushed: Promise<void> | undefined

  function flush(): void {
    dirty = 0
    const before = flushed
    const now = promisify(fsync)(file)
    flushed = before === undefined ? now : Promise.all([before, now]).then(() => undefined)
    flushed.catch(() => undefined)
  }

  return {
    write: (bytes) => {
      try {
        for (let done = 0; done < bytes.length; )
          done += writeSync(file, bytes, done, bytes.length - done, size + done)
      } catch (error) {
        throw diskError(error, path)
      }
      sum.update(bytes)
      size += bytes.length
      dirty += bytes.length
      if (dirty >= FLUSH) flush()
    },
    skip: (length) => {
      sum.update(ZEROS.subarray(0, length))
      size += length
    },
    finish: async () => {
      ftruncateSync(file, size)
      await flushed
      fsyncSync(file)
      return { size, digest: sum.digest() }
    },
    [Symbol.asyncDispose]: async () => {
      await flushed?.catch(() => undefined)
      closeSync(file)
    },
  }
}
