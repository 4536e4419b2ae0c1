/** The manifest of an output folder, read back: what `boot`, `diff` and later builds know of a build. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { objectOf } from '../base/json.ts'
import type { DataSchema } from '../resolve/profile.ts'
import { shownPath, type World } from './world.ts'

export interface DataRecord {
  readonly name: string
  readonly label: string
  readonly file: string
  readonly size: number
  readonly paths: readonly string[]
  /** `overlay`: the disk has only what differs from the base; absent: copies of the directories. */
  readonly kind?: 'overlay'
}

export interface BootRecord {
  /** File names in the folder; absent when the profile has no kernel. */
  readonly kernel?: string
  readonly initrd?: string
  readonly base?: string
  /** The hash tree of the base. */
  readonly verity?: string
  /** 64 hex digits. */
  readonly roothash?: string
  readonly release?: string
  /** Kernels beside the newest. */
  readonly otherKernels?: readonly {
    readonly release: string
    readonly kernel: string
    readonly initrd: string
  }[]
  /** Words of the kernel command line. */
  readonly cmdline?: string
  /** The same for outputs whose base comes in the initrd. */
  readonly memoryCmdline?: string
  /** Initramfs and base in one file. */
  readonly oneInitrd?: string
  /** iPXE script. */
  readonly netboot?: string
  /** Disks that start by themselves. */
  readonly disk?: string
  readonly qcow2?: string
  readonly vhd?: string
  readonly data: readonly DataRecord[]
  /** Areas that are no disk. */
  readonly areas?: readonly {
    readonly name: string
    readonly size: number
    readonly paths: readonly string[]
    readonly kind: 'tmpfs' | 'zram' | 'immutable'
  }[]
  readonly ready: string
  /** MiB. */
  readonly memory: number
}

interface ManifestPackage {
  readonly label: string
  readonly name: string
  readonly version: string
  readonly arch: string
  readonly repo: string
  readonly use: readonly string[]
  readonly sha256: string
}

export interface Manifest {
  readonly stage5: 1
  readonly image: {
    readonly id: string
    readonly version: string
    readonly arch: string
    readonly profile: string
    readonly date: number
  }
  readonly root: string
  readonly packages: readonly ManifestPackage[]
  readonly files: readonly {
    readonly name: string
    readonly role: string
    readonly size: number
    readonly digest: string
  }[]
  readonly boot: BootRecord
  /** As the profile says it. */
  readonly dataSchema?: DataSchema
}

/**
 * Whether a word of the command line means a folder. One without a slash may be the name of a line or a profile, beside
 * which a folder of the same name happens to stand: it means the folder only where that is an output folder.
 */
export async function meansFolder(world: World, word: string): Promise<boolean> {
  const path = resolve(world.directory, word)
  if (!(await stat(path).catch(() => undefined))?.isDirectory()) return false
  return word.includes('/') || (await readdir(path)).some(isManifest)
}

function isManifest(file: string): boolean {
  return file.endsWith('.manifest.json')
}

/** @throws S5_OUTPUT_MISSING when the folder has no manifest that this version reads */
export async function readManifest(directory: string): Promise<Manifest> {
  const file = await manifestFile(directory)
  return parseManifest(await readFile(file, 'utf8'), basename(file))
}

/** Path of the manifest in an output folder. @throws S5_OUTPUT_MISSING */
export async function manifestFile(directory: string): Promise<string> {
  const name = (await readdir(directory).catch(() => [])).find(isManifest)
  if (name !== undefined) return join(directory, name)
  throw new Stage5Error(
    'S5_OUTPUT_MISSING',
    `${shownPath(directory)} is no output folder: it has no *.manifest.json`,
  )
}

/** @throws S5_OUTPUT_MISSING when it is none that this version reads */
export function parseManifest(text: string, file: string): Manifest {
  const found = objectOf(text)
  const problem = typeof found === 'string' ? `expected a manifest, found ${found}` : problemOf(found)
  if (problem !== undefined)
    throw new Stage5Error('S5_OUTPUT_MISSING', `${file}: ${problem}`, {
      hint: 'a build makes the folder anew once it is removed',
      data: { file },
    })
  return found as unknown as Manifest
}

/** What those who read a manifest take for granted. */
function problemOf({ stage5, image, root, packages, files, boot }: Members): string | undefined {
  if (stage5 !== 1) return `expected format 1, found ${JSON.stringify(stage5)}`
  if (!has(image, 'string', 'id', 'version', 'arch', 'profile') || !has(image, 'number', 'date'))
    return 'image: expected id, version, arch, profile and date'
  if (typeof root !== 'string') return 'root: expected a digest'
  const isPackage = (one: unknown): boolean =>
    has(one, 'string', 'label', 'name', 'version', 'arch', 'repo', 'sha256') && isList(one['use'], isText)
  if (!isList(packages, isPackage))
    return 'packages: expected a list with label, name, version, arch, repo, use and sha256 of each'
  if (!isList(files, (one) => has(one, 'string', 'name', 'role', 'digest') && has(one, 'number', 'size')))
    return 'files: expected a list with name, role, size and digest of each'
  if (!has(boot, 'string', 'ready') || !has(boot, 'number', 'memory'))
    return 'boot: expected what a guest says when it is ready, and its memory'
  const isDisk = (one: unknown): boolean =>
    has(one, 'string', 'name', 'label', 'file') && has(one, 'number', 'size') && isList(one['paths'], isText)
  if (!isList(boot['data'], isDisk))
    return 'boot: expected a list of data disks with name, label, file, size and paths of each'
  return undefined
}

interface Members {
  readonly [key: string]: unknown
}

function has(value: unknown, type: 'string' | 'number', ...keys: readonly string[]): value is Members {
  if (typeof value !== 'object' || value === null) return false
  return keys.every((key) => typeof (value as Members)[key] === type)
}

function isText(value: unknown): boolean {
  return typeof value === 'string'
}

function isList(value: unknown, isItem: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isItem)
}

/** The newest output of a profile, by its link in `out/`; a path to a folder is taken as it is. */
export async function findOutput(
  world: World,
  profileId: string,
  profileName: string,
): Promise<{ directory: string; manifest: Manifest }> {
  const directory = join(world.directory, 'out', profileId)
  if ((await readdir(directory).catch(() => undefined)) === undefined)
    throw new Stage5Error('S5_OUTPUT_MISSING', `there is no ${shownPath(directory)}`, {
      hint: `stage5 build ${profileName}`,
    })
  return { directory, manifest: await readManifest(directory) }
}
