/** Splits files that look alike into those of equal bytes; every byte is read once and compared, not hashed. */
import { closeSync, constants, openSync, readSync } from 'node:fs'
import { hash } from 'node:crypto'
import { errnoOf } from '../host/disk.ts'
import type { FileNode, Place } from './dedupe-scan.ts'

/** Files up to this size are read whole. */
const SMALL = 1 << 16
const PIECE = 1 << 18
/** Small files of different bytes that are at hand at once; more are told apart by their hashes. */
const KEPT = 16
/** Larger files that are open at once. */
const OPEN = 64

/** @param isStopped asked between pieces of files; then nothing more is equal */
export function comparer(isStopped: () => boolean): (nodes: readonly FileNode[]) => FileNode[][] {
  const kept = Array.from({ length: KEPT + 1 }, () => Buffer.allocUnsafeSlow(SMALL))
  const first = Buffer.allocUnsafeSlow(PIECE)
  const second = Buffer.allocUnsafeSlow(PIECE)
  return (nodes) => {
    const { size } = nodes[0] as FileNode
    const places = nodes.map(({ names: [name] }) => (name as FileNode['names'][number]).place)
    const found = size <= SMALL ? small(places, size) : large(places, size)
    return found.filter((list) => list.length > 1).map((list) => list.map((at) => nodes[at] as FileNode))
  }

  function small(places: readonly Place[], size: number): number[][] {
    const found: number[][] = []
    const others = new Map<string, number[]>()
    for (const [at, place] of places.entries()) {
      const bytes = kept[found.length] as Buffer
      if (!readWhole(place, bytes, size)) continue
      const same = found.find((_, number) => kept[number]?.compare(bytes, 0, size, 0, size) === 0)
      if (same) {
        same.push(at)
        continue
      }
      if (found.length < KEPT) {
        found.push([at])
        continue
      }
      const key = hash('sha256', bytes.subarray(0, size), 'base64')
      const list = others.get(key)
      if (list) list.push(at)
      else others.set(key, [at])
    }
    return [...found, ...others.values()]
  }

  function large(places: readonly Place[], size: number): number[][] {
    const found: number[][] = []
    let rest = [...places.keys()]
    while (rest.length > 1) {
      const [same, different] = likeFirst(places, rest, size)
      found.push(same)
      rest = different
    }
    return found
  }

  /** Files equal to the first, and the others, in step: a piece of each before the next piece. */
  function likeFirst(
    places: readonly Place[],
    numbers: readonly number[],
    size: number,
  ): [same: number[], different: number[]] {
    const [leader, ...followers] = numbers as [number, ...number[]]
    const same = [leader]
    const different: number[] = []
    for (let from = 0; from < followers.length; from += OPEN) {
      const files = new Map<number, number>()
      const lead = open(places[leader] as Place)
      if (lead === undefined) return [[], followers]
      try {
        for (const number of followers.slice(from, from + OPEN)) {
          const fd = open(places[number] as Place)
          if (fd !== undefined) files.set(number, fd)
        }
        for (let at = 0; at < size && files.size > 0; at += PIECE) {
          const length = Math.min(PIECE, size - at)
          if (isStopped()) return [[], []]
          if (!readPart(lead, first, length, at)) return [[], followers]
          for (const [number, fd] of files) {
            const isWhole = readPart(fd, second, length, at)
            if (isWhole && first.compare(second, 0, length, 0, length) === 0) continue
            closeSync(fd)
            files.delete(number)
            if (isWhole) different.push(number)
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
function open(place: Place): number | undefined {
  for (const flags of [FLAGS | constants.O_NOATIME, FLAGS])
    try {
      return openSync(place, flags)
    } catch (error) {
      if (errnoOf(error) !== 'EPERM') return undefined
    }
  return undefined
}

function readWhole(place: Place, bytes: Buffer, size: number): boolean {
  const fd = open(place)
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
