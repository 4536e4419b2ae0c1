/** What makes a guest itself, and stands in no image: host name, machine-id, host keys, secrets, network. */
import { mkdir, readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { cpioHeader, cpioPadding, cpioTrailer } from '../../format/cpio.ts'
import { FILE_TYPE } from '../../format/file-type.ts'
import { errnoOf } from '../../host/disk.ts'
import { run } from '../../host/run.ts'
import type { Group } from '../../resolve/group.ts'
import { filled } from '../../resolve/template.ts'
import type { DriverGuest } from '../driver.ts'
import { type GuestFolder, machineId } from './folder.ts'

/** A file that is laid over the guest's root at each start; it belongs to root. */
interface SeedFile {
  /** Absolute path in the guest. */
  readonly path: string
  readonly mode: number
  readonly bytes: Uint8Array
}

interface Seed {
  readonly files: readonly SeedFile[]
  /** Words for the init, as on the kernel command line. */
  readonly words: readonly string[]
}

/**
 * @param project where relative names of secrets begin
 * @throws S5_FILE_MISSING for a secret that is not there; S5_TOOL_MISSING without ssh-keygen
 */
export async function seedOf(
  guest: DriverGuest,
  group: Pick<Group, 'templates' | 'secrets'>,
  folder: GuestFolder,
  project: string,
): Promise<Seed> {
  const text = (path: string, content: string, mode = 0o644): SeedFile => ({
    path,
    mode,
    bytes: Buffer.from(`${content}\n`),
  })
  const files = [
    text('/etc/hostname', guest.values['hostname'] ?? guest.name),
    text('/etc/machine-id', await machineId(folder), 0o444),
  ]
  if ('ssh-host-keys' in group.templates) files.push(...(await hostKeys(folder)))
  for (const [path, template] of Object.entries(group.secrets ?? {})) {
    const source = resolve(project, filled(template, guest.values))
    files.push({ path, mode: 0o600, bytes: await readSecret(guest.name, source) })
  }
  return { files, words: networkWords(guest.values['network'] ?? '') }
}

/** `ip=10.0.0.5/24 gateway=10.0.0.1 dns=…` as the boot scripts take them; `dhcp` needs none. */
function networkWords(network: string): string[] {
  return network
    .split(/\s+/)
    .filter((word) => word !== '' && word !== 'dhcp')
    .map((word) => `stage5.${word}`)
}

async function readSecret(guest: string, source: string): Promise<Uint8Array> {
  try {
    return await readFile(source)
  } catch (cause) {
    if (!['ENOENT', 'ENOTDIR', 'EISDIR', 'EACCES'].includes(errnoOf(cause) ?? '')) throw cause
    throw new Stage5Error('S5_FILE_MISSING', `secret of ${guest}: ${source} cannot be read`, {
      cause,
      hint: 'secrets: of its group names the file',
    })
  }
}

/** Made at the first call, kept beside the guest's data. */
async function hostKeys(folder: GuestFolder): Promise<SeedFile[]> {
  const name = 'ssh_host_ed25519_key'
  const path = folder.file('ssh', name)
  if (folder.read(`ssh/${name}.pub`) === '') {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', folder.name, '-f', path], {
      input: 'y\n',
    })
  }
  return [
    { path: `/etc/ssh/${name}`, mode: 0o600, bytes: await readFile(path) },
    { path: `/etc/ssh/${name}.pub`, mode: 0o644, bytes: await readFile(`${path}.pub`) },
  ]
}

/** The names under which `seed/` holds the files, as `seed/list` has them: number, space, path. */
export function seedList(files: readonly SeedFile[]): string {
  return files.map(({ path }, at) => `${at} ${path}\n`).join('')
}

/** An archive that follows the initramfs, so that the init finds `/seed` and `/etc/seed`. */
export function seedArchive({ files, words }: Seed): Uint8Array {
  const parts: Uint8Array[] = []
  let ino = 1
  const member = (name: string, mode: number, bytes: Uint8Array): void => {
    const rest = { uid: 0, gid: 0, nlink: 1, mtime: 0, rdevMajor: 0, rdevMinor: 0 }
    const head = cpioHeader({ name, ino: ino++, mode, size: bytes.length, ...rest })
    parts.push(head, bytes, cpioPadding(bytes.length))
  }
  member('seed', FILE_TYPE.dir | 0o700, new Uint8Array(0))
  member('seed/list', FILE_TYPE.file | 0o600, Buffer.from(seedList(files), 'latin1'))
  for (const [at, { mode, bytes }] of files.entries()) member(`seed/${at}`, FILE_TYPE.file | mode, bytes)
  member('etc/seed', FILE_TYPE.file | 0o600, Buffer.from(words.map((word) => `${word}\n`).join('')))
  const size = parts.reduce((sum, part) => sum + part.length, 0)
  return Buffer.concat([...parts, cpioTrailer(size)])
}
