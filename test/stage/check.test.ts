/** The proof after stripping: one test for each kind of finding, and its twin that is fine. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { check, type Finding, findProblems } from '../../src/stage/check.ts'
import { memoryContents } from '../../src/tree/contents.ts'
import type { Removed } from '../../src/tree/root.ts'
import { type ElfParts, makeElf } from '../helpers/make-elf.ts'
import { dir, type Leaf, link, program, smallTree } from '../helpers/small-tree.ts'

const elf = (parts: ElfParts): Leaf => program(makeElf(parts))
const library = (parts: ElfParts): Leaf => program(makeElf(parts), 0o644)
const app = (parts: ElfParts = {}): Leaf => elf({ interpreter: '/lib64/ld-linux-x86-64.so.2', ...parts })

/** A root with a glibc: its loader, which looks in /lib and /usr/lib, and libc. */
const GLIBC: { readonly [path: string]: Leaf } = {
  lib: link('usr/lib'),
  lib64: link('usr/lib64'),
  'usr/lib64/ld-linux-x86-64.so.2': elf({
    soname: 'ld-linux-x86-64.so.2',
    sections: { '.rodata': Buffer.from('x\0/lib/\0/usr/lib/\0y\0') },
  }),
  'usr/lib/libc.so.6': library({ soname: 'libc.so.6' }),
}

interface Case {
  readonly removed?: readonly Removed[]
}

async function problems(
  leaves: { readonly [path: string]: Leaf },
  { removed = [] }: Case = {},
): Promise<readonly Finding[]> {
  const contents = memoryContents()
  const tree = await smallTree(contents, { ...GLIBC, ...leaves })
  return findProblems({ tree, removed }, contents)
}

async function short(leaves: { readonly [path: string]: Leaf }): Promise<string[]> {
  return (await problems(leaves)).map(({ path, problem, needs }) => `${path}: ${problem} ${needs}`)
}

const gone = (path: string, rule: string, target?: string): Removed => ({
  path,
  owner: 'pkg_1',
  rule,
  size: 1,
  ...(target === undefined ? {} : { target }),
})

test('a library is found in the directories of the loader, of ld.so.conf and of RUNPATH', async () => {
  assert.deepEqual(
    await short({
      'etc/ld.so.conf': 'include conf.d/*.conf\n',
      'etc/conf.d/a.conf': '/opt/conf # ours\n',
      'usr/bin/a': app({
        needed: ['libc.so.6', 'libconf.so.1', 'libown.so.1', 'libplain.so.1'],
        runpath: '$ORIGIN/../own',
      }),
      'opt/conf/libconf.so.1': library({ soname: 'libconf.so.1' }),
      'usr/own/libown.so.1': library({ soname: 'libown.so.1' }),
      'usr/lib/libplain.so.1': link('libplain.so.1.5'),
      'usr/lib/libplain.so.1.5': library({ soname: 'libplain.so.1' }),
    }),
    [],
  )
})

test('a missing library is found out and the rule that took it is named', async () => {
  const leaves = {
    'usr/bin/a': app({ needed: ['libz.so.1'] }),
    'usr/lib/b.so': library({ needed: ['liby.so.2'] }),
  }
  assert.deepEqual(
    await problems(leaves, { removed: [gone('usr/lib/libz.so.1', 'static', 'libz.so.1.2')] }),
    [
      { path: 'usr/bin/a', owner: 'pkg_1', problem: 'library', needs: 'libz.so.1', removedBy: 'static' },
      { path: 'usr/lib/b.so', owner: 'pkg_1', problem: 'library', needs: 'liby.so.2' },
    ],
  )
})

test('a library whose link stayed and whose file went is missing', async () => {
  const found = await problems(
    { 'usr/bin/a': app({ needed: ['libz.so.1'] }), 'usr/lib/libz.so.1': link('libz.so.1.2') },
    { removed: [gone('usr/lib/libz.so.1.2', 'profile')] },
  )
  assert.deepEqual(
    found.map(({ path, problem, removedBy }) => [path, problem, removedBy]),
    [
      ['usr/bin/a', 'library', 'profile'],
      ['usr/lib/libz.so.1', 'symlink', 'profile'],
    ],
  )
})

test('a library of another architecture or class does not count', async () => {
  const leaves = (parts: ElfParts): { readonly [path: string]: Leaf } => ({
    'usr/bin/a': app({ needed: ['libz.so.1'] }),
    'usr/lib/libz.so.1': library({ soname: 'libz.so.1', ...parts }),
  })
  assert.deepEqual(await short(leaves({})), [])
  assert.deepEqual(await short(leaves({ machine: 183 })), ['usr/bin/a: library libz.so.1'])
  assert.deepEqual(await short(leaves({ bits: 32 })), ['usr/bin/a: library libz.so.1'])
})

