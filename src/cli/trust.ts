/** What a project publishes under: its root, the keys that sign, and what stands at a place, verified. */
import { mkdir, readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { openFolder, type Place } from '../deploy/place.ts'
import {
  type ClientRules,
  targetOf,
  targetPath,
  type Trusted,
  trustRoot,
  updateRoot,
  updateSnapshot,
  updateTargets,
  updateTimestamp,
  mustBeBytes,
} from '../fleet/metadata-client.ts'
import { type MetadataSigner, metadataName, refuseMetadata } from '../fleet/metadata.ts'
import type { WrittenMetadata } from '../fleet/publication.ts'
import { signerOf, verifyRaw } from '../host/metadata-keys.ts'
import { writeWhole } from '../host/whole-file.ts'
import { privateKeyOf } from './keys.ts'
import type { World } from './world.ts'

/** The root as this project last signed it: what guests are given. */
export function rootFile(world: World): string {
  return join(world.directory, '.stage5', 'trust', 'root.json')
}

/** Whoever publishes may have let things expire: it signs them anew. */
const RULES: ClientRules = { verify: verifyRaw, now: Number.NEGATIVE_INFINITY }

/** @param where a folder, or oci://HOST/REPOSITORY. @throws S5_USAGE without a place, S5_LOCK_BUSY */
export async function openPlace(world: World, where: string | undefined): Promise<Place> {
  if (where === undefined)
    throw new Stage5Error('S5_USAGE', 'expected --to DIR: where generations are published', {
      hint: 'stage5 publish --help',
    })
  if (!where.startsWith('oci:')) return await openFolder(resolve(world.directory, where), world.signal)
  const { openRegistry } = await import('../deploy/registry.ts')
  return await openRegistry(where, world.signal)
}

export async function signersOf(world: World, names: readonly string[]): Promise<readonly MetadataSigner[]> {
  return await Promise.all(names.map(async (name) => signerOf(await privateKeyOf(world, name))))
}

/** The root of the project. @throws S5_FILE_MISSING before `stage5 trust init` */
async function ownRoot(world: World): Promise<Trusted> {
  const bytes = await readFile(rootFile(world)).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOENT') throw cause
    throw new Stage5Error('S5_FILE_MISSING', 'nobody is named yet who may sign what this project publishes', {
      cause,
      hint: 'stage5 trust init --to DIR --root KEY --release KEY --online KEY',
    })
  })
  return trustRoot(bytes, RULES)
}

export async function keepRoot(world: World, bytes: Uint8Array): Promise<void> {
  const path = rootFile(world)
  await mkdir(dirname(path), { recursive: true })
  await writeWhole(path, bytes)
}

/**
 * What is published at a place, each step verified from the root of the project on; expired is no hindrance.
 * @throws S5_METADATA_REFUSED when it was tampered with
 */
export async function published(world: World, place: Place): Promise<Trusted> {
  let trusted = await ownRoot(world)
  for (;;) {
    const next = await place.read(`metadata/${metadataName('root', trusted.root.version + 1)}`)
    if (!next) break
    trusted = updateRoot(trusted, next, RULES)
    await keepRoot(world, next)
  }
  const timestamp = await place.read('metadata/timestamp.json')
  if (!timestamp) return trusted
  const read = async (name: string): Promise<Uint8Array> => {
    const bytes = await place.read(`metadata/${name}`)
    if (!bytes) throw refuseMetadata('mismatch', name, `it is not at ${place.name}`)
    return bytes
  }
  trusted = updateTimestamp(trusted, timestamp, RULES)
  const { version } = trusted.timestamp?.meta['snapshot.json'] ?? { version: 0 }
  trusted = updateSnapshot(trusted, await read(metadataName('snapshot', version)), RULES)
  for (const role of ['targets', 'channels'] as const) {
    const found = trusted.snapshot?.meta[`${role}.json`]?.version ?? 0
    trusted = updateTargets(trusted, role, await read(metadataName(role, found)), RULES)
  }
  return trusted
}

/** A document that somebody signed for. @throws S5_METADATA_REFUSED */
export async function targetDocument<T>(place: Place, trusted: Trusted, path: string): Promise<T> {
  const target = targetOf(trusted, path)
  const bytes = await place.read(targetPath(path, target))
  if (!bytes) throw refuseMetadata('mismatch', path, `it is not at ${place.name}`)
  mustBeBytes(bytes, target, path)
  return JSON.parse(Buffer.from(bytes).toString('utf8')) as T
}

/** Writes what `nextMetadata` made, in its order. */
export async function putMetadata(place: Place, { files }: WrittenMetadata): Promise<void> {
  for (const { name, bytes } of files) await place.put(`metadata/${name}`, bytes)
}
