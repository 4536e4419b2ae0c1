/** Strip classes: what goes, what stays, and what is written down about it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import type { Facts } from '../../src/stage/facts.ts'
import { strip, type StripClass } from '../../src/stage/strip.ts'
import { memoryContents } from '../../src/tree/contents.ts'
import type { Root } from '../../src/tree/root.ts'
import type { Tree } from '../../src/tree/tree.ts'
import { makeElf } from '../helpers/make-elf.ts'
import { dir, type Leaf, link, program, smallTree } from '../helpers/small-tree.ts'

interface Wanted {
  readonly classes?: { readonly [name: string]: StripClass }
  readonly names?: readonly string[]
  readonly keep?: readonly string[]
  readonly drop?: readonly string[]
  readonly timezone?: string
}

async function stripped(
  leaves: { readonly [path: string]: Leaf },
  wanted: Wanted,
  change: (tree: Tree) => Tree = (tree) => tree,
): Promise<Root> {
  const contents = memoryContents()
  const tree = change(await smallTree(contents, leaves))
  const classes = wanted.classes ?? {}
  const facts = {
    profile: {
      strip: {
        classes: wanted.names ?? Object.keys(classes),
        keep: wanted.keep ?? [],
        drop: wanted.drop ?? [],
      },
      timezone: wanted.timezone ?? 'UTC',
      units: [],
      runlevels: {},
    },
    stripClasses: classes,
  } as unknown as Facts
  return strip.run({ tree, removed: [] }, strip.pick(facts), {
    contents,
    signal: new AbortController().signal,
  })
}

/** Names that are left, without the directories above others. */
function left({ tree }: Root): string[] {
  const paths = tree.names.map(({ path }) => path)
  return paths.filter((path) => path !== '' && !paths.some((other) => other.startsWith(`${path}/`)))
}

function gone({ removed }: Root): string[] {
  return removed.map(({ path, rule }) => `${rule}: ${path}`)
}

test('a class takes what its globs name, but not what it or the profile keeps', async () => {
  const root = await stripped(
    {
      'usr/share/doc/a/copyright': 'c',
      'usr/share/doc/a/README': 'readme',
      'usr/share/doc/b/README': 'b',
      'usr/share/doc/c/NEWS': 'c',
      'usr/bin/a': 'a',
    },
    {
      classes: { doc: { remove: ['/usr/share/doc'], keep: ['/usr/share/doc/**/copyright'], note: 'n' } },
      keep: ['/usr/share/doc/c'],
    },
  )
  assert.deepEqual(left(root), ['usr/bin/a', 'usr/share/doc/a/copyright', 'usr/share/doc/c/NEWS'])
  assert.deepEqual(root.removed, [
    { path: 'usr/share/doc/a/README', owner: 'pkg_1', rule: 'doc', size: 6 },
    { path: 'usr/share/doc/b', owner: 'pkg_1', rule: 'doc', size: 0 },
    { path: 'usr/share/doc/b/README', owner: 'pkg_1', rule: 'doc', size: 1 },
  ])
})

test('the first class that matches is the one on record, drop counts as class profile', async () => {
  const root = await stripped(
    { 'a/x.a': '1', 'a/x.h': '2', 'a/x.c': '3', 'a/x.d': '4' },
    { classes: { one: { remove: ['*.a'] }, two: { remove: ['*.a', '*.h'] } }, drop: ['*.c'] },
  )
  assert.deepEqual(gone(root), ['one: a/x.a', 'two: a/x.h', 'profile: a/x.c'])
  assert.deepEqual(left(root), ['a/x.d'])
})

test('only and symlinks narrow a class to kinds of names', async () => {
  const leaves = { 'a/x': 'file', 'a/y': link('x') }
  const rest = async (rules: StripClass): Promise<string[]> =>
    left(await stripped(leaves, { classes: { c: rules } }))
  assert.deepEqual(await rest({ remove: ['/a'], only: 'symlink' }), ['a/x'])
  assert.deepEqual(await rest({ remove: ['/a'], only: 'file' }), ['a/y'])
  assert.deepEqual(await rest({ remove: ['/a'], symlinks: false }), ['a/y'])
  assert.deepEqual(await rest({ remove: ['/a'], only: 'any' }), [])
})

