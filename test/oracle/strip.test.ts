/** Strip, ld.so.cache and the check on real packages: nothing breaks that works, and what breaks is told. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import type { Json } from '../../src/base/json.ts'
import { loadStripClasses } from '../../src/resolve/load-profile.ts'
import { check, findProblems } from '../../src/stage/check.ts'
import type { Facts } from '../../src/stage/facts.ts'
import { ldcache } from '../../src/stage/ldcache.ts'
import { strip } from '../../src/stage/strip.ts'
import { usrmerge } from '../../src/stage/usrmerge.ts'
import { memoryContents } from '../../src/tree/contents.ts'
import type { Root } from '../../src/tree/root.ts'
import { lookup } from '../../src/tree/tree.ts'
import { debTree, fetchDebs } from '../helpers/debs.ts'
import { writeDiskTree } from '../helpers/disk-tree.ts'

const NGINX = [
  'nginx',
  'nginx-common',
  'libc6',
  'libcrypt1',
  'libpcre2-8-0',
  'libssl3',
  'zlib1g',
  'libgcc-s1',
].concat(['dash', 'coreutils', 'libacl1', 'libattr1', 'libgmp10', 'libselinux1', 'base-files'])
const TRAPS = [
  'libelf1',
  'libelf-dev',
  'libpam-modules',
  'libgcc-12-dev',
  'libpython3.11-stdlib',
  'zlib1g-dev',
]

const contents = memoryContents()
const world = { contents, signal: new AbortController().signal }
let scratch: string
let why: string | undefined
let classes: { readonly [name: string]: Json }
before(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'stage5-strip-'))
  why = fetchDebs(scratch, [...NGINX, ...TRAPS])
  classes = await loadStripClasses({
    read: async (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url)),
    list: async () => [],
  } as never)
})
after(() => rmSync(scratch, { recursive: true, force: true }))

async function merged(names: readonly string[]): Promise<Root> {
  const tree = await debTree(scratch, names, contents)
  return usrmerge.run({ tree, removed: [] }, { date: 1 }, world)
}

function stripped(root: Root, names: readonly string[], drop: readonly string[] = []): Promise<Root> {
  const facts = {
    profile: { strip: { classes: names, keep: [], drop }, timezone: 'UTC', units: [], runlevels: {} },
    stripClasses: classes,
  } as unknown as Facts
  return strip.run(root, strip.pick(facts), world)
}

/** All classes that a guest with a shell and without an init of its own can take. */
function everything(): string[] {
  return Object.keys(classes).filter((name) => !['openrc', 'glibc-tools'].includes(name))
}

test('nginx survives every class, and runs where it was stripped', async (t) => {
  if (why) return t.skip(why)
  const root = await stripped(await merged(NGINX), everything())
  assert.ok(root.removed.length > 300, String(root.removed.length))
  const ready = await ldcache.run(root, { date: 1 }, world)
  const problems = await findProblems(ready, contents)
  assert.deepEqual(
    problems.filter(({ problem }) => problem !== 'symlink' && problem !== 'shell'),
    [],
  )
  assert.ok(lookup(ready.tree, 'usr/share/doc/nginx/copyright'))
  if (process.getuid?.() !== 0) return t.skip('needs root (chroot)')
  const folder = join(scratch, 'nginx-root')
  await writeDiskTree(ready.tree, contents, folder)
  const version = execFileSync('chroot', [folder, '/usr/sbin/nginx', '-V'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  assert.equal(version.length, 0)
})

test('a library that is dropped is missed by name, owner and rule', async (t) => {
  if (why) return t.skip(why)
  const root = await stripped(await merged(NGINX), ['doc', 'man'], ['libpcre2-8.so*'])
  const ready = await ldcache.run(root, { date: 1 }, world)
  await assert.rejects(check.run(ready, { allow: [] }, world), (error) => {
    assert.ok(isStage5Error(error, 'S5_CHECK_FAILED'))
    assert.match(
      error.message,
      /^ {2}\/usr\/sbin\/nginx \(nginx\) needs the library libpcre2-8\.so\.0, removed by profile$/m,
    )
    return true
  })
})

test('libgcc_s is missed although no file is linked with it', async (t) => {
  if (why) return t.skip(why)
  const without = NGINX.filter((name) => name !== 'libgcc-s1')
  const problems = await findProblems(await merged(without), contents)
  assert.deepEqual(
    problems.filter(({ needs }) => needs === 'libgcc_s.so.1').map(({ problem }) => problem),
    ['unwinder'],
  )
})

test('libraries whose file name has no version, plugins and the C++ runtime are no development files', async (t) => {
  if (why) return t.skip(why)
  const names = ['libc6', 'libgcc-s1', 'zlib1g', ...TRAPS]
  const root = await stripped(await merged(names), ['headers', 'static', 'devlinks', 'pkgconfig'])
  const paths = root.tree.names.map(({ path }) => path)
  const library = 'usr/lib/x86_64-linux-gnu'
  assert.ok(paths.includes(`${library}/libelf-0.188.so`))
  assert.ok(paths.includes(`${library}/security/pam_unix.so`))
  assert.ok(paths.some((path) => /python3\.11\/lib-dynload\/.*\.so$/.test(path)))
  assert.ok(paths.includes(`${library}/libgcc_s.so.1`))
  for (const gone of ['libelf.so', 'libz.so', 'libz.a'])
    assert.ok(!paths.includes(`${library}/${gone}`), gone)
  assert.ok(!paths.some((path) => path.startsWith('usr/lib/gcc/') && path.endsWith('.h')))
  assert.ok(!paths.some((path) => path.startsWith('usr/include/')))
  const devlinks = root.removed.filter(({ rule, size }) => rule === 'devlinks' && size > 4096)
  assert.deepEqual(devlinks, [])
})
