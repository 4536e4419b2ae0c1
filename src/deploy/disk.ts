/** Disk images: a partition table and the files that become partitions, with zeros left as holes. */
import { type FileHandle, open } from 'node:fs/promises'
import type { GptLayout } from '../emit/disk-plan.ts'

const CHUNK = 256 * 1024

/** @param sources for each partition a file, or undefined for an empty one */
export async function writeDisk(
  target: string,
  { size, offsets, head, tail }: GptLayout,
  sources: readonly (string | undefined)[],
  signal: AbortSignal,
): Promise<void> {
  const disk = await open(target, 'wx', 0o644)
  try {
    await disk.truncate(size)
    await disk.write(head, 0, head.length, 0)
    for (const [at, source] of sources.entries()) {
      if (source === undefined) continue
      const file = await open(source, 'r')
      try {
        await copyInto(disk, offsets[at] as number, file, signal)
      } finally {
        await file.close()
      }
    }
    await disk.write(tail, 0, tail.length, size - tail.length)
  } finally {
    await disk.close()
  }
}

async function copyInto(
  disk: FileHandle,
  offset: number,
  file: FileHandle,
  signal: AbortSignal,
): Promise<void> {
  const buffer = Buffer.allocUnsafe(CHUNK)
  const zeros = Buffer.alloc(CHUNK)
  for (let at = 0; ; ) {
    signal.throwIfAborted()
    const { bytesRead } = await file.read(buffer, 0, CHUNK, at)
    if (bytesRead === 0) return
    if (buffer.compare(zeros, 0, bytesRead, 0, bytesRead) !== 0)
      await disk.write(buffer, 0, bytesRead, offset + at)
    at += bytesRead
  }
}
