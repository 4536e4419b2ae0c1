/**
 * Generations: what builds made, in lines. A line is the id of a profile, variant included.
 *
 *   .stage5/generations/
 *     lock                         held while the list changes
 *     LINE/g<seq>-<12 hex>.json    one generation each: the start of the sha256 of its manifest is in its name
 *
 * The output folder of a generation stays in `out/` until `stage5 generations prune` takes both. A folder is named by its
 * version, which is a digest of profile and lock unless the profile sets one: a later build of the same version makes the
 * same bytes, or says that what was there is gone, and never replaces what is pinned.
 */
import { mkdir, readdir, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { type Digest, digestOf, hexOf, parseDigest } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import { now } from '../host/clock.ts'
import { takeLock } from '../host/lock.ts'
import { writeWhole } from '../host/whole-file.ts'
import type { DataSchema } from '../resolve/profile.ts'
import { isBootRecord, readBootRecord, verifyBootRecord } from './boot-record.ts'
import { keep } from './kept.ts'
import { trustedKeys } from './keys.ts'
import { manifestFile, parseManifest, readManifest } from './manifest.ts'
import { shownPath, type World } from './world.ts'

export interface Generation {
  readonly line: string
  /** From 1, only growing. */
  readonly seq: number
  /** `g<seq>-<12 hex of the manifest's sha256>` */
  readonly name: string
  /** Absolute path of the output folder. */
  readonly directory: string
  /** Digest of `<stem>.manifest.json`, which has the digests of all other files. */
  readonly manifest: Digest
  readonly version: string
  /** Seconds since 1970, when it was added. */
  readonly date: number
  readonly pinned: boolean
  /** What its profile says of the guests' data. */
  readonly dataSchema?: DataSchema
  /** Its boot record; ok: a key that the project trusts says that it boots. */
  readonly booted?: { readonly record: string; readonly ok: boolean }
}

/** What the file of a generation says besides. */
interface Known extends Generation {
  /** Profile with variant: the other name of the line. */
  readonly profile: string
  /** Digest of its root. */
  readonly root: Digest
}

const FORMAT = 1
/** Digits of the manifest's digest in a name. */
const NAME_DIGITS = 12

function folderOf(world: World): string {
  return join(world.directory, '.stage5', 'generations')
}

function fileOf(world: World, { line, name }: Pick<Generation, 'line' | 'name'>): string {
  return join(folderOf(world), line, `${name}.json`)
}

/**
 * The generation of an output folder: the head of its line when that has the same manifest, else a new one.
 * @throws S5_OUTPUT_MISSING, S5_LOCK_BUSY
 */
export async function addGeneration(world: World, directory: string): Promise<Generation> {
  const bytes = await readFile(await manifestFile(directory))
  const { image, root, dataSchema } = parseManifest(bytes.toString(), shownPath(directory))
  const manifest = digestOf(bytes)
  return await changing(world, async () => {
    const known = await readLine(world, image.id)
    const head = known.at(-1)
    if (head?.manifest === manifest && head.directory === directory) return head
    const seq = (head?.seq ?? 0) + 1
    const added: Known = {
      line: image.id,
      seq,
      name: `g${seq}-${hexOf(manifest).slice(0, NAME_DIGITS)}`,
      directory,
      manifest,
      version: image.version,
      date: Math.floor(now() / 1000),
      pinned: false,
      profile: image.profile,
      root: parseDigest(root),
      ...(dataSchema && { dataSchema }),
    }
    await write(world, added)
    for (const old of known)
      if (old.directory === directory && old.manifest !== manifest) {
        await rm(fileOf(world, old), { force: true })
        world.report({
          kind: 'warning',
          code: 'generation.replaced',
          message: `${old.line}/${old.name} is gone: ${added.name} has the same version ${old.version} and other bytes`,
        })
      }
    return added
  })
}

/** By line, oldest first. @param line an id, or the name of a profile with @variant */
export async function generationsOf(world: World, line?: string): Promise<readonly Generation[]> {
  const known = await readAll(world)
  return line === undefined ? known : known.filter((one) => isOfLine(one, line))
}

/**
 * @param text a line (its newest), `LINE/latest`, `LINE/g3`, `LINE/3`, `LINE/<version>`, the name of a generation or its
 *   beginning, a version, or an output folder
 * @throws S5_GENERATION_UNKNOWN when there is none, or more than one
 */
export async function findGeneration(world: World, text: string): Promise<Generation> {
  return await findKnown(world, text)
}

/** `g3`, `3`, `latest` and versions are of this line; without a word, its newest. */
export function generationWord(line: string, to: string | undefined): string {
  if (to === undefined) return line
  return to.includes('/') || /^g\d+-/.test(to) ? to : `${line}/${to}`
}

/**
 * A generation by a name that can be nothing else: not by its line alone, which is a profile.
 * @throws S5_GENERATION_UNKNOWN for `LINE/…` of a line that has no such generation
 */
export async function generationNamed(world: World, text: string): Promise<Generation | undefined> {
  const known = await readAll(world)
  if (known.some((one) => isOfLine(one, text))) return undefined
  const [line = ''] = text.split('/', 1)
  const isOne =
    matching(known, text).length > 0 || (line !== text && known.some((one) => isOfLine(one, line)))
  return isOne ? await findKnown(world, text) : undefined
}

/** Digest of its root, which the store has as long as its output folder exists or it is pinned. */
export async function rootOf(world: World, generation: Generation): Promise<Digest> {
  const known = await read(world, fileOf(world, generation))
  return known ? known.root : parseDigest((await readManifest(generation.directory)).root)
}

/**
 * Stands before an output folder is replaced.
 * @throws S5_GENERATION_PINNED when other bytes would take the place of a pinned generation
 */
export async function mayReplace(world: World, directory: string, manifest: Digest): Promise<void> {
  for (const one of await readAll(world))
    if (one.directory === directory && one.pinned && one.manifest !== manifest)
      throw new Stage5Error(
        'S5_GENERATION_PINNED',
        `${shownPath(directory)} is ${one.line}/${one.name}, which is pinned; this build has the same version ${one.version} and other bytes`,
        {
          hint: `give the profile another version:, or stage5 generations unpin ${one.line}/${one.name}`,
          data: { generation: one.name, line: one.line, expected: one.manifest, actual: manifest },
        },
      )
}

/** A pinned generation is never pruned, and its files stay in the store. */
export async function pinGeneration(world: World, text: string, pinned: boolean): Promise<Generation> {
  const store = await world.store()
  return await changing(world, async () => {
    const found = await findKnown(world, text)
    const path = fileOf(world, found)
    await write(world, { ...found, pinned })
    if (pinned) await keep(store, 'pin', path, found.root)
    else await store.setRef(`pin:${path}`, undefined)
    return { ...found, pinned }
  })
}

interface Retention {
  readonly line?: string | undefined
  /** Of each line, so many of the newest stay; the newest stays always. */
  readonly keep: number
  /** What was added in the last seconds stays. */
  readonly keepSeconds: number
  readonly dryRun: boolean
}

/** Why a generation stays. */
type Reason = 'head' | 'pinned' | 'guest' | 'number' | 'age'

interface Pruned {
  readonly removed: readonly Generation[]
  readonly kept: readonly { readonly generation: Generation; readonly because: Reason }[]
}

/**
 * Removes generations and their output folders. The newest of a line, pinned ones, and those that a guest uses (a ref
 * `guest:…` of the store to their root or manifest) stay in any case.
 */
export async function pruneGenerations(world: World, how: Retention): Promise<Pruned> {
  const refs = await (await world.store()).refs()
  const inGuests = new Set([...refs].flatMap(([name, to]) => (name.startsWith('guest:') ? [to] : [])))
  const oldest = now() / 1000 - how.keepSeconds
  return await changing(world, async () => {
    const all = await readAll(world)
    const lines = Map.groupBy(all, ({ line }) => line)
    const judged = [...lines.values()]
      .flatMap((line) => line.map((one, at) => ({ one, because: reasonOf(one, line.length - at) })))
      .filter(({ one }) => how.line === undefined || isOfLine(one, how.line))
    const staying = judged.flatMap(({ one, because }) =>
      because === undefined ? [] : [{ generation: one, because }],
    )
    const going = judged.flatMap(({ one, because }) => (because === undefined ? [one] : []))
    const needed = new Set(staying.map(({ generation }) => generation.directory))
    if (!how.dryRun) for (const one of going) await remove(world, one, needed)
    return { removed: going, kept: staying }
  })

  function reasonOf(one: Known, fromEnd: number): Reason | undefined {
    if (fromEnd === 1) return 'head'
    if (one.pinned) return 'pinned'
    if (inGuests.has(one.root) || inGuests.has(one.manifest)) return 'guest'
    if (fromEnd <= how.keep) return 'number'
    return one.date > oldest ? 'age' : undefined
  }
}

/** The folder goes first, at once by its name: a record without a folder says so, a folder without a record would stay. */
async function remove(world: World, one: Known, needed: ReadonlySet<string>): Promise<void> {
  if (!needed.has(one.directory)) {
    const aside = join(dirname(one.directory), `.${basename(one.directory)}.${process.pid}.old`)
    await rm(aside, { recursive: true, force: true })
    await rename(one.directory, aside).catch(onlyMissing)
    await rm(aside, { recursive: true, force: true })
  }
  await rm(fileOf(world, one), { force: true })
}

async function findKnown(world: World, text: string): Promise<Known> {
  const known = await readAll(world)
  const path = await realpath(resolve(world.directory, text)).catch(() => undefined)
  const place = path && relative(await realpath(world.directory), path)
  const inFolder = known.filter(({ directory }) => relative(world.directory, directory) === place)
  if (inFolder.length > 0) return inFolder.at(-1) as Known
  const found = matching(known, text)
  const [first] = found
  if (first && found.length === 1) return first
  const lines = [...new Set(known.map(({ line }) => line))]
  throw new Stage5Error(
    'S5_GENERATION_UNKNOWN',
    first
      ? `${JSON.stringify(text)} is ${found.length} generations: ${found.map(({ line, name }) => `${line}/${name}`).join(', ')}`
      : `there is no generation ${JSON.stringify(text)}; ${lines.length === 0 ? 'nothing was built yet' : `lines: ${lines.join(', ')}`}`,
    {
      hint: first
        ? 'name the line: LINE/g<number>'
        : lines.length === 0
          ? 'stage5 build PROFILE'
          : 'stage5 generations',
    },
  )
}

/** One, or as many as the text could mean. */
function matching(known: readonly Known[], text: string): readonly Known[] {
  const line = known.filter((one) => isOfLine(one, text))
  if (line.length > 0) return line.slice(-1)
  const slash = text.indexOf('/')
  const [of, what] = slash === -1 ? [undefined, text] : [text.slice(0, slash), text.slice(slash + 1)]
  const within = of === undefined ? known : known.filter((one) => isOfLine(one, of))
  if (of !== undefined && what === 'latest') return within.slice(-1)
  const seq = /^g?(\d+)$/.exec(what)?.[1]
  if (of !== undefined && seq !== undefined) return within.filter((one) => one.seq === Number(seq))
  if (/^g\d+-[0-9a-f]*$/.test(what)) return within.filter(({ name }) => name.startsWith(what))
  const lines = Map.groupBy(
    within.filter(({ version }) => version === what),
    (one) => one.line,
  )
  return [...lines.values()].map((ones) => ones.at(-1) as Known)
}

function isOfLine(one: Known, text: string): boolean {
  return one.line === text || one.profile === text
}

async function changing<T>(world: World, work: () => Promise<T>): Promise<T> {
  await mkdir(folderOf(world), { recursive: true })
  const lock = await takeLock(join(folderOf(world), 'lock'), 'exclusive', {
    waitMs: 60_000,
    signal: world.signal,
  })
  try {
    return await work()
  } finally {
    lock[Symbol.dispose]()
  }
}

async function readAll(world: World): Promise<readonly Known[]> {
  const names = await readdir(folderOf(world), { withFileTypes: true }).catch(() => [])
  const lines = names.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  return (await Promise.all(lines.sort().map((line) => readLine(world, line)))).flat()
}

async function readLine(world: World, line: string): Promise<readonly Known[]> {
  const folder = join(folderOf(world), line)
  const names = (await readdir(folder).catch(() => [])).filter((name) => /^g\d+-[0-9a-f]+\.json$/.test(name))
  const known = await Promise.all(names.map((name) => read(world, join(folder, name))))
  return known.filter((one) => one !== undefined).sort((a, b) => a.seq - b.seq)
}

/** @returns undefined when it went in the meantime */
async function read(world: World, path: string): Promise<Known | undefined> {
  const text = await readFile(path, 'utf8').catch(onlyMissing)
  if (text === undefined) return undefined
  try {
    const { stage5, ...fields } = JSON.parse(text) as Known & { stage5: number }
    if (stage5 !== FORMAT) throw new TypeError(`expected format ${FORMAT}, found ${JSON.stringify(stage5)}`)
    const known = { ...fields, directory: resolve(world.directory, fields.directory) }
    const booted = await bootedOf(world, known)
    return booted ? { ...known, booted } : known
  } catch (cause) {
    throw new Stage5Error(
      'S5_GENERATION_UNKNOWN',
      `${shownPath(path)} is no record of a generation: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause, hint: `remove ${shownPath(path)}` },
    )
  }
}

/** What the boot record of its folder says, and whether a trusted key stands for it. */
async function bootedOf(world: World, one: Known): Promise<Generation['booted']> {
  const names = await readdir(one.directory).catch(() => [])
  const name = names.find((each) => isBootRecord(each) && each.endsWith('.json'))
  if (name === undefined) return undefined
  const signed = await readBootRecord(one.directory).catch(() => undefined)
  const verdict = signed && verifyBootRecord(signed, one.manifest, await trustedKeys(world))
  return { record: join(one.directory, name), ok: verdict === 'ok' }
}

async function write(world: World, { directory, booted: _, ...fields }: Known): Promise<void> {
  const path = fileOf(world, fields)
  await mkdir(dirname(path), { recursive: true })
  // A project can be moved with its outputs.
  const record = { stage5: FORMAT, ...fields, directory: relative(world.directory, directory) }
  await writeWhole(path, `${JSON.stringify(record, null, 2)}\n`)
}

/** Its output folder was removed by other hands. */
export async function isGone({ directory }: Generation): Promise<boolean> {
  return (await stat(directory).catch(onlyMissing)) === undefined
}

function onlyMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
  throw error
}
