/**
 * Where generations are published to. A folder, as any HTTP server or CDN serves it:
 *
 *   metadata/<version>.<role>.json, timestamp.json    who signed for what; the timestamp is written last
 *   targets/…/<sha256>.<name>.json                    generations and channels
 *   <line>/<line>_<seq>.<ending>                      images and deltas, never changed
 *   <line>/SHA256SUMS, SHA256SUMS.sig, .gpg           the same for people and systemd-sysupdate, boot entries last
 *
 * Names with a dot in front are on their way: no server offers them.
 */
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import type { PublishedGeneration } from '../fleet/channel.ts'
import { digestFile } from '../host/file-sink.ts'
import { takeLock } from '../host/lock.ts'

export interface PlacedFile {
  /** Below the place. */
  readonly path: string
  readonly size: number
  /** 64 hex digits. */
  readonly sha256: string
  /** Where it is now. */
  readonly from: string
}

export interface Place extends AsyncDisposable {
  /** For messages. */
  readonly name: string
  /** A small file as it is there now. */
  read(path: string): Promise<Uint8Array | undefined>
  /**
   * Brings a file there, unless it is there; what an interrupted run brought is not brought again.
   * @returns bytes that travelled
   * @throws S5_PUBLISH_REFUSED when other bytes have its name; S5_DIGEST_MISMATCH when it is not what was said
   */
  putFile(file: PlacedFile, signal: AbortSignal): Promise<number>
  /** Whole or not at all, in the order of calls. */
  put(path: string, bytes: Uint8Array): Promise<void>
  /** After the files of a generation and of its deltas, and before metadata that names it. */
  complete(generation: PublishedGeneration, signal: AbortSignal): Promise<void>
  /** After the last `put`: what was put can be seen from now on. */
  commit(signal: AbortSignal): Promise<void>
  /**
   * Removes what these do not need.
   * @param keep paths of all files that stay
   * @param gone generations that are no longer named
   * @returns paths removed
   */
  collect(
    keep: ReadonlySet<string>,
    gone: readonly PublishedGeneration[],
    signal: AbortSignal,
  ): Promise<readonly string[]>
}

const PIECE = 2 ** 20

/** What `collect` may remove from a folder, which can hold other things too; what an interrupted run left is among it. */
const OWN =
  /^(?:metadata\/\.?\d+\.\w+\.json(?:\.tmp)?|targets\/(?:generations|channels)\/(?:.*\/)?\.?[0-9a-f]{64}\.[^/]+|([^/]+)\/\.?\1_\d+(?:-\d+)?\.[^/]+)$/

/** @param directory made when missing; held for this process until disposed. @throws S5_LOCK_BUSY */
export async function openFolder(directory: string, signal: AbortSignal): Promise<Place> {
  await mkdir(directory, { recursive: true })
  const lock = await takeLock(join(directory, '.lock'), 'exclusive', { waitMs: 60_000, signal })
  const at = (path: string): string => join(directory, path)
  return {
    name: directory,
    read: (path) => readFile(at(path)).catch(onlyMissing),
    putFile: (file, stop) => putFile(at(file.path), file, stop),
    put: (path, bytes) => putWhole(at(path), bytes),
    complete: async () => {},
    commit: async () => {},
    collect: async (keep) => {
      const found = (await readdir(directory, { recursive: true, withFileTypes: true }))
        .filter((entry) => entry.isFile())
        .map(({ parentPath, name }) => join(parentPath, name).slice(directory.length + 1))
        .filter((path) => OWN.test(path) && !keep.has(path))
        .sort()
      for (const path of found) await rm(at(path), { force: true })
      return found
    },
    [Symbol.asyncDispose]: async () => lock[Symbol.dispose](),
  }
}

/** Copies into `.<name>.<digest>.part`, going on where that ends; the name comes when the digest is right. */
async function putFile(to: string, file: PlacedFile, signal: AbortSignal): Promise<number> {
  const there = await stat(to).catch(onlyMissing)
  if (there) {
    const found = there.size === file.size ? (await digestFile(to)).slice(7) : `${there.size} bytes`
    if (found === file.sha256) return 0
    throw new Stage5Error(
      'S5_PUBLISH_REFUSED',
      `${to} has other bytes already: expected ${file.sha256}, found ${found}`,
      {
        hint: 'what was published is never changed: build a new generation, or remove what is damaged there',
        data: { file: to, expected: file.sha256, actual: found },
      },
    )
  }
  await mkdir(dirname(to), { recursive: true })
  const part = join(dirname(to), `.${basename(to)}.${file.sha256.slice(0, 16)}.part`)
  const begun = (await stat(part).catch(onlyMissing))?.size ?? 0
  const start = begun <= file.size ? begun : 0
  await using source = await open(file.from, 'r')
  await using target = await open(part, start === 0 ? 'w' : 'r+', 0o644)
  const buffer = Buffer.allocUnsafe(PIECE)
  for (let offset = start; ; ) {
    signal.throwIfAborted()
    const { bytesRead } = await source.read(buffer, 0, PIECE, offset)
    if (bytesRead === 0) break
    await target.write(buffer, 0, bytesRead, offset)
    offset += bytesRead
  }
  await target.sync()
  const actual = (await digestFile(part)).slice(7)
  if (actual !== file.sha256) {
    await rm(part, { force: true })
    if (start > 0) return await putFile(to, file, signal)
    throw new Stage5Error(
      'S5_DIGEST_MISMATCH',
      `${file.from}: expected ${file.sha256} of its manifest, found ${actual}`,
      { data: { file: file.from, expected: file.sha256, actual } },
    )
  }
  await rename(part, to)
  return file.size - start
}

async function putWhole(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const fresh = join(dirname(path), `.${basename(path)}.tmp`)
  await using file = await open(fresh, 'w', 0o644)
  await file.writeFile(bytes)
  await file.sync()
  await rename(fresh, path)
}

function onlyMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
  throw error
}
