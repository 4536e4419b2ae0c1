/** Small roots for tests of stages: written as a literal, read back as text. */
import { emptyDraft } from '../../src/resolve/shape-profile.ts'
import type { Profile } from '../../src/resolve/profile.ts'
import type { Facts } from '../../src/stage/facts.ts'
import { byteText, utf8 } from '../../src/stage/generated.ts'
import { allocateIds, wantedIds } from '../../src/stage/ids.ts'
import type { Stage } from '../../src/stage/stage.ts'
import { type Contents, memoryContents } from '../../src/tree/contents.ts'
import { follow } from '../../src/tree/resolve-path.ts'
import type { Root } from '../../src/tree/root.ts'
import { type Entry, type Inode, lookup, treeOf } from '../../src/tree/tree.ts'

export const DATE = 1_700_000_000

/** `text`, `{link}`, `{dir: true}`, with `owner`, `mode`, `uid`, `gid`, `mtime` where they matter. */
export type Spec =
  | string
  | Uint8Array
  | {
      readonly text?: string
      readonly link?: string
      readonly owner?: string
      readonly mode?: number
      readonly uid?: number
      readonly gid?: number
      readonly mtime?: number
    }

export async function rootOf(contents: Contents, specs: { readonly [path: string]: Spec }): Promise<Root> {
  const entries: Entry[] = []
  for (const [path, given] of Object.entries(specs)) {
    const bytes = typeof given === 'string' ? utf8(given) : given instanceof Uint8Array ? given : undefined
    const spec = bytes ? {} : (given as Exclude<Spec, string | Uint8Array>)
    const body = bytes ?? (spec.text === undefined ? undefined : utf8(spec.text))
    const meta = { uid: spec.uid ?? 0, gid: spec.gid ?? 0, mtime: spec.mtime ?? 1 }
    const inode: Inode = body
      ? {
          type: 'file',
          mode: spec.mode ?? 0o644,
          ...meta,
          size: body.length,
          content: await contents.write(body),
        }
      : spec.link === undefined
        ? { type: 'dir', mode: spec.mode ?? 0o755, ...meta }
        : { type: 'symlink', mode: 0o777, ...meta, target: spec.link }
    entries.push({ path, owner: spec.owner ?? 'pkg_1', inode })
  }
  return { tree: treeOf(entries), removed: [] }
}

export interface Outcome {
  readonly root: Root
  readonly contents: Contents
  readonly text: (path: string) => Promise<string>
  readonly inode: (path: string) => Inode | undefined
  readonly entry: (path: string) => Entry | undefined
  readonly paths: () => string[]
}

export function profileOf(parts: Partial<Profile> = {}): Profile {
  const draft = emptyDraft()
  return { ...draft, files: [], scripts: {}, name: 'test', id: 'test', hostname: 'test', ...parts }
}

/** Runs a stage on a small root, with numbers allocated as a build does it. */
export async function run(
  stage: Stage,
  specs: { readonly [path: string]: Spec },
  parts: Partial<Profile> = {},
  facts: Partial<Facts> = {},
): Promise<Outcome> {
  const contents = memoryContents()
  return await runOn(stage, await rootOf(contents, specs), contents, parts, facts)
}

export async function runOn(
  stage: Stage,
  input: Root,
  contents: Contents,
  parts: Partial<Profile> = {},
  facts: Partial<Facts> = {},
): Promise<Outcome> {
  const profile = profileOf(parts)
  const ids = allocateIds({ users: {}, groups: {} }, await wantedIds(input.tree, contents, profile))
  const all: Facts = { profile, version: '1', date: DATE, ids, packages: [], stripClasses: {}, ...facts }
  const signal = new AbortController().signal
  const params = JSON.parse(JSON.stringify(stage.pick(all))) as ReturnType<Stage['pick']>
  const root = await stage.run(input, params, { contents, signal })
  return {
    root,
    contents,
    text: async (path) => {
      const inode = follow(root.tree, path)?.inode
      if (inode?.type !== 'file') throw new Error(`no file ${path}`)
      return byteText(await contents.read(inode.content))
    },
    inode: (path) => lookup(root.tree, path)?.inode,
    entry: (path) => lookup(root.tree, path),
    paths: () => root.tree.names.map(({ path }) => path),
  }
}
