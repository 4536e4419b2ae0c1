/**
 * The canonical text of a tree: one line a name, equal trees give equal text, and a review can read it.
 *
 * `stage5-tree 1`, then `o LABEL` lines (owners, in order of first use), then for each name in order
 * `TYPE MODE UID GID MTIME OWNER /PATH …` with TYPE one of d f s c b p k; files add `SIZE HEX`, symlinks the target,
 * devices `MAJOR MINOR`; `h INODE OWNER /PATH` is one more name of an inode, by its number in order of first use;
 * `x NAME VALUE` (value in hex) follows the inode it belongs to. Bytes outside 0x21–0x7e and `\` are written `\xNN`.
 */
import { bufferOf } from '../base/bytes.ts'
import { digestOf, type Digest } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import type { Inode, Name, Tree, Xattr } from './tree.ts'

const LETTERS = { dir: 'd', file: 'f', symlink: 's', char: 'c', block: 'b', fifo: 'p', socket: 'k' } as const
const TYPES: { readonly [letter: string]: Inode['type'] } = {
  d: 'dir',
  f: 'file',
  s: 'symlink',
  c: 'char',
  b: 'block',
  p: 'fifo',
  k: 'socket',
}
/** So many are joined at a time. */
const LINES = 1024
const PLAIN = /^[\x21-\x5b\x5d-\x7e]*$/

/** The canonical text; `parseTree` gives the same tree back. The text is ASCII. */
export function printTree(tree: Tree): string {
  const owners = new Map<string, number>()
  const seen = new Map<number, number>()
  const parts: string[] = []
  let lines: string[] = []
  for (const { path, inode, owner } of tree.names) {
    // Short strings that live on are what the collector has the most work with.
    if (lines.length >= LINES) {
      parts.push(lines.join(''))
      lines = []
    }
    let by = owners.get(owner)
    if (by === undefined) {
      by = owners.size
      owners.set(owner, by)
    }
    const earlier = seen.get(inode)
    if (earlier !== undefined) {
      lines.push(`h ${earlier} ${by} /${quote(path)}\n`)
      continue
    }
    seen.set(inode, seen.size)
    const node = tree.inodes[inode] as Inode
    lines.push(
      `${LETTERS[node.type]} ${node.mode.toString(8)} ${node.uid} ${node.gid} ${node.mtime} ${by} /${quote(path)}${tail(node)}\n`,
    )
    for (const [name, value] of node.xattrs ?? [])
      lines.push(`x ${quote(name)} ${Buffer.from(value, 'latin1').toString('hex')}\n`)
  }
  const head = ['stage5-tree 1', ...[...owners.keys()].map((owner) => `o ${quote(owner)}`)]
  return `${head.join('\n')}\n${parts.join('')}${lines.join('')}`
}

function tail(node: Inode): string {
  if (node.type === 'file') return ` ${node.size} ${node.content.slice(7)}`
  if (node.type === 'symlink') return ` ${quote(node.target)}`
  if (node.type === 'char' || node.type === 'block') return ` ${node.major} ${node.minor}`
  return ''
}

