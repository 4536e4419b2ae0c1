/** A generation to a place: images, deltas and sums, then what signs for them; the channel moves on its own. */
import { mkdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, digestOf, hexOf } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import type { PlacedFile, Place } from '../deploy/place.ts'
import { writeDelta } from '../emit/delta.ts'
import type { Channel, PublishedDelta, PublishedFile, PublishedGeneration } from '../fleet/channel.ts'
import { canonicalJson, metadataName, type TargetFile } from '../fleet/metadata.ts'
import { targetPath, type Trusted } from '../fleet/metadata-client.ts'
import { type Lifetimes, nextMetadata, type Signers } from '../fleet/publication.ts'
import { openpgpSignature } from '../format/openpgp.ts'
import { signifySignature } from '../format/signify.ts'
import { openFileSink } from '../host/file-sink.ts'
import { type PrivateKey, signBytes } from '../host/signing.ts'
import { compareUapiVersions } from '../pkg/uapi-version.ts'
import type { Generation } from './generations.ts'
import { layoutBeside, openPlain } from './images.ts'
import { openpgpOf } from './keys.ts'
import { type Manifest, manifestFile, readManifest } from './manifest.ts'
import { published, putMetadata, targetDocument } from './trust.ts'
import type { World } from './world.ts'

interface PublishOptions {
  readonly signers: Signers
  /** Signs SHA256SUMS. */
  readonly release: PrivateKey
  readonly lifetimes: Lifetimes
  readonly now: number
  /** Deltas from so many of the generations before. */
  readonly deltas: number
  /** Generations of the line that stay, the newest first; what the channel points to stays in any case. */
  readonly keep: number
  readonly requireBooted: boolean
}

interface Published {
  readonly generation: PublishedGeneration
  readonly sent: number
  readonly removed: readonly string[]
}

/** A delta that is larger than this share of its image is not worth its place. */
const WORTH = 0.9

/** Last in SHA256SUMS and last to be written (R10): what makes a guest start something new. */
const ENTRIES: ReadonlySet<string> = new Set(['kernel', 'uki', 'efi', 'disk'])

/** @throws S5_PUBLISH_REFUSED, S5_METADATA_REFUSED, S5_DIGEST_MISMATCH */
export async function publishGeneration(
  world: World,
  place: Place,
  one: Generation,
  earlier: readonly Generation[],
  options: PublishOptions,
): Promise<Published> {
  if (options.requireBooted && one.booted?.ok !== true)
    throw new Stage5Error(
      'S5_PUBLISH_REFUSED',
      `${one.line}/${one.name} ${one.booted ? 'has a boot record that no trusted key stands for' : 'was never seen to boot'}`,
      { hint: `stage5 test ${one.line} --key KEY`, data: { generation: one.name, line: one.line } },
    )
  const trusted = await published(world, place)
  // Once without effect: nothing travels that could not be signed for in the end.
  nextMetadata(trusted, { targets: {} }, options.signers, options.now, options.lifetimes)
  const known = await documentsOf(place, trusted, one.line)
  mustFollow(one, known)
  const files = await filesOf(one)
  if (hasUki(files)) mustFit(one, known)
  let sent = 0
  for (const file of files) sent += await place.putFile(file, world.signal)
  const before = known
    .filter(({ seq }) => seq < one.seq)
    .slice(0, options.deltas)
    .flatMap(({ name }) => earlier.filter((old) => old.name === name))
  const deltas: PublishedDelta[] = []
  for (const old of before) {
    const made = await deltaFrom(world, place, old, one, files)
    if (!made) continue
    deltas.push(made.delta)
    sent += made.sent
  }
  const generation: PublishedGeneration = {
    ...{ stage5: 1, line: one.line, seq: one.seq, name: one.name, version: one.version },
    ...{ manifest: one.manifest, booted: one.booted?.ok === true },
    files: files.map(({ role, path, size, sha256 }) => ({
      ...{ role, size, sha256 },
      name: path.slice(one.line.length + 1),
    })),
    deltas,
  }
  await place.complete(generation, world.signal)

  const channel = await channelOf(place, trusted, one.line)
  const others = known.filter(({ name }) => name !== one.name)
  const all = [generation, ...others].sort((a, b) => b.seq - a.seq)
  const staying = all.filter(
    ({ name }, at) =>
      at < options.keep || name === one.name || name === channel?.head || name === channel?.previous,
  )
  const document = bytesOf(generation)
  const path = generationPath(generation)
  const target: TargetFile = { length: document.length, hashes: { sha256: hexOf(digestOf(document)) } }
  const kept = new Set(staying.map(generationPath))
  const targets = Object.fromEntries([
    ...Object.entries(trusted.targets?.targets ?? {}).filter(
      ([name]) => !name.startsWith(`generations/${one.line}/`) || kept.has(name),
    ),
    [path, target],
  ])
  await place.put(targetPath(path, target), document)
  await putSums(place, staying, options.release, options.now)
  const next = nextMetadata(trusted, { targets }, options.signers, options.now, options.lifetimes)
  await putMetadata(place, next)
  await place.commit(world.signal)
  const gone = all.filter((each) => !staying.includes(each))
  const keep = await pathsOf(place, trusted, next.trusted)
  return { generation, sent, removed: await place.collect(keep, gone, world.signal) }
}

