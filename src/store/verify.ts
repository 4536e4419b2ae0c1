/** Reads everything back, compares it with its name, and says who is hurt by what is wrong. */
import { createHash } from 'node:crypto'
import { closeSync, fstatSync, lstatSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { Digest } from '../base/digest.ts'
import { isStage5Error } from '../base/errors.ts'
import { type Disk, errnoOf } from '../host/disk.ts'
import type { Catalog, Located } from './catalog.ts'
import { sumOf } from './links.ts'
import { idOf, storedTree } from './mark.ts'
import { treeOfRecord } from './records.ts'
import { isLinkFile, type Kind } from './segment.ts'

export interface Problem {
  /** The object; for a record its key. */
  readonly content: Digest
  readonly kind: Kind
  /** What `CollectOptions.dropRecords` takes; empty for a whole segment, which collecting drops anyway. */
  readonly id: string
  readonly problem: string
  /** Refs (`ref NAME`) and owner labels of files that need it, sorted. */
  readonly usedBy: readonly string[]
}

const PIECE = 1 << 20

export async function* verifySegments(
  root: string,
  disk: Disk,
  catalog: Catalog,
  refs: ReadonlyMap<string, Digest>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Problem> {
  catalog.refresh()
  let users: Map<string, Set<string>> | undefined
  const piece = Buffer.allocUnsafeSlow(PIECE)
  for (const segment of catalog.segments().damaged)
    yield {
      content: `sha256:${'0'.repeat(64)}`,
      kind: 'object',
      id: '',
      problem: `the index of segment ${segment} is damaged`,
      usedBy: [],
    }
  for (const entry of catalog.entries()) {
    signal?.throwIfAborted()
    const problem = problemOf(entry)
    if (problem === undefined) continue
    users ??= usersOf(catalog, refs)
    yield {
      content: `sha256:${entry.key}`,
      kind: entry.kind,
      id: idOf(entry),
      problem:
        entry.kind === 'object'
          ? problem
          : `${entry.kind} ${isLinkFile(entry) ? 'file' : 'record'}: ${problem}`,
      // Whoever needs an object may be linked to a file of its bytes.
      usedBy: [...(users.get(`${isLinkFile(entry) ? 'object' : entry.kind} ${entry.key}`) ?? [])].sort(),
    }
  }

  function problemOf(entry: Located): string | undefined {
    const path = join(root, 'segments', entry.segment, entry.file)
    if (entry.kind === 'odd') return badMetadata(path, entry)
    try {
      const fd = disk.open(path, 'read')
      try {
        if (entry.kind === 'link') {
          const { size } = fstatSync(fd)
          if (size !== entry.size) return `has other bytes: expected ${entry.size}, found ${size}`
          return badHash(fd, entry) ?? badMetadata(path, entry)
        }
        return entry.kind === 'object' ? badHash(fd, entry) : badSum(entry)
      } finally {
        closeSync(fd)
      }
    } catch (error) {
      if (isStage5Error(error, 'S5_STORE_DAMAGED')) return 'is cut short'
      const errno = errnoOf(error)
      if (errno === 'EMFILE' || errno === undefined) throw error
      // A link file that its owner may not read either, as the tree demands.
      if (errno === 'EACCES' && entry.kind === 'link') return undefined
      return errno === 'ENOENT' ? 'is missing' : `cannot be read (${errno})`
    }
  }

  function badHash(fd: number, { key, offset, size }: Located): string | undefined {
    const sum = createHash('sha256')
    for (let done = 0; done < size; ) {
      const count = disk.read(fd, piece, 0, Math.min(PIECE, size - done), offset + done)
      if (count === 0) return `is cut short: expected ${size} bytes, found ${done}`
      sum.update(piece.subarray(0, count))
      done += count
    }
    const found = sum.digest('hex')
    return found === key ? undefined : `has other bytes: found sha256:${found}`
  }

  /** Someone changed mode, owner or time through a root, or wrote to it. */
  function badMetadata(path: string, { sum }: Located): string | undefined {
    const found = lstatSync(path, { throwIfNoEntry: false })
    if (!found) return 'is missing'
    const { mode, uid, gid, mtimeMs } = found
    const isSame = sumOf({ mode: mode & 0o7777, uid, gid, mtime: Math.floor(mtimeMs / 1000) }) === sum
    return isSame || found.isSymbolicLink() ? undefined : 'has another mode, owner or time'
  }

  function badSum(entry: Located): string | undefined {
    const found = crc32(catalog.payload(entry))
    return found === entry.sum ? undefined : `has other bytes: expected CRC ${entry.sum}, found ${found}`
  }
}

/** `KIND KEY` → refs and owners of files. */
function usersOf(catalog: Catalog, refs: ReadonlyMap<string, Digest>): Map<string, Set<string>> {
  const users = new Map<string, Set<string>>()
  const add = (id: string, user: string): void => {
    const found = users.get(id)
    if (found) found.add(user)
    else users.set(id, new Set([user]))
  }
  const addTree = (digest: Digest, user: string | undefined): void => {
    if (user !== undefined) add(`tree ${digest.slice(7)}`, user)
    const tree = storedTree(catalog, digest)
    for (const { inode, owner } of tree?.names ?? []) {
      const node = tree?.inodes[inode]
      if (node?.type !== 'file') continue
      if (user !== undefined) add(`object ${node.content.slice(7)}`, user)
      if (owner !== '') add(`object ${node.content.slice(7)}`, owner)
    }
  }
  for (const [name, target] of refs) {
    add(`object ${target.slice(7)}`, `ref ${name}`)
    addTree(target, `ref ${name}`)
  }
  for (const { kind, key } of catalog.entries()) {
    if (kind !== 'unpacked' && kind !== 'memo') continue
    const bytes = catalog.record(kind, key)
    if (bytes) addTree(treeOfRecord(bytes), undefined)
  }
  return users
}
