/** A second build of the same lock with nothing remembered but downloads: it must come to the same bytes. */
import { createReadStream } from 'node:fs'
import { lstat, mkdir, readdir, readlink, rename, rm, symlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { temporaryDirectory } from '../host/temp.ts'
import { isBootRecord } from './boot-record.ts'
import { build } from './flow.ts'
import type { Settled } from './lock-file.ts'
import type { Recipe } from './recipe.ts'
import { timed } from './timed.ts'
import { openWorld, shownPath, type World } from './world.ts'

/**
 * Builds beside, with a store of its own for which no block, no unpacked package and no stage is known, and compares
 * every name, mode, owner and byte of the two output folders.
 * @returns how many files were compared
 * @throws S5_BUILD_DIFFERS; the clean build is then left in `.stage5/clean/`
 */
export async function verifyIncremental(
  world: World,
  recipe: Recipe,
  settled: Settled,
  directory: string,
): Promise<number> {
  const store = await world.store()
  // Beside the store: what fits there once fits there twice, and a folder output can be linked.
  using scratch = temporaryDirectory(dirname(store.path))
  const [place, out] = [join(scratch.path, 'store'), join(scratch.path, 'out')]
  await mkdir(join(place, basename(store.path)), { recursive: true })
  await symlink(store.downloads, join(place, basename(store.path), basename(store.downloads)))
  return await timed(world, 'verify incremental', async () => {
    await using clean = openWorld({ ...world.options, store: place, out }, world.report, world.signal)
    const made = await build(clean, recipe, settled)
    const { count, difference } = await compareFolders(directory, made.directory, world.signal)
    if (difference === undefined) return count
    const kept = join(world.directory, '.stage5', 'clean', basename(made.directory))
    await mkdir(dirname(kept), { recursive: true })
    await rm(kept, { recursive: true, force: true })
    const isKept = await rename(made.directory, kept).then(
      () => true,
      () => false,
    )
    throw new Stage5Error(
      'S5_BUILD_DIFFERS',
      `${shownPath(directory)} is not what a clean build makes: ${difference}`,
      {
        hint: isKept ? `compare with ${shownPath(kept)}; then stage5 store verify` : 'stage5 store verify',
        data: { directory, difference, ...(isKept && { clean: kept }) },
      },
    )
  })
}

interface Compared {
  readonly count: number
  /** The first, in the order of names. */
  readonly difference: string | undefined
}

/** Files that have digests of others: where those differ, these do too. */
const DERIVED = /^SHA256SUMS$|\.(?:layout|manifest\.json)$/

async function compareFolders(left: string, right: string, signal: AbortSignal): Promise<Compared> {
  let count = 0
  const names = async (directory: string): Promise<string[]> =>
    (await readdir(directory, { recursive: true, encoding: 'latin1' }))
      .filter((name) => !isBootRecord(name))
      .sort()
  const [ours, clean] = [await names(left), await names(right)]
  const cleanNames = new Set(clean)
  const ourNames = new Set(ours)
  const alone = [
    ...clean.filter((name) => !ourNames.has(name)),
    ...ours.filter((name) => !cleanNames.has(name)),
  ]
  const [odd] = alone.sort()
  if (odd !== undefined)
    return { count, difference: `${odd} is only in ${ourNames.has(odd) ? 'it' : 'the clean build'}` }
  for (const name of [
    ...ours.filter((each) => !DERIVED.test(each)),
    ...ours.filter((each) => DERIVED.test(each)),
  ]) {
    signal.throwIfAborted()
    count++
    const withTime = name.includes('.dir/')
    const what = await differenceOf(bytePath(left, name), bytePath(right, name), withTime)
    if (what !== undefined) return { count, difference: `${name}: ${what}` }
  }
  return { count, difference: undefined }
}

function bytePath(directory: string, name: string): Buffer {
  return Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(name, 'latin1')])
}

async function differenceOf(left: Buffer, right: Buffer, withTime: boolean): Promise<string | undefined> {
  const [ours, clean] = [await lstat(left), await lstat(right)]
  for (const what of ['mode', 'uid', 'gid', 'rdev'] as const)
    if (ours[what] !== clean[what])
      return `${what} ${ours[what].toString(8)}, expected ${clean[what].toString(8)}`
  if (withTime && ours.mtimeMs !== clean.mtimeMs)
    return `time ${ours.mtime.toISOString()}, expected ${clean.mtime.toISOString()}`
  if (ours.isSymbolicLink()) {
    const [to, expected] = [await readlink(left), await readlink(right)]
    return to === expected ? undefined : `leads to ${to}, expected ${expected}`
  }
  if (!ours.isFile()) return undefined
  if (ours.size !== clean.size) return `${ours.size} bytes, expected ${clean.size}`
  return await firstOtherByte(left, right)
}

async function firstOtherByte(left: Buffer, right: Buffer): Promise<string | undefined> {
  const chunk = 1 << 20
  const expected = createReadStream(right, { highWaterMark: chunk })[Symbol.asyncIterator]()
  let at = 0
  for await (const bytes of createReadStream(left, { highWaterMark: chunk }) as AsyncIterable<Buffer>) {
    const { value } = (await expected.next()) as { value?: Buffer }
    if (value && bytes.equals(value)) {
      at += bytes.length
      continue
    }
    const other = bytes.findIndex((byte, index) => byte !== value?.[index])
    return `other bytes from ${at + other} on`
  }
  return undefined
}
