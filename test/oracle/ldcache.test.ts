/** ldconfig and our stage see the same libraries in a root of real packages, and make the same links. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { ldcache } from '../../src/stage/ldcache.ts'
import { usrmerge } from '../../src/stage/usrmerge.ts'
import { memoryContents } from '../../src/tree/contents.ts'
import { withEntries, withoutPaths } from '../../src/tree/edit.ts'
import { entriesOf, lookup, type Tree } from '../../src/tree/tree.ts'
import { debTree, fetchDebs } from '../helpers/debs.ts'
import { readDiskTree, writeDiskTree } from '../helpers/disk-tree.ts'
import { link, smallTree } from '../helpers/small-tree.ts'

const PACKAGES = [
  'libc6',
  'libgcc-s1',
  'libstdc++6',
  'zlib1g',
  'zlib1g-dev',
  'libelf1',
  'libelf-dev',
  'libpam0g',
]
  .concat(['libfakeroot', 'libxml2', 'libicu72', 'libssl3', 'libpcre2-8-0', 'libpam-modules', 'libc6-dev'])
  .concat(['libacl1', 'libcap-ng0'])

let scratch: string
let why: string | undefined
before(() => {
  scratch = mkdtempSync(join(tmpdir(), 'stage5-ldcache-'))
  why = process.getuid?.() === 0 ? fetchDebs(scratch, PACKAGES) : 'needs root (ldconfig -r)'
})
after(() => rmSync(scratch, { recursive: true, force: true }))

const contents = memoryContents()
const world = { contents, signal: new AbortController().signal }

/** What `ldconfig -p` prints of a cache, and the symlinks of the tree. */
function answers(directory: string, cache: string): string[] {
  const lines = execFileSync('ldconfig', ['-p', '-C', join(directory, cache)])
    .toString()
    .split('\n')
  return lines.filter((line) => line.startsWith('\t'))
}

function symlinks(tree: Tree): string[] {
  return [...entriesOf(tree)].flatMap(({ path, inode }) =>
    inode.type === 'symlink' ? [`${path} -> ${inode.target}`] : [],
  )
}

async function compare(name: string, tree: Tree): Promise<string[]> {
  const root = await ldcache.run({ tree, removed: [] }, { date: 1 }, world)
  const mine = join(scratch, `${name}-mine`)
  const theirs = join(scratch, `${name}-theirs`)
  await writeDiskTree(root.tree, contents, mine)
  await writeDiskTree(tree, contents, theirs)
  execFileSync('ldconfig', ['-r', theirs], { stdio: 'ignore' })
  const lines = answers(mine, 'etc/ld.so.cache')
  assert.deepEqual(lines, answers(theirs, 'etc/ld.so.cache'))
  // ldconfig deletes links that lead nowhere; here they are left to the check
  const leading = symlinks(root.tree).filter((line) => !line.endsWith('-> nothing'))
  assert.deepEqual(leading, symlinks(await readDiskTree(theirs, contents)))
  const header = (folder: string): Buffer => readFileSync(join(folder, 'etc/ld.so.cache')).subarray(0, 24)
  assert.deepEqual(header(mine), header(theirs))
  return lines
}

async function packages(): Promise<Tree> {
  const tree = await debTree(scratch, PACKAGES, contents)
  return (await usrmerge.run({ tree, removed: [] }, { date: 1 }, world)).tree
}

test('real packages on a merged /usr give the same cache', async (t) => {
  if (why) return t.skip(why)
  const lines = await compare('merged', await packages())
  assert.ok(lines.length > 40, String(lines.length))
})

test('missing links by soname are made alike, also where two files claim one soname', async (t) => {
  if (why) return t.skip(why)
  const tree = await packages()
  const library = 'usr/lib/x86_64-linux-gnu'
  const zlib = [...entriesOf(tree)].find(
    ({ path, inode }) => /libz\.so\.1\.\d/.test(path) && inode.type === 'file',
  )
  assert.ok(zlib)
  const bare = withoutPaths(tree, [`${library}/libz.so.1`, `${library}/libxml2.so.2`])
  const changed = withEntries(bare, [
    { ...zlib, path: `${library}/libz.so.1.10.0` },
    { ...zlib, path: `${library}/libz.so.1.9.0` },
    { ...zlib, path: 'opt/own/lib/libz.so.1.3' },
    ...entriesOf(
      await smallTree(contents, {
        'etc/ld.so.conf.d/aa.conf': '# ours\n/opt/own/lib/\n/nowhere\n',
        'etc/ld.so.conf.d/.hidden.conf': '/usr/share\n',
        'etc/ld.so.conf': 'include /etc/ld.so.conf.d/*.conf # all\n  /opt/other=libc6\n',
        'opt/other': link('own/lib'),
        'opt/own/lib/libtext.so': 'INPUT(libz.so.1)',
        'opt/own/lib/libdangling.so.1': link('nothing'),
        'opt/own/lib/plugin.so': link('libz.so.1.3'),
        'opt/own/lib/libalias.so.7': link('libz.so.1.3'),
      }),
    ),
  ])
  const lines = await compare('links', changed)
  assert.ok(lines.some((line) => line.endsWith('/opt/own/lib/libz.so.1')))
})

test('libraries in glibc-hwcaps come before the plain ones', async (t) => {
  if (why) return t.skip(why)
  const tree = await packages()
  const zlib = [...entriesOf(tree)].find(
    ({ path, inode }) => /libz\.so\.1\.\d/.test(path) && inode.type === 'file',
  )
  assert.ok(zlib)
  const library = 'usr/lib/x86_64-linux-gnu'
  const changed = withEntries(tree, [
    { ...zlib, path: `${library}/glibc-hwcaps/x86-64-v3/libz.so.1.2.13` },
    { ...zlib, path: `${library}/glibc-hwcaps/x86-64-v2/libz.so.1.2.13` },
  ])
  const lines = await compare('hwcaps', changed)
  assert.equal(lines.filter((line) => line.includes('hwcap: "x86-64-v')).length, 2)
})

test('a root without glibc is left alone', async () => {
  const tree = await smallTree(contents, { 'usr/lib/libx.so.1': 'x', 'etc/ld.so.conf': '/usr/lib\n' })
  const root = { tree, removed: [] }
  assert.equal(await ldcache.run(root, { date: 1 }, world), root)
  assert.equal(lookup(root.tree, 'etc/ld.so.cache'), undefined)
})
