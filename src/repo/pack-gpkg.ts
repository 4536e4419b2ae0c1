/** Makes a Gentoo package of GLEP 78 of a folder; equal input, equal bytes, unless it is signed. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, mkdtempDisposable, open, readdir, readFile, rename, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { constants, zstdCompressSync } from 'node:zlib'
import { parseDigest } from '../base/digest.ts'
import { type Elf, parseElf } from '../format/elf.ts'
import {
  containerEnd,
  manifestLine,
  type ManifestMember,
  manifestMember,
  memberHeader,
  metadataTar,
} from '../format/gpkg-write.ts'
import { tarPadding } from '../format/tar-write.ts'
import { run } from '../host/run.ts'
import { gpkgBuildInfo, gpkgEnvironment, type GpkgOptions } from './gpkg-metadata.ts'
import { archiveFolder, compressTar, type Packed, survey } from './pack.ts'
import { signManifest, signMember } from './sign-gpkg.ts'

export interface PackGpkgOptions extends GpkgOptions {
  /** A PKGDIR; the package lies in CATEGORY/NAME below it. */
  readonly out: string
  /** Seconds since 1970: no file is younger. 0: the time of the youngest file stands for the package. */
  readonly date: number
  readonly keepOwners: boolean
  /** A key of gpg that signs the members and the Manifest. */
  readonly sign?: string
  readonly signal?: AbortSignal
}

/**
 * CATEGORY/NAME/NAME-VERSION-BUILD.gpkg.tar below `out`, with the shared libraries that its files bring and need.
 * @throws S5_PACKAGE_INVALID, S5_FILE_MISSING, S5_ARCHIVE_REFUSED `special-file`, S5_TOOL_MISSING, S5_TOOL_FAILED
 */
export async function packGpkg(directory: string, options: PackGpkgOptions): Promise<Packed> {
  const { sign, signal } = options
  const found = await survey(directory)
  const time = options.date === 0 ? found.newest : options.date
  const info = gpkgBuildInfo(options, { size: found.bytes, time, ...(await libraries(directory)) })
  const folder = join(options.out, info.category, info.package)
  const stem = `${info.full}-${options.build}`
  await mkdir(folder, { recursive: true })
  await using scratch = await mkdtempDisposable(join(options.out, '.stage5-pack-'))
  const tar = join(scratch.path, 'image.tar')
  await archiveFolder(directory, tar, {
    prefix: 'image',
    time,
    keepOwners: options.keepOwners,
    ...(signal && { signal }),
  })
  const image = await compressTar(tar, join(scratch.path, 'image.tar.zst'), signal)
  const metadata = await metadataMember(info, time)
  const members: Member[] = [
    { ...manifestMember('gpkg-1', new Uint8Array()), data: new Uint8Array() },
    { ...manifestMember('metadata.tar.zst', metadata), data: metadata },
    ...(await signatureOf('metadata.tar.zst', metadata, sign, signal)),
    { ...(await hashedMember('image.tar.zst', image)), data: image.file },
    ...(await signatureOf('image.tar.zst', image.file, sign, signal)),
  ]
  const lines = members.map((member) => `${manifestLine(member)}\n`).join('')
  const manifest = sign === undefined ? Buffer.from(lines) : await signManifest(sign, lines, signal)
  const packed = await writeContainer(
    join(scratch.path, 'package'),
    stem,
    [...members, { ...manifestMember('Manifest', manifest), data: manifest }],
    time,
  )
  const file = join(folder, `${stem}.gpkg.tar`)
  await rename(packed.file, file)
  return { ...packed, file }
}

type Member = ManifestMember & { readonly data: Uint8Array | string }