/** Everything that two states of the metadata name: a client that began with the former can end with it. */
async function pathsOf(place: Place, ...states: readonly Trusted[]): Promise<ReadonlySet<string>> {
  const keep = new Set<string>(['metadata/timestamp.json'])
  for (const state of states) {
    for (let version = 1; version <= state.root.version; version++)
      keep.add(`metadata/${metadataName('root', version)}`)
    for (const role of ['snapshot', 'targets', 'channels'] as const)
      keep.add(`metadata/${metadataName(role, state[role]?.version ?? 0)}`)
    const targets = { ...state.targets?.targets, ...state.channels?.targets }
    for (const [path, target] of Object.entries(targets)) keep.add(targetPath(path, target))
  }
  const latest = states.at(-1) as Trusted
  for (const path of Object.keys(latest.targets?.targets ?? {})) {
    const { line, files, deltas } = await targetDocument<PublishedGeneration>(place, latest, path)
    for (const { name } of [...files, ...deltas]) keep.add(`${line}/${name}`)
    for (const ending of ['', '.sig', '.gpg']) keep.add(`${line}/SHA256SUMS${ending}`)
  }
  return keep
}

/** Generations of a line at a place, the newest first. */
export async function documentsOf(
  place: Place,
  trusted: Trusted,
  line: string,
): Promise<readonly PublishedGeneration[]> {
  const paths = Object.keys(trusted.targets?.targets ?? {}).filter((path) =>
    path.startsWith(`generations/${line}/`),
  )
  const found = await Promise.all(
    paths.map((path) => targetDocument<PublishedGeneration>(place, trusted, path)),
  )
  return found.sort((a, b) => b.seq - a.seq)
}

export async function channelOf(place: Place, trusted: Trusted, line: string): Promise<Channel | undefined> {
  const path = `channels/${line}.json`
  if (!trusted.channels?.targets[path]) return undefined
  return await targetDocument<Channel>(place, trusted, path)
}

function generationPath({ line, name }: Pick<PublishedGeneration, 'line' | 'name'>): string {
  return `generations/${line}/${name}.json`
}

/** Documents of targets, too, are canonical: the reader in a guest is small. */
export function bytesOf(document: PublishedGeneration | Channel): Uint8Array {
  return Buffer.from(canonicalJson(document as never))
}

function mustFollow(one: Generation, known: readonly PublishedGeneration[]): void {
  const other = known.find(({ seq, name }) => seq === one.seq && name !== one.name)
  if (!other) return
  throw new Stage5Error(
    'S5_PUBLISH_REFUSED',
    `${one.line}/${one.name} would take the number of ${other.name}, which is published`,
    {
      hint: 'generations of a line are counted in one project: publish from there',
      data: { generation: one.name, published: other.name, line: one.line },
    },
  )
}

/** Whether a disk follows this line: then names have the version instead of the number. */
function hasUki(files: readonly { readonly role: string }[]): boolean {
  return files.some(({ role }) => role === 'uki')
}

/** Whoever follows by the versions in names sees each generation as newer than the one before it. @throws S5_PUBLISH_REFUSED */
function mustFit(one: Generation, known: readonly PublishedGeneration[]): void {
  for (const other of known) {
    if (other.name === one.name) continue
    const version = hasUki(other.files) ? other.version : String(other.seq)
    if (Math.sign(compareUapiVersions(one.version, version)) === Math.sign(one.seq - other.seq)) continue
    throw new Stage5Error(
      'S5_PUBLISH_REFUSED',
      `${one.line}/${one.name} has the version ${one.version}, and ${other.name} is published as ${version}: systemd-sysupdate would not take them in this order`,
      {
        hint: 'give each build a higher version: in the profile (images: uki has it in the names of files)',
        data: { generation: one.name, published: other.name, version: one.version },
      },
    )
  }
}

