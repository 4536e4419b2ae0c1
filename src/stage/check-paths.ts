/** Proof that scripts, symlinks and shells of a root lead somewhere, and that its modes are safe. */
import { bufferOf } from '../base/bytes.ts'
import { compileGlobs } from '../base/glob.ts'
import type { Contents } from '../tree/contents.ts'
import { follow, resolvePath } from '../tree/resolve-path.ts'
import { type Entry, entriesOf, type Inode, lookup, type Tree } from '../tree/tree.ts'
import type { Finding } from './finding.ts'
import { mayBeScript, missingFor, shebangsOf } from './shebang.ts'

/** Places that are filled at run time: a link into them is no error. */
const LATER = /^(?:proc|sys|dev|run|tmp|var\/(?:run|lock|tmp))(?:\/|$)/

/** Links that lead nowhere in every distribution until something else is installed. */
const DANGLING = compileGlobs([
  '/{,usr/}lib/modules/*/{build,source}',
  '/usr/lib/{debug,.build-id}',
  '/{vmlinuz,initrd.img}{,.old}',
  '/etc/systemd/{system,user}/**',
])

/** Shells that are there to refuse: without them a login fails, too. */
const REFUSING = /\/(?:nologin|false|sync|halt|shutdown)$/

const MERGED = ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'] as const

export async function checkPaths(tree: Tree, contents: Contents): Promise<Finding[]> {
  const findings: Finding[] = []
  const seen = new Set<Inode>()
  const shebangs = await shebangsOf(contents, [...entriesOf(tree)].filter(mayBeScript))
  for (const entry of entriesOf(tree)) {
    const { path, owner, inode } = entry
    if (inode.type === 'symlink') {
      const end = resolvePath(tree, path)
      if ('missing' in end && !LATER.test(end.missing) && !DANGLING.matches(path))
        findings.push({ path, owner, problem: 'symlink', needs: end.loop ? inode.target : `/${end.missing}` })
      continue
    }
    if (
      (inode.type === 'file' || (inode.type === 'dir' && (inode.mode & 0o1000) === 0)) &&
      (inode.mode & 2) !== 0
    )
      findings.push({ path, owner, problem: 'world-writable', needs: '' })
    if (inode.type === 'file' && mayBeScript(entry) && !seen.has(inode)) {
      seen.add(inode)
      const shebang = shebangs.get(inode.content)
      const needs = shebang && missingFor(tree, shebang)
      if (needs !== undefined) findings.push({ path, owner, problem: 'script', needs })
    }
  }
  return [...findings, ...doubles(tree), ...(await shells(tree, contents))]
}

/** Names that are in /x and in /usr/x and are not one file: which of them runs depends on PATH. */
function doubles(tree: Tree): Finding[] {
  const apart = MERGED.filter((top) => lookup(tree, top)?.inode.type === 'dir')
  if (apart.length === 0) return []
  const findings: Finding[] = []
  for (const { path, owner, inode } of entriesOf(tree)) {
    const top = path.split('/', 1)[0] as (typeof MERGED)[number]
    if (inode.type === 'dir' || !apart.includes(top)) continue
    const other = lookup(tree, `usr/${path}`)
    if (!other || other.inode === inode || sameEnd(tree, other, `/${path}`)) continue
    findings.push({ path, owner, problem: 'double', needs: `/${other.path}` })
  }
  return findings
}

function sameEnd(tree: Tree, other: Entry, path: string): boolean {
  const end = follow(tree, path)
  return end !== undefined && end.path === follow(tree, other.path)?.path
}

async function shells(tree: Tree, contents: Contents): Promise<Finding[]> {
  const passwd = follow(tree, 'etc/passwd')
  if (passwd?.inode.type !== 'file') return []
  const findings: Finding[] = []
  for (const line of bufferOf(await contents.read(passwd.inode.content))
    .toString('latin1')
    .split('\n')) {
    const fields = line.split(':')
    const shell = fields[6] === undefined || fields[6] === '' ? '/bin/sh' : fields[6]
    if (fields.length < 7 || line.startsWith('#') || REFUSING.test(shell)) continue
    const found = follow(tree, shell)
    if (found?.inode.type !== 'file' || (found.inode.mode & 0o111) === 0)
      findings.push({ path: passwd.path, owner: passwd.owner, problem: 'shell', needs: shell })
  }
  return findings
}