/** The member that follows a signed one. */
async function signatureOf(
  name: string,
  data: Uint8Array | string,
  key: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Member[]> {
  if (key === undefined) return []
  const signature = await signMember(key, data, signal)
  return [{ ...manifestMember(`${name}.sig`, signature), data: signature }]
}

async function metadataMember(info: ReturnType<typeof gpkgBuildInfo>, time: number): Promise<Uint8Array> {
  const values = new Map<string, Uint8Array>()
  for (const [key, value] of info.values) values.set(key, Buffer.from(value))
  const environment = await run(['bzip2', '--compress', '--stdout'], { input: gpkgEnvironment(info) })
  values.set('environment.bz2', environment.stdout)
  return zstdCompressSync(metadataTar(values, time), {
    params: { [constants.ZSTD_c_compressionLevel]: 19, [constants.ZSTD_c_checksumFlag]: 1 },
  })
}

async function hashedMember(name: string, { file, size }: Packed): Promise<ManifestMember> {
  const [blake2b, sha512] = [createHash('blake2b512'), createHash('sha512')]
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    blake2b.update(chunk)
    sha512.update(chunk)
  }
  return { name, size, blake2b: blake2b.digest('hex'), sha512: sha512.digest('hex') }
}

async function writeContainer(
  file: string,
  directory: string,
  members: readonly { readonly name: string; readonly size: number; readonly data: Uint8Array | string }[],
  time: number,
): Promise<Packed> {
  const sum = createHash('sha256')
  let size = 0
  const handle = await open(file, 'wx', 0o644)
  const put = async (bytes: Uint8Array): Promise<void> => {
    sum.update(bytes)
    size += bytes.length
    await handle.writeFile(bytes)
  }
  try {
    for (const member of members) {
      await put(memberHeader(directory, member.name, member.size, time))
      if (typeof member.data !== 'string') await put(member.data)
      else
        for await (const chunk of createReadStream(member.data, {
          highWaterMark: 1 << 20,
        }) as AsyncIterable<Buffer>)
          await put(chunk)
      await put(tarPadding(member.size))
    }
    await put(containerEnd())
    await handle.sync()
  } finally {
    await handle.close()
  }
  await utimes(file, time, time)
  return { file, size, sha256: parseDigest(`sha256:${sum.digest('hex')}`) }
}

/** Portage's names of ABIs. @see PROVIDES in the sources of Portage: multilib categories */
function abiOf({ machine, bits }: Elf): string | undefined {
  if (machine === 62) return bits === 64 ? 'x86_64' : 'x86_x32'
  const names: { readonly [machine: number]: string } = {
    3: 'x86_32',
    40: 'arm_32',
    183: 'arm_64',
    20: 'ppc_32',
    21: 'ppc_64',
    22: 's390_64',
    243: 'riscv_lp64d',
  }
  return names[machine]
}

/** PROVIDES and REQUIRES of the files of a folder: what is brought by itself is not required. */
async function libraries(directory: string): Promise<{ provides: string; requires: string }> {
  const provides = new Map<string, Set<string>>()
  const requires = new Map<string, Set<string>>()
  const add = (to: Map<string, Set<string>>, abi: string, soname: string): void => {
    to.set(abi, (to.get(abi) ?? new Set()).add(soname))
  }
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const elf = (await isElf(path)) ? parseElf(await readFile(path)) : undefined
    const abi = elf && abiOf(elf)
    if (!elf || abi === undefined) continue
    if (elf.soname !== undefined && elf.soname !== '') add(provides, abi, elf.soname)
    for (const needed of elf.needed) add(requires, abi, needed)
  }
  for (const [abi, names] of requires) for (const name of provides.get(abi) ?? []) names.delete(name)
  return { provides: sonameText(provides), requires: sonameText(requires) }
}

async function isElf(path: string): Promise<boolean> {
  const handle = await open(path, 'r')
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0)
    return bytesRead === 4 && buffer.toString('latin1') === '\x7fELF'
  } finally {
    await handle.close()
  }
}

function sonameText(names: ReadonlyMap<string, ReadonlySet<string>>): string {
  return [...names]
    .filter(([, sonames]) => sonames.size > 0)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([abi, sonames]) => `${abi}: ${[...sonames].sort().join(' ')}`)
    .join(' ')
}