/**
 * Images and what belongs to them, the entry points last: named by line and number. With a unified kernel image, by id and
 * version, as partitions and boot entries of disks are.
 */
async function filesOf(one: Generation): Promise<readonly (PlacedFile & { readonly role: string })[]> {
  const manifest = await readManifest(one.directory)
  const path = await manifestFile(one.directory)
  const stem = `${manifest.image.id}_${manifest.image.version}`
  const prefix = `${one.line}/${hasUki(manifest.files) ? stem : `${one.line}_${one.seq}`}`
  const placed = (name: string): string =>
    `${prefix}${name.startsWith(stem) ? name.slice(stem.length) : `.${name}`}`
  const own = {
    ...{ role: 'manifest', path: placed('.manifest.json').replace('..', '.'), from: path },
    ...{ size: (await stat(path)).size, sha256: hexOf(one.manifest) },
  }
  return [
    own,
    ...manifest.files
      .filter(({ name, role }) => role !== 'report' && role !== 'manifest' && !name.includes('/'))
      .map(({ name, role, size, digest }) => ({
        ...{ role, size, sha256: hexOf(digest as Digest) },
        ...{ path: placed(name), from: join(one.directory, name) },
      })),
  ].sort((a, b) => Number(ENTRIES.has(a.role)) - Number(ENTRIES.has(b.role)))
}

/** @returns undefined when one of them has no base, or hardly anything would be saved */
async function deltaFrom(
  world: World,
  place: Place,
  old: Generation,
  one: Generation,
  files: readonly (PlacedFile & { readonly role: string })[],
): Promise<{ readonly delta: PublishedDelta; readonly sent: number } | undefined> {
  const [from, to] = await Promise.all([squashfsOf(old), squashfsOf(one)])
  const image = files.find(({ role }) => role === 'base')
  if (!from || !to || !image) return undefined
  const folder = join(world.directory, '.stage5', 'publish')
  await mkdir(folder, { recursive: true })
  const name = `${one.line}_${old.seq}-${one.seq}.delta`
  const path = join(folder, `${name}.${process.pid}.tmp`)
  try {
    await using before = await openPlain(from)
    await using after = await openPlain(to)
    const layouts = [await layoutBeside(before), await layoutBeside(after)] as const
    await using sink = await openFileSink(path)
    await writeDelta(layouts[0], layouts[1], after, sink, world.signal)
    const { size, digest } = await sink.finish()
    if (size > image.size * WORTH) return undefined
    const file: PublishedFile = { role: 'delta', name, size, sha256: hexOf(digest) }
    const sent = await place.putFile({ ...file, path: `${one.line}/${name}`, from: path }, world.signal)
    const delta = { ...file, makes: 'base', from: old.name, base: hexOf(layouts[0].digest) }
    return { delta, sent }
  } finally {
    await rm(path, { force: true })
  }
}

async function squashfsOf({ directory }: Generation): Promise<string | undefined> {
  const manifest = await readManifest(directory).catch((): Manifest | undefined => undefined)
  const base = manifest?.boot.base
  return base?.endsWith('.squashfs') === true ? join(directory, base) : undefined
}

/** One list for a line, the newest first; kernels after everything that they start. */
async function putSums(
  place: Place,
  staying: readonly PublishedGeneration[],
  key: PrivateKey,
  now: number,
): Promise<void> {
  const [first] = staying
  if (!first) return
  const files = staying.flatMap(({ files: own, deltas }) => [...own, ...deltas])
  const last = files.filter(({ role }) => ENTRIES.has(role))
  const lines = [...files.filter(({ role }) => !ENTRIES.has(role)), ...last]
  const bytes = Buffer.from(lines.map(({ sha256, name }) => `${sha256}  ${name}\n`).join(''))
  const { sig, keyid } = signBytes(key, bytes)
  await place.put(
    `${first.line}/SHA256SUMS.sig`,
    Buffer.from(signifySignature(Buffer.from(sig, 'base64'), keyid)),
  )
  const own = openpgpOf(key)
  await place.put(`${first.line}/SHA256SUMS.gpg`, openpgpSignature(own.raw, bytes, now, own.sign))
  await place.put(`${first.line}/SHA256SUMS`, bytes)
}
