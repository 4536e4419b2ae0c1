import assert from 'node:assert/strict'
import { test } from 'node:test'
import { usrmerge } from '../../src/stage/usrmerge.ts'
import { treeOf } from '../../src/tree/tree.ts'
import { memoryContents } from '../../src/tree/contents.ts'
import { rootOf, run, runOn } from './scene.ts'

function target(inode: { type: string; target?: string } | undefined): string | undefined {
  return inode?.type === 'symlink' ? inode.target : undefined
}

test('usrmerge moves names and leaves links; lib64 only where a package brings it', async () => {
  const { text, inode, paths } = await run(usrmerge, {
    'bin/sh': 'sh',
    'lib64/ld.so': 'ld',
    'usr/bin/env': 'env',
    'lib/x/y': '',
  })
  assert.equal(await text('usr/bin/sh'), 'sh')
  assert.equal(await text('bin/sh'), 'sh')
  assert.equal(await text('lib64/ld.so'), 'ld')
  assert.deepEqual(
    ['bin', 'sbin', 'lib', 'lib64'].map((top) => target(inode(top))),
    ['usr/bin', 'usr/sbin', 'usr/lib', 'usr/lib64'],
  )
  assert.deepEqual(paths(), [
    '',
    'bin',
    'lib',
    'lib64',
    'sbin',
    'usr',
    'usr/bin',
    'usr/bin/env',
    'usr/bin/sh',
    'usr/lib',
    'usr/lib/x',
    'usr/lib/x/y',
    'usr/lib64',
    'usr/lib64/ld.so',
    'usr/sbin',
  ])
})

test('usrmerge writes relative links anew that leave the directory that moves', async () => {
  const { inode } = await run(usrmerge, {
    'lib/arch/libc.so': { link: 'libc.so.6' },
    'lib/arch/up.so': { link: '../../usr/share/x' },
    'sbin/foo': { link: '../bin/bar' },
    'sbin/abs': { link: '/bin/bar' },
    'usr/lib/back': { link: '../../lib/arch' },
    'bin/bar': 'x',
    'bin/inside': { link: './bar' },
  })
  assert.equal(target(inode('usr/lib/arch/libc.so')), 'libc.so.6')
  assert.equal(target(inode('usr/lib/arch/up.so')), '../../share/x')
  assert.equal(target(inode('usr/sbin/foo')), '../bin/bar')
  assert.equal(target(inode('usr/sbin/abs')), '/bin/bar')
  assert.equal(target(inode('usr/lib/back')), '../../lib/arch')
  assert.equal(target(inode('usr/bin/inside')), './bar')
})

test('usrmerge drops the compatibility link to the other place, whichever side has it', async () => {
  const { text } = await run(usrmerge, {
    'bin/which': { link: '/usr/bin/which' },
    'usr/bin/which': 'real',
    'bin/awk': 'awk',
    'usr/bin/awk': { link: '../../bin/awk' },
    'bin/twin': { link: 'which' },
    'usr/bin/twin': { link: 'which' },
    'bin/same': 'same',
    'usr/bin/same': 'same',
  })
  assert.equal(await text('usr/bin/which'), 'real')
  assert.equal(await text('usr/bin/awk'), 'awk')
  assert.equal(await text('usr/bin/same'), 'same')
})

test('usrmerge refuses two different files for one path and names both owners', async () => {
  await assert.rejects(
    run(usrmerge, { 'bin/x': { text: 'a', owner: 'one_1' }, 'usr/bin/x': { text: 'b', owner: 'two_2' } }),
    { code: 'S5_COLLISION', message: /\/bin\/x \(one_1\) and \/usr\/bin\/x \(two_2\) differ/ },
  )
  await assert.rejects(run(usrmerge, { 'bin/x': { link: 'a' }, 'usr/bin/x': { link: 'b' } }), {
    code: 'S5_COLLISION',
  })
  await assert.rejects(run(usrmerge, { 'bin/x': 'a', 'usr/bin/x/y': 'b' }), { code: 'S5_COLLISION' })
  await assert.rejects(run(usrmerge, { bin: 'a file' }), {
    code: 'S5_STAGE_INVALID',
    message: /\/bin is neither/,
  })
})

test('usrmerge leaves a merged root as it is, and merging twice is merging once', async () => {
  const contents = memoryContents()
  const once = await runOn(usrmerge, await rootOf(contents, { 'bin/a': 'a', 'sbin/b': 'b' }), contents)
  const twice = await runOn(usrmerge, once.root, contents)
  assert.equal(twice.root, once.root)
})

test('usrmerge keeps hard links across the move', async () => {
  const contents = memoryContents()
  const { tree } = await rootOf(contents, { 'bin/a': 'a' })
  const inode = tree.inodes[tree.names.find(({ path }) => path === 'bin/a')?.inode ?? 0]
  if (!inode) throw new Error('no inode')
  const linked = treeOf(['bin/a', 'bin/b', 'usr/bin/c'].map((path) => ({ path, owner: 'p', inode })))
  const { root } = await runOn(usrmerge, { tree: linked, removed: [] }, contents)
  const numbers = root.tree.names.filter(({ path }) => /^usr\/bin\/.$/.test(path)).map((name) => name.inode)
  assert.equal(numbers.length, 3)
  assert.equal(new Set(numbers).size, 1)
})

test('where Gentoo has one directory for programs, /sbin and /usr/sbin are /usr/bin', async () => {
  const baselayout = (iuse: string, use: string) => ({
    label: 'sys-apps/baselayout_2_b1',
    name: 'sys-apps/baselayout',
    version: '2',
    arch: 'amd64',
    scheme: 'ebuild',
    control: { IUSE: `${iuse}\n`, USE: `${use}\n` },
  })
  const root = {
    'sbin/ip': 'ip',
    'usr/sbin/nginx': 'nginx',
    'usr/sbin/tool': { link: '../bin/tool' },
    'usr/bin/tool': 'tool',
    'bin/route': { link: '../sbin/ip' },
    'usr/sbin/lib': { link: '../lib/x' },
    'usr/lib/x': 'x',
  }
  const one = await run(usrmerge, root, {}, { packages: [baselayout('build +split-usr', 'amd64')] })
  assert.deepEqual(
    ['bin', 'sbin', 'usr/sbin', 'lib'].map((top) => target(one.inode(top))),
    ['usr/bin', 'usr/bin', 'bin', 'usr/lib'],
  )
  assert.equal(await one.text('usr/bin/ip'), 'ip')
  assert.equal(await one.text('sbin/nginx'), 'nginx')
  assert.equal(await one.text('usr/sbin/tool'), 'tool')
  assert.equal(target(one.inode('usr/bin/route')), 'ip')
  assert.equal(target(one.inode('usr/bin/lib')), '../lib/x')
  const again = await runOn(
    usrmerge,
    one.root,
    one.contents,
    {},
    { packages: [baselayout('+split-usr', '')] },
  )
  assert.equal(again.root, one.root)
  for (const packages of [[baselayout('+split-usr', 'split-usr')], [baselayout('build', '')], []]) {
    const two = await run(usrmerge, root, {}, { packages })
    assert.deepEqual(
      ['sbin', 'usr/sbin'].map((top) => target(two.inode(top))),
      ['usr/sbin', undefined],
    )
  }
})