test('RPATH counts only without RUNPATH, and is handed down to libraries; RUNPATH is not', async () => {
  const leaves = (parts: ElfParts, own: ElfParts = {}): { readonly [path: string]: Leaf } => ({
    'opt/x/bin/a': app({ needed: ['libone.so'], ...parts }),
    'opt/x/lib/libone.so': library({ soname: 'libone.so', needed: ['libtwo.so'], ...own }),
    'opt/x/lib/libtwo.so': library({ soname: 'libtwo.so' }),
  })
  assert.deepEqual(await short(leaves({ rpath: '$ORIGIN/../lib' })), [])
  assert.deepEqual(await short(leaves({ runpath: '$ORIGIN/../lib' })), [
    'opt/x/lib/libone.so: library libtwo.so',
  ])
  assert.deepEqual(await short(leaves({ runpath: '${ORIGIN}/../lib' }, { runpath: '/opt/x/lib' })), [])
  assert.deepEqual(await short(leaves({ rpath: '/opt/x/lib', runpath: '/nowhere' })), [
    'opt/x/bin/a: library libone.so',
    'opt/x/lib/libone.so: library libtwo.so',
  ])
  // what the program itself needs and finds is loaded when its library asks for it
  assert.deepEqual(await short(leaves({ needed: ['libone.so', 'libtwo.so'], runpath: '/opt/x/lib' })), [])
})

test('a plugin may rely on what the program that opens it has loaded', async () => {
  const leaves = {
    'opt/x/bin/a': app({ needed: ['libapp.so'], runpath: '$ORIGIN/../lib' }),
    'opt/x/lib/libapp.so': library({ soname: 'libapp.so' }),
    'opt/x/plugins/p.so': library({ needed: ['libapp.so'] }),
    'opt/x/plugins/q.so': library({ needed: ['libother.so'] }),
  }
  assert.deepEqual(await short(leaves), ['opt/x/plugins/q.so: library libother.so'])
})

test('a plugin may rely on what its own package brings, a program may not', async () => {
  const leaves = (parts: ElfParts): { readonly [path: string]: Leaf } => ({
    'opt/java/lib/libawt.so': library({ soname: 'libawt.so', needed: ['libjvm.so'], ...parts }),
    'opt/java/lib/server/libjvm.so': library({ soname: 'libjvm.so' }),
  })
  assert.deepEqual(await short(leaves({})), [])
  assert.deepEqual(await short(leaves({ interpreter: '/lib64/ld-linux-x86-64.so.2' })), [
    'opt/java/lib/libawt.so: library libjvm.so',
  ])
})

test('$ORIGIN counts in the name of a library, too', async () => {
  const leaves = { 'opt/x/bin/a': app({ needed: ['$ORIGIN/../lib/b.so', '${ORIGIN}/../lib/c.so'] }) }
  assert.deepEqual(await short({ ...leaves, 'opt/x/lib/b.so': library({ soname: 'b.so' }) }), [
    'opt/x/bin/a: library ${ORIGIN}/../lib/c.so',
  ])
})

test('the loader of a program must be there and of its architecture', async () => {
  assert.deepEqual(
    await short({
      'usr/bin/a': elf({ interpreter: '/lib/ld-musl-x86_64.so.1' }),
      'usr/bin/b': elf({ interpreter: '/lib64/ld-linux-x86-64.so.2', machine: 183 }),
      'usr/bin/c': app(),
    }),
    ['usr/bin/a: interpreter /lib/ld-musl-x86_64.so.1', 'usr/bin/b: interpreter /lib64/ld-linux-x86-64.so.2'],
  )
})

test('libraries that are opened at run time count unless they are only suggested', async () => {
  const note = (priority: string): Leaf =>
    library({
      soname: 'libx.so',
      notes: [
        {
          owner: 'FDO',
          type: 0x407c0c0a,
          body: Buffer.from(JSON.stringify([{ priority, soname: ['libone.so.1', 'libone.so.0'] }])),
        },
      ],
    })
  assert.deepEqual(await short({ 'usr/lib/x.so': note('suggested') }), [])
  assert.deepEqual(await short({ 'usr/lib/x.so': note('recommended') }), [
    'usr/lib/x.so: library libone.so.1',
  ])
  assert.deepEqual(
    await short({
      'usr/lib/x.so': note('required'),
      'usr/lib/libone.so.0': library({ soname: 'libone.so.0' }),
    }),
    [],
  )
})