test('directories go with the class that emptied them; mount points, /var and what was empty before stay', async () => {
  const root = await stripped(
    {
      'opt/x/y/z.h': 'z',
      'opt/empty': dir(),
      'srv/a.h': 'a',
      'tmp/b.h': 'b',
      'var/lib/app/c.h': 'c',
      'var/lib/named/d': 'd',
      'usr/include': dir(),
    },
    { classes: { headers: { remove: ['*.h', '/usr/include', '/var/lib/named'] } } },
  )
  assert.deepEqual(left(root), ['opt/empty', 'srv', 'tmp', 'usr', 'var/lib/app'])
  assert.deepEqual(gone(root), [
    'headers: opt/x',
    'headers: opt/x/y',
    'headers: opt/x/y/z.h',
    'headers: srv/a.h',
    'headers: tmp/b.h',
    'headers: usr/include',
    'headers: var/lib/app/c.h',
    'headers: var/lib/named',
    'headers: var/lib/named/d',
  ])
})

test('what a kept symlink points to is kept, link by link', async () => {
  const root = await stripped(
    {
      'usr/share/terminfo/x/xterm': link('../y/mid'),
      'usr/share/terminfo/y/mid': link('/usr/share/terminfo/z/end'),
      'usr/share/terminfo/z/end': 'e',
      'usr/share/terminfo/z/other': 'o',
    },
    { classes: { terminfo: { remove: ['/usr/share/terminfo'], keep: ['xterm'] } } },
  )
  assert.deepEqual(left(root), [
    'usr/share/terminfo/x/xterm',
    'usr/share/terminfo/y/mid',
    'usr/share/terminfo/z/end',
  ])
})

test('hard links lose names one by one', async () => {
  const root = await stripped(
    { 'a/x.h': 'same', 'a/y': 'other' },
    { classes: { h: { remove: ['*.h'] } } },
    (tree) => ({
      inodes: tree.inodes,
      names: tree.names.map((name) =>
        name.path === 'a/y'
          ? { ...name, inode: tree.names.find(({ path }) => path === 'a/x.h')?.inode ?? -1 }
          : name,
      ),
    }),
  )
  assert.deepEqual(left(root), ['a/y'])
  assert.equal(root.tree.inodes.filter(({ type }) => type === 'file').length, 1)
})

test('files of the profile are not taken by a class', async () => {
  const own = (tree: Tree): Tree => ({
    inodes: tree.inodes,
    names: tree.names.map((name) => ({ ...name, owner: 'stage:files' })),
  })
  const root = await stripped({ 'usr/include/x.h': 'x' }, { classes: { h: { remove: ['*.h'] } } }, own)
  assert.deepEqual(left(root), ['usr/include/x.h'])
})

const DEVLINKS: StripClass = { remove: ['/usr/lib*/lib*.so'], computed: 'devlinks' }

test('devlinks takes links that nothing names and linker scripts, never a library', async () => {
  const elf = (parts: Parameters<typeof makeElf>[0]): Leaf => program(makeElf(parts), 0o644)
  const root = await stripped(
    {
      'usr/lib/libz.so': link('libz.so.1.2'),
      'usr/lib/libz.so.1.2': elf({ soname: 'libz.so.1' }),
      'usr/lib/libelf-0.188.so': elf({ soname: 'libelf.so.1' }),
      'usr/lib/libelf.so.1': link('libelf-0.188.so'),
      'usr/lib/libown.so': link('libown.so.3.1'),
      'usr/lib/libown.so.3.1': elf({ soname: 'libown.so' }),
      'usr/lib/libneeded.so': link('libneeded.so.2'),
      'usr/lib/libneeded.so.2': elf({ soname: 'libneeded.so.2' }),
      'usr/lib/libopened.so': link('libopened.so.4'),
      'usr/lib/libopened.so.4': elf({ soname: 'libopened.so.4' }),
      'usr/lib/libc.so': '/* GNU ld script */\nGROUP ( /lib/libc.so.6 )\n',
      'usr/lib/libtext.so': 'not for the linker',
      'usr/bin/app': program(
        makeElf({ needed: ['libneeded.so'], sections: { '.rodata': Buffer.from('x\0/opt/libopened.so\0') } }),
      ),
    },
    { classes: { devlinks: DEVLINKS } },
  )
  assert.deepEqual(gone(root), ['devlinks: usr/lib/libc.so', 'devlinks: usr/lib/libz.so'])
})

