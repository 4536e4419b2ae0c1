/** Scripts of real packages: all are understood, what is left unknown is what they do, and alternatives are dpkg's own. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { unpackDeb } from '../../src/repo/unpack.ts'
import { alternatives, alternativesOf } from '../../src/stage/alternatives.ts'
import { classifyScripts, type Scripted } from '../../src/stage/scripts.ts'
import { asJson } from '../../src/stage/generated.ts'
import { memoryContents } from '../../src/tree/contents.ts'
import { mergeTrees } from '../../src/tree/merge.ts'
import { entriesOf, lookup, type Tree } from '../../src/tree/tree.ts'
import { memoryBodies } from '../helpers/bodies.ts'

const NAMES = [
  'base-files',
  'base-passwd',
  'busybox-static',
  'ca-certificates',
  'dash',
  'libc6',
  'libpam-runtime',
  'linux-image-cloud-amd64',
  'mawk',
  'media-types',
  'nginx',
  'nginx-common',
  'openssl',
  'original-awk',
  'php8.2-cli',
  'php8.2-fpm',
  'procps',
  'tzdata',
  'ucf',
  'util-linux',
]

/** Packages whose scripts change files of the base in a way that no stage knows, and a word of what they do. */
const UNKNOWN: { readonly [name: string]: RegExp } = {
  'base-files': /ln -sf debian/,
  'base-passwd': /passwd\.master/,
  'ca-certificates': /ca-certificates\.conf/,
  dash: /dpkg-divert/,
  libc6: /lib64/,
  'libpam-runtime': /pam-auth-update/,
  'nginx-common': /chown root:adm/,
  tzdata: /localtime/,
  ucf: /hashfile/,
}

const directory = mkdtempSync(join(tmpdir(), 's5-scripts-'))
after(() => rmSync(directory, { recursive: true }))

async function fetched(): Promise<{ pkg: Scripted; tree: Tree }[] | undefined> {
  const options = { cwd: directory, timeout: 120_000 }
  if (spawnSync('apt-get', ['download', '-q', ...NAMES], options).status !== 0) return undefined
  const found: { pkg: Scripted; tree: Tree }[] = []
  for (const file of readdirSync(directory).sort()) {
    const name = file.split('_', 1)[0] as string
    const settings = { label: name, signal: new AbortController().signal }
    const { tree, control } = await unpackDeb(join(directory, file), memoryBodies(), settings)
    found.push({ tree, pkg: { name, label: name, version: '1', arch: 'amd64', control } })
  }
  return found
}

/** The symlinks that the real update-alternatives makes of these packages in a folder. */
function dpkgLinks(packages: readonly Scripted[], tree: Tree): { [path: string]: string } | undefined {
  const root = join(directory, 'root')
  const state = join(directory, 'state')
  const choices = join(root, 'etc/alternatives')
  for (const folder of [state, choices]) mkdirSync(folder, { recursive: true })
  for (const { path, inode } of entriesOf(tree))
    if (inode.type === 'dir') mkdirSync(join(root, path), { recursive: true })
    else {
      mkdirSync(dirname(join(root, path)), { recursive: true })
      if (inode.type === 'symlink' && !inode.target.startsWith('/'))
        symlinkSync(inode.target, join(root, path))
      else if (inode.type === 'file') writeFileSync(join(root, path), '')
    }
  for (const pkg of packages)
    for (const { link, name, path, priority, slaves } of alternativesOf(pkg)) {
      const more = slaves.flatMap((slave) => ['--slave', slave.link, slave.name, slave.path])
      const argv = [
        '--root',
        root,
        '--admindir',
        state,
        '--altdir',
        '/etc/alternatives',
        '--log',
        '/dev/null',
      ]
      const { status, error } = spawnSync('update-alternatives', [
        ...argv,
        '--install',
        ...[link, name, path, String(priority)],
        ...more,
      ])
      if (error) return undefined
      // It refuses choices that are not there; so does the stage.
      assert.ok(status === 0 || status === 2)
    }
  const links: { [path: string]: string } = {}
  for (const { slaves, ...main } of packages.flatMap((pkg) => alternativesOf(pkg)))
    for (const { link, name } of [main, ...slaves])
      for (const path of [link.slice(1), `etc/alternatives/${name}`])
        if (lstatSync(join(root, path), { throwIfNoEntry: false })?.isSymbolicLink() && !lookup(tree, path))
          links[path] = readlinkSync(join(root, path))
  return links
}

test('real scripts are understood, and alternatives are those of dpkg', async (t) => {
  const packages = await fetched()
  if (!packages) return t.skip('needs apt-get and its archive')
  const merged = mergeTrees(packages.map(({ tree }) => tree))
  for (const { pkg } of packages) {
    const { unknown } = classifyScripts(pkg, merged)
    const text = unknown.map(({ member, line, text: words }) => `${member}:${line}: ${words}`).join('\n')
    const expected = UNKNOWN[pkg.name]
    if (expected) assert.match(text, expected, pkg.name)
    else if (!pkg.name.startsWith('php')) assert.equal(text, '', pkg.name)
    assert.doesNotMatch(text, /#!/, `${pkg.name} was not understood`)
  }
  const copies = packages.flatMap(({ pkg }) => classifyScripts(pkg, merged).copies)
  assert.ok(copies.some(({ to }) => to === '/etc/php/8.2/fpm/php.ini'))

  const scripted = packages.map(({ pkg }) => pkg)
  const expected = dpkgLinks(scripted, merged)
  if (!expected) return t.skip('needs update-alternatives')
  const world = { contents: memoryContents(), signal: new AbortController().signal }
  const { tree } = await alternatives.run(
    { tree: merged, removed: [] },
    asJson({ packages: scripted, date: 0 }),
    world,
  )
  const made: { [path: string]: string } = {}
  for (const { path, owner, inode } of entriesOf(tree))
    if (owner === 'stage:alternatives' && inode.type === 'symlink') made[path] = inode.target
  assert.deepEqual(made, expected)
  assert.ok(Object.keys(made).length > 20)
  assert.equal(made['etc/alternatives/awk'], '/usr/bin/mawk')
})
