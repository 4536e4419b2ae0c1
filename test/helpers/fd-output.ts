/** Output folders made by hand: a tree that drivers can run, under a manifest that names it. */
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DriverGeneration } from '../../src/deploy/driver.ts'

export interface MadeOutput {
  readonly version: string
  /** Text files by name in the folder; the manifest has their digests. */
  readonly files?: Readonly<Record<string, string>>
  readonly boot?: Readonly<Record<string, unknown>>
}

function digest(bytes: string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

export function makeOutput(folder: string, seq: number, made: MadeOutput): DriverGeneration {
  const directory = join(folder, 'out', `toy_${made.version}`)
  mkdirSync(directory, { recursive: true })
  const files = Object.entries(made.files ?? {})
  for (const [name, text] of files) writeFileSync(join(directory, name), text)
  const manifest = JSON.stringify({
    stage5: 1,
    image: { id: 'toy', version: made.version, arch: 'amd64', profile: 'toy', date: 0 },
    files: files.map(([name, text]) => ({ name, role: 'file', size: text.length, digest: digest(text) })),
    boot: { data: [], ready: '', memory: 64, ...made.boot },
  })
  writeFileSync(join(directory, 'toy.manifest.json'), manifest)
  const hash = digest(manifest)
  return { line: 'toy', seq, name: `g${seq}-${hash.slice(7, 19)}`, manifest: hash, directory }
}
