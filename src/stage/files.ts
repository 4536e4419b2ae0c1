/** The files, directories, links and devices that a profile declares. */
import { Stage5Error } from '../base/errors.ts'
import type { IdLedger } from '../resolve/lock.ts'
import type { FileSpec } from '../resolve/profile.ts'
import { follow } from '../tree/resolve-path.ts'
import { baseOf, type Entry, type Inode, lookup, type Meta, type Tree, type Xattr } from '../tree/tree.ts'
import { capabilityValue } from './capabilities.ts'
import { asJson, byteText, landing, maker, type Maker, placed, rawBytes, withTree } from './generated.ts'
import type { Stage } from './stage.ts'
import { printable } from '../base/errors.ts'
import { nearest } from '../base/near.ts'

interface Params {
  readonly files: readonly FileSpec[]
  readonly ids: IdLedger
  readonly date: number
}

/** Owner label of what a profile declares; later stages leave such files alone. */
export const PROFILE_OWNER = 'stage:files'

export const files: Stage = {
  name: 'files',
  version: 1,
  pick: ({ profile, ids, date }) => asJson({ files: profile.files, ids, date }),
  async run(input, params, { contents }) {
    const { files: specs, ids, date } = params as unknown as Params
    if (specs.length === 0) return input
    const make = maker('files', date, contents)
    const idsOf = await namedIds(input.tree, ids, async (path) => {
      const inode = follow(input.tree, path)?.inode
      return inode?.type === 'file' ? byteText(await contents.read(inode.content)) : ''
    })
    let tree = input.tree
    let batch: Entry[] = []
    const flush = (): void => {
      tree = placed(tree, batch, date)
      batch = []
    }
    for (const spec of specs) {
      batch.push(await entryOf(spec, tree, make, idsOf))
      if (spec.type === 'symlink') flush()
    }
    flush()
    return withTree(input, tree)
  },
}

interface NamedIds {
  readonly users: ReadonlyMap<string, number>
  readonly groups: ReadonlyMap<string, number>
}

/** Names from /etc/passwd and /etc/group as the users stage left them, and from the ledger. */
async function namedIds(
  tree: Tree,
  ids: IdLedger,
  read: (path: string) => Promise<string>,
): Promise<NamedIds> {
  const table = async (
    path: string,
    ledger: { readonly [name: string]: number },
  ): Promise<Map<string, number>> => {
    const found = new Map<string, number>([['root', 0], ...Object.entries(ledger)])
    if (follow(tree, path))
      for (const line of (await read(path)).split('\n')) {
        const [name = '', , id = ''] = line.split(':')
        if (name !== '' && /^[0-9]+$/.test(id)) found.set(name, Number(id))
      }
    return found
  }
  return { users: await table('etc/passwd', ids.users), groups: await table('etc/group', ids.groups) }
}

function numberOf(
  kind: 'user' | 'group',
  name: string,
  known: ReadonlyMap<string, number>,
  path: string,
): number {
  if (/^[0-9]+$/.test(name)) return Number(name)
  const id = known.get(name)
  if (id !== undefined) return id
  const near = nearest(name, known.keys(), 1)[0]
  throw new Stage5Error(
    'S5_STAGE_INVALID',
    `files: ${printable(path)}: unknown ${kind} ${JSON.stringify(name)}${near ? `, did you mean ${near}` : ''}`,
    { hint: `declare it under ${kind}s: in the profile, or give a number` },
  )
}

async function entryOf(spec: FileSpec, tree: Tree, make: Maker, ids: NamedIds): Promise<Entry> {
  const wanted = landing(tree, spec.path, 'files')
  const meta: Partial<Meta> = {
    mode: spec.mode,
    uid: numberOf('user', spec.owner, ids.users, spec.path),
    gid: numberOf('group', spec.group, ids.groups, spec.path),
  }
  switch (spec.type) {
    case 'file': {
      if (spec.capabilities === '') return await make.file(wanted, rawBytes(spec.content), meta)
      const xattrs: readonly Xattr[] = [['security.capability', capabilityValue(spec.capabilities)]]
      return await make.file(wanted, rawBytes(spec.content), { ...meta, xattrs })
    }
    case 'dir': {
      const stands = lookup(tree, wanted)?.inode.type === 'symlink' ? follow(tree, wanted) : undefined
      return make.dir(stands?.inode.type === 'dir' ? stands.path : wanted, meta)
    }
    case 'symlink': {
      const entry = make.link(wanted, spec.target)
      return { ...entry, inode: { ...entry.inode, uid: meta.uid, gid: meta.gid } as Inode }
    }
    case 'char':
    case 'block': {
      const { inode, path, owner } = make.dir(wanted, meta)
      return { path, owner, inode: { ...inode, type: spec.type, major: spec.major, minor: spec.minor } }
    }
    case 'fifo': {
      const { inode, path, owner } = make.dir(wanted, meta)
      return { path, owner, inode: { ...inode, type: 'fifo' } as Inode }
    }
    default:
      throw new Stage5Error('S5_STAGE_INVALID', `files: unknown type of ${baseOf(spec.path)}`)
  }
}