test('zoneinfo keeps UTC and the zone of the profile with what they are links to', async () => {
  const root = await stripped(
    {
      'usr/share/zoneinfo/UTC': link('Etc/UTC'),
      'usr/share/zoneinfo/Etc/UTC': 'utc',
      'usr/share/zoneinfo/Etc/GMT': 'gmt',
      'usr/share/zoneinfo/Europe/Oslo': link('Berlin'),
      'usr/share/zoneinfo/Europe/Berlin': 'berlin',
      'usr/share/zoneinfo/Europe/Paris': 'paris',
    },
    {
      classes: { zoneinfo: { remove: ['/usr/share/zoneinfo'], computed: 'zoneinfo' } },
      timezone: 'Europe/Oslo',
    },
  )
  assert.deepEqual(
    gone(root).map((line) => line.replace('zoneinfo: usr/share/zoneinfo/', '')),
    ['Etc/GMT', 'Europe/Paris'],
  )
})

test('interpreter-orphans sees what other classes took, and scripts of scripts', async () => {
  const root = await stripped(
    {
      'bin/sh': program('ELF'),
      'usr/bin/perl': program('ELF'),
      'usr/bin/env': program('ELF'),
      'usr/bin/one': program('#!/usr/bin/perl\n'),
      'usr/bin/two': program('#!/usr/bin/one -x\n'),
      'usr/bin/three': program('#!/bin/sh\n'),
      'usr/bin/four': program('#! /usr/bin/env -S A=1 perl -w\n'),
      'usr/bin/five': program('#!/usr/bin/env sh\n'),
      'usr/share/text': '#!/usr/bin/perl\n',
    },
    {
      classes: {
        'interpreter-orphans': { computed: 'interpreter-orphans' },
        perl: { remove: ['/usr/bin/perl'] },
      },
    },
  )
  assert.deepEqual(gone(root), [
    'perl: usr/bin/perl',
    'interpreter-orphans: usr/bin/four',
    'interpreter-orphans: usr/bin/one',
    'interpreter-orphans: usr/bin/two',
  ])
})

test('link-orphans takes links whose target another class took, not those that never led anywhere', async () => {
  const root = await stripped(
    {
      'etc/alternatives/awk.1': link('/usr/share/man/man1/mawk.1'),
      'etc/alternatives/awk': link('/usr/bin/mawk'),
      'etc/alternatives/old': link('/usr/bin/old'),
      'usr/share/man/man1/mawk.1': 'man',
      'usr/share/x/awk.1': link('/etc/alternatives/awk.1'),
      'usr/bin/mawk': program('ELF'),
      'usr/bin/page': link('../share/man/man1/mawk.1'),
    },
    {
      classes: {
        man: { remove: ['/usr/share/man'] },
        'link-orphans': { remove: ['/etc/alternatives', '/usr/share'], computed: 'link-orphans' },
      },
    },
  )
  assert.deepEqual(
    gone(root).filter((line) => line.startsWith('link')),
    ['link-orphans: etc/alternatives/awk.1', 'link-orphans: usr/share/x', 'link-orphans: usr/share/x/awk.1'],
  )
  assert.equal(left(root).includes('usr/bin/page'), true)
})

test('an unknown class is an error with the nearest name', async () => {
  await assert.rejects(
    stripped({ a: 'a' }, { classes: { headers: { remove: ['*.h'] } }, names: ['header'] }),
    (error) =>
      isStage5Error(error, 'S5_STAGE_INVALID') &&
      /unknown class header, did you mean headers/.test(error.message),
  )
})

test('an unknown rule of a class is an error with the nearest name', async () => {
  await assert.rejects(
    stripped({ a: 'a' }, { classes: { dev: { computed: 'devlink' } } }),
    (error) => isStage5Error(error, 'S5_STAGE_INVALID') && /did you mean devlinks/.test(error.message),
  )
})

test('a class without globs takes nothing, a computed one looks at everything', async () => {
  const leaves = { 'usr/bin/a': program('#!/usr/bin/perl\n'), b: 'b' }
  assert.deepEqual(
    left(await stripped(leaves, { classes: { none: { remove: [], keep: ['x'] }, bare: {} } })),
    ['b', 'usr/bin/a'],
  )
  const orphans: StripClass = { remove: [], keep: [], computed: 'interpreter-orphans' }
  assert.deepEqual(left(await stripped(leaves, { classes: { orphans } })), ['b', 'usr/bin'])
})

test('the memo key does not hold notes, nor classes that are not asked for', () => {
  const facts = (note: string): Facts =>
    ({
      profile: { strip: { classes: ['a'], keep: [], drop: [] }, timezone: 'UTC', units: [], runlevels: {} },
      stripClasses: { a: { remove: ['x'], note }, b: { remove: [note] } },
    }) as unknown as Facts
  assert.equal(JSON.stringify(strip.pick(facts('one'))), JSON.stringify(strip.pick(facts('two'))))
})