test('a program with threads needs libgcc_s, which nothing says', async () => {
  const threaded = { 'usr/bin/a': app({ needed: ['libc.so.6'], symbols: ['pthread_exit'] }) }
  assert.deepEqual(await short(threaded), ['usr/bin/a: unwinder libgcc_s.so.1'])
  assert.deepEqual(
    await short({ ...threaded, 'usr/lib/libgcc_s.so.1': library({ soname: 'libgcc_s.so.1' }) }),
    [],
  )
  assert.deepEqual(await short({ 'usr/bin/a': app({ needed: ['libc.so.6'], symbols: ['printf'] }) }), [])
})

test('scripts need their interpreter, also the one that env looks for', async () => {
  assert.deepEqual(
    await short({
      'usr/bin/sh': program('ELF'),
      'usr/bin/env': program('ELF'),
      'usr/bin/a': program('#!/usr/bin/sh\n'),
      'usr/bin/b': program('#!/usr/bin/perl\n'),
      'usr/bin/c': program('#!/usr/bin/env -S perl -w\n'),
      'usr/share/d': '#!/usr/bin/perl\n',
    }),
    ['usr/bin/b: script /usr/bin/perl', 'usr/bin/c: script perl'],
  )
})

test('symlinks lead somewhere, but for those that are filled at run time or dangle everywhere', async () => {
  assert.deepEqual(
    await short({
      'etc/mtab': link('../proc/self/mounts'),
      'var/run': link('/run'),
      'var/x.pid': link('run/x.pid'),
      'etc/dev': link('/dev/null'),
      'usr/lib/modules/6.1/build': link('/usr/src/linux'),
      'etc/gone': link('/etc/nothing/here'),
      'etc/loop': link('loop'),
      'etc/fine': link('mtab/../../etc'),
      'etc/good': link('/usr'),
    }),
    ['etc/gone: symlink /etc/nothing', 'etc/loop: symlink loop'],
  )
})

test('one name in /bin and in /usr/bin is a double unless one leads to the other', async () => {
  assert.deepEqual(
    await short({
      'bin/a': 'one',
      'usr/bin/a': 'two',
      'bin/b': 'one',
      'usr/bin/b': link('../../bin/b'),
      'sbin/c': 'one',
    }),
    ['bin/a: double /usr/bin/a'],
  )
})

test('shells of passwd exist, those that refuse a login need not', async () => {
  assert.deepEqual(
    await short({
      'etc/passwd': [
        'root:x:0:0:root:/root:/bin/bash',
        'a:x:1:1::/:/usr/sbin/nologin',
        'b:x:2:2::/:/bin/ash',
        'c:x:3:3::/:',
        '',
      ].join('\n'),
      'bin/ash': program('ELF'),
    }),
    ['etc/passwd: shell /bin/bash', 'etc/passwd: shell /bin/sh'],
  )
})

test('what everybody may write needs the sticky bit', async () => {
  assert.deepEqual(
    await short({
      tmp: dir(0o1777),
      'var/open': dir(0o777),
      'etc/x': program('', 0o666),
      'etc/y': link('x'),
    }),
    ['etc/x: world-writable ', 'var/open: world-writable '],
  )
})

test('the stage names owner, need and rule, shows twenty and keeps all as data', async () => {
  const contents = memoryContents()
  const leaves: { [path: string]: Leaf } = {}
  for (let at = 10; at < 40; at++) leaves[`usr/bin/a${at}`] = program('#!/usr/bin/perl\n')
  const tree = await smallTree(contents, leaves, 'tools_1.0')
  const removed = [gone('usr/bin/perl', 'perl')]
  const world = { contents, signal: new AbortController().signal }
  const run = (allow: readonly string[]): Promise<unknown> => check.run({ tree, removed }, { allow }, world)
  await assert.rejects(run(['/usr/bin/a1?', '/opt']), (error) => {
    assert.ok(isStage5Error(error, 'S5_CHECK_FAILED'))
    const lines = error.message.split('\n')
    assert.equal(lines.length, 21)
    assert.equal(lines[1], '  /usr/bin/a20 (tools_1.0) is a script for /usr/bin/perl, removed by perl')
    assert.equal((error.data['findings'] as readonly unknown[]).length, 20)
    assert.deepEqual(error.data['unusedAllows'], ['/opt'])
    return true
  })
  await assert.rejects(run([]), /30 files of the root[^]* {2}and 10 more$/)
  const root = { tree, removed }
  assert.equal(await check.run(root, { allow: ['a*'] }, world), root)
})
