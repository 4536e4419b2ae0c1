import assert from 'node:assert/strict'
import { test } from 'node:test'
import { appletsOf } from '../../src/stage/applets.ts'
import { busybox } from '../../src/stage/busybox.ts'
import { utf8 } from '../../src/stage/generated.ts'
import { run } from './scene.ts'

const NAMES = [
  '[',
  'ash',
  'awk',
  'busybox',
  'cat',
  'chroot',
  'env',
  'ifconfig',
  'init',
  'linuxrc',
  'sh',
  'zcat',
]
const PLACES = [
  'usr/bin',
  'bin',
  'usr/bin',
  'bin',
  'bin',
  'usr/sbin',
  'usr/bin',
  'sbin',
  'sbin',
  '',
  'bin',
  'bin',
]
const CODES = ['', 'bin', 'sbin', 'usr/bin', 'usr/sbin']

/** A file with the two tables of busybox in it, and words around that could be taken for part of them. */
function binary(places = true): Uint8Array {
  const codes = PLACES.map((place) => CODES.indexOf(place))
  const table = Array.from(
    { length: codes.length / 2 },
    (_, at) => (codes[2 * at] ?? 0) | ((codes[2 * at + 1] ?? 0) << 4),
  )
  return Buffer.concat([
    Buffer.from('\x7fELF junk\0usage: busybox\0busybox\0'),
    Buffer.from(places ? table : []),
    Buffer.from('\0\0\0'),
    utf8(`${NAMES.join('\0')}\0Zebra\0more text`),
  ])
}

test('appletsOf reads names and places', () => {
  assert.deepEqual(
    appletsOf(binary()),
    NAMES.map((name, at) => ({ name, folder: PLACES[at] })),
  )
})

test('appletsOf puts everything into usr/bin when the table of places is not there', () => {
  assert.deepEqual(new Set(appletsOf(binary(false)).map(({ folder }) => folder)), new Set(['usr/bin']))
})

test('appletsOf finds nothing in other files, cut ones, or none', () => {
  assert.deepEqual(appletsOf(utf8('#!/bin/sh\necho busybox\n')), [])
  assert.deepEqual(appletsOf(utf8('\0busybox\0')), [])
  assert.deepEqual(appletsOf(new Uint8Array()), [])
  for (let size = 0; size < binary().length; size++) appletsOf(binary().subarray(0, size))
})

test('links are made for what no package brings, wherever it lies', async () => {
  const { inode, paths } = await run(busybox, {
    'usr/bin/busybox': binary(),
    bin: { link: 'usr/bin' },
    sbin: { link: 'usr/sbin' },
    'usr/sbin': {},
    'usr/bin/cat': 'coreutils',
    'usr/sbin/awk': 'odd place',
  })
  const target = (path: string): string | undefined => {
    const found = inode(path)
    return found?.type === 'symlink' ? found.target : undefined
  }
  assert.deepEqual(
    [target('usr/bin/sh'), target('usr/sbin/init'), target('usr/sbin/chroot')],
    ['busybox', '../bin/busybox', '../bin/busybox'],
  )
  assert.deepEqual(
    paths().filter((path) => /(cat|awk|linuxrc)$/.test(path)),
    ['usr/bin/cat', 'usr/bin/zcat', 'usr/sbin/awk'],
  )
})

test('links of a root that is not merged lie where busybox --install puts them', async () => {
  const { inode } = await run(busybox, { 'bin/busybox': binary() })
  const found = inode('usr/sbin/chroot')
  assert.equal(found?.type === 'symlink' && found.target, '../../bin/busybox')
  assert.equal(inode('sbin/init')?.type, 'symlink')
})

test('a root without busybox stays the same', async () => {
  assert.deepEqual((await run(busybox, { 'bin/sh': 'dash' })).paths(), ['', 'bin', 'bin/sh'])
})
