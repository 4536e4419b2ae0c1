/** `sysext` and `confext`: a part of the root as an image for hosts of another build or another distribution. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { erofsEmitter } from '../emit/erofs.ts'
import { type ExtensionKind, extensionTree } from '../emit/extension.ts'
import { squashfsEmitter } from '../emit/squashfs.ts'
import { lookup, type Tree } from '../tree/tree.ts'
import { parseTree } from '../tree/text.ts'
import { type ImageOptions, type Job, write } from './emit-job.ts'
import { findOutput } from './manifest.ts'

/**
 * `<stem>.<kind>.raw`, which a host has as `/var/lib/extensions/NAME.raw` or `/var/lib/confexts/NAME.raw`.
 * @throws S5_IMAGE_INPUT; S5_OUTPUT_MISSING when there is no build of `over`
 */
export async function emitExtension(job: Job, kind: ExtensionKind, options: ImageOptions): Promise<void> {
  const { profile, composed, store, stem, date } = job
  const { type = 'squashfs', name, os, osVersion, osLevel, over, ...settings } = options
  const own = await osRelease(job)
  const text = (given: unknown, otherwise: string): string => (typeof given === 'string' ? given : otherwise)
  const level = text(osLevel, '')
  const extended = typeof over === 'string' ? await treeOfOutput(job, over) : undefined
  const tree = await extensionTree(composed.root.tree, store, {
    kind,
    name: text(name, profile.id),
    arch: profile.arch,
    version: composed.facts.version,
    os: text(os, own['ID'] ?? '_any'),
    osVersion: text(osVersion, level === '' ? (own['VERSION_ID'] ?? '') : ''),
    osLevel: level,
    ...(extended && { over: extended }),
    date,
  })
  await store.flush()
  const file = `${stem}.${kind}.raw`
  if (type === 'erofs')
    await write(job, file, kind, erofsEmitter, tree, { date, seed: `${profile.id} ${kind}` })
  else await write(job, file, kind, squashfsEmitter, tree, { ...settings, mtime: date })
}

/** The assignments of the root's own os-release. */
async function osRelease({ composed, store }: Job): Promise<{ readonly [key: string]: string | undefined }> {
  const found = lookup(composed.root.tree, 'usr/lib/os-release')?.inode
  if (found?.type !== 'file') return {}
  const lines = Buffer.from(await store.read(found.content))
    .toString('latin1')
    .split('\n')
  return Object.fromEntries(
    lines.flatMap((line) => {
      const [, key, value] = /^([A-Z_]+)="?([^"]*)"?$/.exec(line) ?? []
      return key === undefined || value === undefined ? [] : [[key, value]]
    }),
  )
}

async function treeOfOutput({ world, profile }: Job, id: string): Promise<Tree> {
  if (id === profile.id)
    throw new Stage5Error('S5_IMAGE_INPUT', `over: ${id} is this profile: nothing would be left`)
  const { directory, manifest } = await findOutput(world, id, id)
  const name = manifest.files.find((file) => file.name.endsWith('.contents.txt'))?.name
  if (name === undefined) throw new Stage5Error('S5_OUTPUT_MISSING', `out/${id} has no contents.txt`)
  return parseTree(await readFile(join(directory, name), 'utf8'))
}
