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

/** @throws S5_STORE_DAMAGED when `text` is not what `printTree` writes */
export function parseTree(text: string): Tree {
  const lines = text.split('\n')
  if (lines[0] !== 'stage5-tree 1')
    throw damaged(`expected stage5-tree 1, found ${JSON.stringify(lines[0]?.slice(0, 40))}`)
  const owners: string[] = []
  const inodes: Inode[] = []
  const names: Name[] = []
  for (let at = 1; at < lines.length - 1; at++) {
    const words = (lines[at] as string).split(' ')
    const letter = words[0] as string
    if (letter === 'o') owners.push(unquote(words[1] ?? ''))
    else if (letter === 'x') addXattr(inodes, unquote(words[1] ?? ''), words[2] ?? '')
    else if (letter === 'h') {
      names.push({ path: pathOf(words[3]), inode: Number(words[1]), owner: owners[Number(words[2])] ?? '' })
    } else {
      const inode = inodes.push(parseInode(letter, words)) - 1
      names.push({ path: pathOf(words[6]), inode, owner: owners[Number(words[5])] ?? '' })
    }
  }
  return { inodes, names }
}

function pathOf(word: string | undefined): string {
  if (word?.[0] !== '/') throw damaged(`expected a path, found ${JSON.stringify(word)}`)
  return unquote(word.slice(1))
}

function parseInode(letter: string, words: readonly string[]): Inode {
  const type = TYPES[letter]
  if (type === undefined) throw damaged(`unknown line type ${JSON.stringify(letter)}`)
  const meta = {
    mode: Number.parseInt(words[1] ?? '', 8),
    uid: Number(words[2]),
    gid: Number(words[3]),
    mtime: Number(words[4]),
  }
  if (Number.isNaN(meta.mode + meta.uid + meta.gid + meta.mtime))
    throw damaged(`expected numbers in ${words.join(' ')}`)
  switch (type) {
    case 'dir':
    case 'fifo':
    case 'socket':
      return { type, ...meta }
    case 'file':
      return { type, ...meta, size: Number(words[7]), content: `sha256:${words[8]}` }
    case 'symlink':
      return { type, ...meta, target: unquote(words[7] ?? '') }
    case 'char':
    case 'block':
      return { type, ...meta, major: Number(words[7]), minor: Number(words[8]) }
  }
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