function quote(text: string): string {
  if (PLAIN.test(text)) return text
  return text.replace(
    /[^\x21-\x5b\x5d-\x7e]/g,
    (letter) => `\\x${letter.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}

function unquote(text: string): string {
  if (!text.includes('\\')) return text
  return text.replace(/\\x([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

/** What stands in front of a path: `TYPE MODE UID GID MTIME OWNER`, or `h INODE OWNER`. */
interface Head {
  /** undefined for one more name of an inode. */
  readonly type: Inode['type'] | undefined
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: number
  readonly inode: number
  readonly owner: string
}

/**
 * Files of a package share what stands in front of their paths: it is read once.
 * @throws S5_STORE_DAMAGED when `text` is not what `printTree` writes
 */
export function parseTree(text: string): Tree {
  const [first = ''] = text.split('\n', 1)
  if (first !== 'stage5-tree 1')
    throw damaged(`expected stage5-tree 1, found ${JSON.stringify(first.slice(0, 40))}`)
  const owners: string[] = []
  const inodes: Inode[] = []
  const names: Name[] = []
  const heads = new Map<string, Head>()
  for (let at = first.length + 1, end = 0; at < text.length; at = end + 1) {
    end = text.indexOf('\n', at)
    if (end < 0) end = text.length
    const letter = text[at]
    if (letter === 'o' || letter === 'x') {
      const [, name = '', value = ''] = text.slice(at, end).split(' ')
      if (letter === 'o') owners.push(unquote(name))
      else addXattr(inodes, unquote(name), value)
      continue
    }
    const path = text.indexOf(' /', at)
    if (path < 0 || path > end)
      throw damaged(`expected a path in ${JSON.stringify(text.slice(at, Math.min(end, at + 80)))}`)
    const words = text.slice(at, path)
    let head = heads.get(words)
    if (!head) {
      head = parseHead(words.split(' '), owners)
      heads.set(words, head)
    }
    const space = text.indexOf(' ', path + 1)
    const after = space < 0 || space > end ? end : space
    const { type, owner } = head
    const inode =
      type === undefined ? head.inode : inodes.push(inodeOf(type, head, text.slice(after + 1, end))) - 1
    names.push({ path: unquote(text.slice(path + 2, after)), inode, owner })
  }
  return { inodes, names }
}

function parseHead(words: readonly string[], owners: readonly string[]): Head {
  const letter = words[0] as string
  const type = TYPES[letter]
  if (type === undefined && letter !== 'h') throw damaged(`unknown line type ${JSON.stringify(letter)}`)
  const owner = owners[Number(words[type === undefined ? 2 : 5])] ?? ''
  const head: Head =
    type === undefined
      ? { type, mode: 0, uid: 0, gid: 0, mtime: 0, inode: Number(words[1]), owner }
      : {
          type,
          mode: Number.parseInt(words[1] ?? '', 8),
          uid: Number(words[2]),
          gid: Number(words[3]),
          mtime: Number(words[4]),
          inode: 0,
          owner,
        }
  const { mode, uid, gid, mtime, inode } = head
  if (Number.isNaN(mode + uid + gid + mtime + inode)) throw damaged(`expected numbers in ${words.join(' ')}`)
  return head
}

/** @param tail what stands behind the path */
function inodeOf(type: Inode['type'], { mode, uid, gid, mtime }: Head, tail: string): Inode {
  if (type === 'file') {
    const space = tail.indexOf(' ')
    const size = Number(tail.slice(0, space))
    return { type, mode, uid, gid, mtime, size, content: `sha256:${tail.slice(space + 1)}` }
  }
  if (type === 'symlink') return { type, mode, uid, gid, mtime, target: unquote(tail) }
  if (type === 'char' || type === 'block') {
    const [major, minor] = tail.split(' ').map(Number) as [number, number]
    return { type, mode, uid, gid, mtime, major, minor }
  }
  return { type, mode, uid, gid, mtime }
}

function addXattr(inodes: Inode[], name: string, hex: string): void {
  const last = inodes.at(-1)
  if (!last) throw damaged('an x line before any inode')
  const xattr: Xattr = [name, Buffer.from(hex, 'hex').toString('latin1')]
  inodes[inodes.length - 1] = { ...last, xattrs: [...(last.xattrs ?? []), xattr] }
}

function damaged(message: string): Stage5Error {
  return new Stage5Error('S5_STORE_DAMAGED', `tree text: ${message}`)
}

/** A tree never changes, so its text is hashed once. */
const digests = new WeakMap<Tree, Digest>()

/** The identity of a tree: digest of its canonical text. */
export function treeDigest(tree: Tree): Digest {
  return digests.get(tree) ?? encodeTree(tree).digest
}

/** The canonical text as bytes, and its digest. */
export function encodeTree(tree: Tree): { readonly bytes: Uint8Array; readonly digest: Digest } {
  const bytes = Buffer.from(printTree(tree), 'latin1')
  const digest = digestOf(bytes)
  digests.set(tree, digest)
  return { bytes, digest }
}

/**
 * The tree of a canonical text that is known by its digest.
 * @throws S5_STORE_DAMAGED as `parseTree` does
 */
export function decodeTree(bytes: Uint8Array, digest: Digest): Tree {
  const tree = parseTree(bufferOf(bytes).toString('latin1'))
  digests.set(tree, digest)
  return tree
}
