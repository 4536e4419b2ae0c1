/** Buckets of files on their way to another thread: columns of numbers and one string, which cost a tenth of objects. */
import type { Bucket } from './dedupe-link.ts'
import { byteString, type FileNode, placeOf } from './dedupe-scan.ts'

export interface Packed {
  /** A bucket: size, mode, uid, gid, mtime, files; each file: inode, ctime, links, usage, shared, names; each name: folder, group. */
  readonly numbers: Float64Array
  /** Of the names in order, byte strings, ended by NUL each. */
  readonly paths: string
}

export function pack(buckets: readonly Bucket[]): Packed {
  const numbers: number[] = []
  let paths = ''
  for (const bucket of buckets) {
    const { size, mode, uid, gid, mtimeMs } = bucket[0] as FileNode
    numbers.push(size, mode, uid, gid, mtimeMs, bucket.length)
    for (const { ino, ctimeMs, nlink, usage, isShared, names } of bucket) {
      numbers.push(ino, ctimeMs, nlink, usage, isShared ? 1 : 0, names.length)
      for (const { place, folder, group } of names) {
        numbers.push(folder, group)
        paths += `${typeof place === 'string' ? place : byteString(place)}\0`
      }
    }
  }
  return { numbers: Float64Array.from(numbers), paths }
}

export function unpack({ numbers, paths }: Packed): Bucket[] {
  const buckets: FileNode[][] = []
  let at = 0
  let from = 0
  const next = (): number => numbers[at++] as number
  while (at < numbers.length) {
    const [size, mode, uid, gid, mtimeMs] = [next(), next(), next(), next(), next()]
    const bucket: FileNode[] = []
    buckets.push(bucket)
    for (let files = next(); files > 0; files--) {
      const [ino, ctimeMs, nlink, usage, isShared] = [next(), next(), next(), next(), next() === 1]
      const names: FileNode['names'] = []
      for (let left = next(); left > 0; left--) {
        const end = paths.indexOf('\0', from)
        names.push({ place: placeOf(paths.slice(from, end)), folder: next(), group: next() })
        from = end + 1
      }
      bucket.push({ ino, size, mode, uid, gid, mtimeMs, ctimeMs, nlink, usage, isShared, names })
    }
  }
  return buckets
}
