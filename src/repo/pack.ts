/** Makes a native package of a folder: `package.yaml`, then `root/…`, as a tar through zstd; equal input, equal bytes. */
import { createHash } from 'node:crypto'
import { createReadStream, type Stats } from 'node:fs'
import {
  chmod,
  lstat,
  mkdir,
  mkdtempDisposable,
  open,
  readdir,
  rename,
  rm,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { constants, createZstdCompress } from 'node:zlib'
import { parseDigest, type Digest } from '../base/digest.ts'
import { printable, refuse, Stage5Error } from '../base/errors.ts'
import { run } from '../host/run.ts'
import {
  flagsOf,
  metadataProblem,
  nativeFileName,
  printPackageYaml,
  type NativeMetadata,
} from './native-metadata.ts'

export interface PackOptions {
  /** `category/name`. */
  readonly name: string
  readonly version: string
  /** 0 for the only build of a version. */
  readonly build?: number
  /** `any` when not given. */
  readonly arch?: string
  /** `ssl -ldap`: both are known, `ssl` is on. */
  readonly use?: string
  readonly depends?: readonly string[]
  readonly conflicts?: readonly string[]
  readonly provides?: readonly string[]
  readonly summary?: string
  /** Folder of the package. */
  readonly out: string
  /** Seconds since 1970: no file is younger. 0: the time of the youngest file stands for the package. */
  readonly date: number
  /** Keep the numbers of users and groups; otherwise everything belongs to 0:0. */
  readonly keepOwners?: boolean
  readonly signal?: AbortSignal
}

export interface Packed {
  readonly file: string
  /** Bytes. */
  readonly size: number
  readonly sha256: Digest
}

/** On 60 MB of shared libraries: 12 gives 18.6 MB in 10 s, 19 gives 16.9 MB in 76 s. */
const ZSTD_LEVEL = 12

/**
 * GNU tar reads the folder: it keeps names, hard links and `security.capability` byte for byte.
 * @throws S5_PACKAGE_INVALID, S5_FILE_MISSING, S5_ARCHIVE_REFUSED `special-file`, S5_TOOL_MISSING
 */
export async function packDirectory(directory: string, options: PackOptions): Promise<Packed> {
  const found = await survey(directory)
  const time = options.date === 0 ? found.newest : options.date
  const metadata = metadataOf(options, found.bytes, time)
  await mkdir(options.out, { recursive: true })
  await using scratch = await mkdtempDisposable(join(options.out, '.stage5-pack-'))
  const described = join(scratch.path, 'package.yaml')
  await writeFile(described, printPackageYaml(metadata))
  await chmod(described, 0o644)
  await utimes(described, time, time)
  const tar = join(scratch.path, 'package.tar')
  await archiveFolder(directory, tar, {
    prefix: 'root',
    time,
    keepOwners: options.keepOwners === true,
    first: scratch.path,
    ...(options.signal && { signal: options.signal }),
  })
  return await compressTar(tar, join(options.out, nativeFileName(metadata)), options.signal)
}

interface ArchiveOptions {
  /** Directory of the archive in which the folder lies. */
  readonly prefix: string
  /** Seconds since 1970: no file is younger. */
  readonly time: number
  readonly keepOwners: boolean
  /** Folder with a `package.yaml` that comes first. */
  readonly first?: string
  readonly signal?: AbortSignal
}

/** Writes a folder as tar. @throws S5_TOOL_MISSING, S5_TOOL_FAILED */
export async function archiveFolder(directory: string, tar: string, options: ArchiveOptions): Promise<void> {
  await run(tarArguments(directory, tar, options), options.signal ? { signal: options.signal } : {})
}

function metadataOf(options: PackOptions, installedSize: number, time: number): NativeMetadata {
  const flags = flagsOf(options.use ?? '')
  if (!flags) throw invalid(`expected flags such as "ssl -ldap", found ${JSON.stringify(options.use)}`)
  const metadata: NativeMetadata = {
    name: options.name,
    version: options.version,
    build: options.build ?? 0,
    arch: options.arch ?? 'any',
    ...flags,
    depends: options.depends ?? [],
    conflicts: options.conflicts ?? [],
    provides: options.provides ?? [],
    summary: options.summary ?? '',
    installedSize,
    time,
  }
  const problem = metadataProblem(metadata)
  if (problem !== undefined) throw invalid(problem)
  return metadata
}

function invalid(message: string): Stage5Error {
  return new Stage5Error('S5_PACKAGE_INVALID', message)
}

/**
 * Sorted by bytes, no times but `mtime` in whole seconds, no names of users, and pax headers whose own names do not
 * hold a process number.
 */
function tarArguments(
  directory: string,
  tar: string,
  { prefix, time, keepOwners, first }: ArchiveOptions,
): string[] {
  return [
    'tar',
    '--create',
    `--file=${tar}`,
    '--format=posix',
    '--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime,delete=mtime',
    '--sort=name',
    '--numeric-owner',
    ...(keepOwners ? [] : ['--owner=0', '--group=0']),
    `--mtime=@${time}`,
    '--clamp-mtime',
    '--xattrs',
    '--xattrs-include=security.capability',
    '--no-acls',
    '--no-selinux',
    // Member names and the targets of hard links, but not those of symlinks.
    String.raw`--transform=flags=rSh;s,^\.\(/\|$\),${prefix}\1,`,
    ...(first === undefined ? [] : [`--directory=${first}`, 'package.yaml']),
    `--directory=${directory}`,
    '.',
  ]
}

const SLASH = Uint8Array.of(0x2f)

/** Sizes and times of what is there. @throws S5_ARCHIVE_REFUSED for devices, FIFOs and sockets */
export async function survey(directory: string): Promise<{ bytes: number; newest: number }> {
  const top = await lstat(directory).catch(() => undefined)
  if (!top?.isDirectory())
    throw new Stage5Error('S5_FILE_MISSING', `there is no directory ${directory}`, {
      data: { file: directory },
    })
  const seen = new Set<number>()
  let bytes = 0
  let newest = seconds(top)
  const folders: Buffer[] = [Buffer.from(directory)]
  for (let folder = folders.pop(); folder; folder = folders.pop())
    for (const name of await readdir(folder, { encoding: 'buffer' })) {
      const path = Buffer.concat([folder, SLASH, name])
      const entry = await lstat(path)
      newest = Math.max(newest, seconds(entry))
      if (entry.isDirectory()) folders.push(path)
      else if (entry.isFile()) {
        if (!seen.has(entry.ino)) bytes += entry.size
        if (entry.nlink > 1) seen.add(entry.ino)
      } else if (!entry.isSymbolicLink())
        throw refuse(
          'special-file',
          printable(path.toString('latin1')),
          'only files, directories and symlinks can be packed; devices are declared by profiles',
        )
    }
  return { bytes, newest }
}

function seconds(entry: Stats): number {
  return Math.max(0, Math.floor(entry.mtimeMs / 1000))
}

/** The tar through zstd, whole under its name or not at all. */
export async function compressTar(tar: string, file: string, signal?: AbortSignal): Promise<Packed> {
  const zstd = createReadStream(tar, { highWaterMark: 1 << 20 }).pipe(
    createZstdCompress({
      params: {
        [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL,
        [constants.ZSTD_c_checksumFlag]: 1,
      },
    }),
  )
  const temporary = `${tar}.zst`
  const sum = createHash('sha256')
  let size = 0
  const handle = await open(temporary, 'wx', 0o644)
  try {
    for await (const chunk of zstd as AsyncIterable<Buffer>) {
      signal?.throwIfAborted()
      sum.update(chunk)
      size += chunk.length
      await handle.writeFile(chunk)
    }
    await handle.sync()
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  } finally {
    await handle.close()
  }
  await rename(temporary, file)
  return { file, size, sha256: parseDigest(`sha256:${sum.digest('hex')}`) }
}
