/** A project of many packages with bytes of their own, so that what changed can be counted. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { stage5 } from './console.ts'
import { emptyProject, type Project } from './project.ts'

/** Half of it compresses. */
export function bytesOf(seed: string, length: number): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at * 64 < length; at++)
    parts.push(createHash('sha256').update(`${seed} ${at}`).digest(), Buffer.alloc(32, 0x20))
  return Buffer.concat(parts).subarray(0, length)
}

export interface ManyPackage {
  readonly name: string
  readonly version: string
  /** Paths below the root with their bytes. */
  readonly files: Readonly<Record<string, Buffer>>
}

/** One large file of about 350 kB and 24 small ones. */
export function plainPackage(at: number, version = '1.0.0'): ManyPackage {
  const name = `many/p${String(at).padStart(2, '0')}`
  const files: Record<string, Buffer> = {}
  files[`usr/lib/${name}/large`] = bytesOf(`${name} ${version}`, 350_000 + 1000 * at)
  for (let small = 0; small < 24; small++)
    files[`usr/share/${name}/${small}`] = bytesOf(`${name} ${version} ${small}`, 500 + 90 * small)
  return { name, version, files }
}

/** Its paths have its version, as those of a kernel have. */
export function kernelPackage(version: string): ManyPackage {
  const files: Record<string, Buffer> = { [`boot/vmlinuz-${version}`]: bytesOf(`kernel ${version}`, 900_000) }
  for (let at = 0; at < 60; at++)
    files[`usr/lib/modules/${version}/kernel/m${at}.ko`] = bytesOf(`module ${version} ${at}`, 9000 + 700 * at)
  return { name: 'many/kernel', version, files }
}

export function manyProject(): Project {
  const project = emptyProject()
  const profile = [
    'stage5: 1',
    'repositories: [house]',
    'packages:',
    ...Array.from({ length: 12 }, (_, at) => `  - many/p${String(at).padStart(2, '0')}`),
    '  - many/kernel',
    'kernel: none',
    'images: [squashfs]',
    'pipeline: bare',
    'variants:',
    '  more: {packages: [many/p12]}',
    '',
  ]
  writeFileSync(join(project.directory, 'stages/bare.yaml'), 'stage5: 1\nstages: [check, clamp]\n')
  writeFileSync(join(project.directory, 'profiles/many.yaml'), profile.join('\n'))
  return project
}

/** Packs them into the repository of the project, and makes its index. */
export async function pack({ directory }: Project, packages: readonly ManyPackage[]): Promise<void> {
  const env = { SOURCE_DATE_EPOCH: '1700000000' }
  for (const { name, version, files } of packages) {
    const folder = join(directory, 'roots', `${name.replace('/', '-')}-${version}`)
    for (const [path, bytes] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), bytes)
    }
    const words = ['pack', folder, '--name', name, '--version', version, '--out', 'packages']
    const ran = await stage5(directory, words, env)
    assert.equal(ran.code, 0, ran.stderr)
  }
  const indexed = await stage5(directory, ['index', 'packages'], env)
  assert.equal(indexed.code, 0, indexed.stderr)
}

/** Runs a command that must succeed. @returns what it says as JSON */
export async function ask<T>({ directory }: Project, ...words: string[]): Promise<T> {
  const ran = await stage5(directory, [...words, '--json'])
  assert.equal(ran.code, 0, ran.stderr)
  return JSON.parse(ran.stdout) as T
}
