/** Splits files that look alike into those of equal bytes; every byte is read once and compared, not hashed. */
import { closeSync, constants, openSync, readSync } from 'node:fs'
import { hash } from 'node:crypto'
import { errnoOf } from '../host/disk.ts'
import type { FileNode } from './dedupe-scan.ts'

/** Files up to this size are read whole. */
const SMALL = 1 << 16
const PIECE = 1 << 18
/** Larger files that are open at once. */
const OPEN = 64

export interface Comparer {
  /** Classes of at least two equal files, in the order of `bucket`. A file that cannot be read is equal to none. */
  classes(bucket: readonly FileNode[]): readonly (readonly FileNode[])[]
}

export function comparer(): Comparer {
  const first = Buffer.allocUnsafeSlow(PIECE)
  const second = Buffer.allocUnsafeSlow(PIECE)
  return {
    classes: (bucket) => {
      const size = (bucket[0] as FileNode).size
      const found = size <= SMALL ? small(bucket, size) : large(bucket, size)
      return found.filter((list) => list.length > 1)
    },
  }

  function small(bucket: readonly FileNode[], size: number): FileNode[][] {
    const same: FileNode[] = []
    const others = new Map<string, FileNode[]>()
    for (const node of bucket) {
      const bytes = same.length === 0 ? first : second
      if (!readWhole(node, bytes, size)) continue
      if (same.length === 0 || first.compare(second, 0, size, 0, size) === 0) {
        same.push(node)
        continue
      }
      const key = hash('sha256', bytes.subarray(0, size), 'base64')
      const list = others.get(key)
      if (list) list.push(node)
      else others.set(key, [node])
    }
    return [same, ...others.values()]
  }

  function large(bucket: readonly FileNode[], size: number): FileNode[][] {
    const found: FileNode[][] = []
    let rest = [...bucket]
    while (rest.length > 1) {
      const [same, different] = likeFirst(rest, size)
      found.push(same)
      rest = different
    }
    return found
  }

  /** Files equal to the first, and the others, in step: a piece of each before the next piece. */
  function likeFirst(nodes: readonly FileNode[], size: number): [FileNode[], FileNode[]] {
    const [leader, ...followers] = nodes as [FileNode, ...FileNode[]]
    const same = [leader]
    const different: FileNode[] = []
    for (let from = 0; from < followers.length; from += OPEN) {
      const files = new Map<FileNode, number>()
      const lead = open(leader)
      if (lead === undefined) return [[], followers]
      try {
        for (const node of followers.slice(from, from + OPEN)) {
          const fd = open(node)
          if (fd !== undefined) files.set(node, fd)
        }
        for (let at = 0; at < size && files.size > 0; at += PIECE) {
          const length = Math.min(PIECE, size - at)
          if (!readPart(lead, first, length, at)) return [[], followers]
          for (const [node, fd] of files) {
            const isWhole = readPart(fd, second, length, at)
            if (isWhole && first.compare(second, 0, length, 0, length) === 0) continue
            closeSync(fd)
            files.delete(node)
            if (isWhole) different.push(node)
          }
        }
        same.push(...files.keys())
      } finally {
        closeSync(lead)
        for (const fd of files.values()) closeSync(fd)
      }
    }
    return [same, different]
  }
}

const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** Without moving the time of access, which only the owner may ask for. */
function open({ names: [name] }: FileNode): number | undefined {
  for (const flags of [FLAGS | constants.O_NOATIME, FLAGS])
    try {
      return openSync(name?.place as string, flags)
    } catch (error) {
      if (errnoOf(error) !== 'EPERM') return undefined
    }
  return undefined
}

function readWhole(node: FileNode, bytes: Buffer, size: number): boolean {
  const fd = open(node)
  if (fd === undefined) return false
  try {
    return readPart(fd, bytes, size, 0)
  } finally {
    closeSync(fd)
  }
}

function readPart(fd: number, bytes: Buffer, length: number, position: number): boolean {
  let done = 0
  try {
    while (done < length) {
      const count = readSync(fd, bytes, done, length - done, position + done)
      if (count === 0) return false
      done += count
    }
  } catch {
    return false
  }
  return true
}
