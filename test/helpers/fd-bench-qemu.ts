/** A guest of the driver qemu: `minimal` with busybox's web server, built twice, and once more with a base of noise. */
import { createHash } from 'node:crypto'
import { cpSync, globSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { DriverGeneration } from '../../src/deploy/driver.ts'
import { type GuestFolder, guestFolder } from '../../src/deploy/drivers/folder.ts'
import { startedOf } from '../../src/deploy/drivers/keeper.ts'
import { guestsRoot, openDriver } from '../../src/deploy/drivers/open.ts'
import type { Group } from '../../src/resolve/group.ts'
import { driverGuest } from '../../src/resolve/template.ts'
import type { Bench } from './fd-contract.ts'
import { group } from './fd-group.ts'
import { buildProfile } from './guest.ts'

const profile = (version: string): string => `stage5: 1
parents: [minimal]
id: toy
version: "${version}"
files:
  - {path: /srv/www/index.html, content: "toy ${version}\\n"}
services:
  - {name: web, run: "busybox httpd -f -p 80 -h /srv/www"}
data:
  - {name: keep, label: keep, size: 16M, paths: [/srv/keep]}
`

/** Builds what the bench needs. @returns why that cannot be, or undefined */
export async function buildToys(folder: string, port: number): Promise<string | undefined> {
  mkdirSync(join(folder, 'profiles'), { recursive: true })
  const made: DriverGeneration[] = []
  for (const version of ['1', '2']) {
    writeFileSync(join(folder, 'profiles/toy.yaml'), profile(version))
    const built = await buildProfile(folder, 'toy')
    if ('skip' in built) return built.skip
    made.push(generationOf(realpathSync(built.directory), Number(version)))
  }
  made.push(brokenOf(folder, made[1] as DriverGeneration))
  writeFileSync(join(folder, 'bench.json'), JSON.stringify({ made, port }))
  return undefined
}

function manifestOf(directory: string): string {
  const [file] = globSync(join(directory, '*.manifest.json'))
  if (file === undefined) throw new Error(`${directory} has no manifest`)
  return file
}

function generationOf(directory: string, seq: number): DriverGeneration {
  const hex = createHash('sha256')
    .update(readFileSync(manifestOf(directory)))
    .digest('hex')
  return { line: 'toy', seq, name: `g${seq}-${hex.slice(0, 12)}`, manifest: `sha256:${hex}`, directory }
}

/** A whole output, every digest right, whose base no kernel can mount. */
function brokenOf(folder: string, { directory }: DriverGeneration): DriverGeneration {
  const copy = join(folder, 'out', 'broken')
  cpSync(directory, copy, { recursive: true })
  const file = manifestOf(copy)
  const manifest = JSON.parse(readFileSync(file, 'utf8')) as {
    files: { name: string; digest: string }[]
    boot: { base: string }
  }
  const noise = Buffer.alloc(1_048_576, 'noise ')
  const base = join(copy, basename(manifest.boot.base))
  rmSync(base)
  writeFileSync(base, noise)
  const entry = manifest.files.find(({ name }) => name === manifest.boot.base)
  if (!entry) throw new Error('the manifest does not name the base')
  entry.digest = `sha256:${createHash('sha256').update(noise).digest('hex')}`
  writeFileSync(file, JSON.stringify(manifest))
  return generationOf(copy, 3)
}

export function qemuGroup(port: number, more: Partial<Group> = {}): Group {
  const options = {
    root: '',
    memory: 0,
    forward: [`${port}:80`],
    accel: 'tcg',
    append: [],
    arguments: [],
    stopSeconds: 20,
  }
  return group(
    { kind: 'qemu', options },
    {
      health: [
        { kind: 'http', url: `http://127.0.0.1:${port}/`, status: 200, contains: 'toy', timeoutMs: 5000 },
        { kind: 'console', text: 'stage5: ready', timeoutMs: 5000 },
      ],
      ...more,
    },
  )
}

export interface QemuBench extends Omit<Bench, keyof AsyncDisposable> {
  readonly port: number
}

export function openBench(given: string): QemuBench {
  const folder = realpathSync(given)
  const { made, port } = JSON.parse(readFileSync(join(folder, 'bench.json'), 'utf8')) as {
    made: [DriverGeneration, DriverGeneration, DriverGeneration]
    port: number
  }
  const toys = qemuGroup(port, {
    templates: {
      hostname: '{name}.example',
      'ssh-host-keys': 'make',
      network: 'ip=10.0.2.15/24 gateway=10.0.2.2 dns=10.0.2.99',
    },
    secrets: { '/etc/toy.key': 'secret-{name}' },
    data: { keep: 32 * 2 ** 20 },
  })
  writeFileSync(join(folder, 'secret-toy-1'), 'the secret of toy-1\n', { mode: 0o600 })
  const driver = openDriver(toys, {
    directory: folder,
    checkout: () => Promise.reject(new Error('qemu checks nothing out')),
  })
  const guest = driverGuest(toys, toys.guests[0] as Group['guests'][number])
  const own = guestFolder(guestsRoot(toys, folder), guest.name)
  const [first, second, broken] = made
  return {
    driver,
    guest,
    first,
    second,
    broken,
    port,
    module: import.meta.filename,
    folder,
    starts: async () => startsOf(own),
  }
}

/** The generations of all starts that the keeper noted, the last one included that still runs. */
export function startsOf(own: GuestFolder): string[] {
  const ended = own
    .read('run/ends')
    .split('\n')
    .flatMap((line) => (line === '' ? [] : [line.split(' ')[0] as string]))
  const now = startedOf(own)
  return now ? [...ended, now.generation] : ended
}
