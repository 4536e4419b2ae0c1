/** binrepos.conf as Portage reads it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseBinrepos } from '../../src/format/binrepos.ts'

const read = (...texts: readonly string[]) =>
  parseBinrepos(
    texts.map((text, at) => ({ file: `conf${at}`, text })),
    { EPREFIX: '/gentoo', ROOT: '/' },
  )

test('sections with defaults, preferred first', () => {
  const { repositories, problems } = read(
    '[DEFAULT]\nverify-signature = true\n',
    '# comment\n[gentoo]\npriority = 1\nsync-uri = https://host/x86-64/\nlocation = /var/cache/binhost/gentoo\n' +
      '[local]\npriority=9999\nsync-uri=file:///var/cache/binpkgs\nverify-signature = false\nfrozen: yes\n[alike]\nsync-uri = /srv/a\npriority = 1\n',
  )
  assert.deepEqual(problems, [])
  assert.deepEqual(repositories, [
    { name: 'local', uri: 'file:///var/cache/binpkgs', priority: 9999, verifySignature: false, frozen: true },
    { name: 'alike', uri: '/srv/a', priority: 1, verifySignature: true, frozen: false },
    { name: 'gentoo', uri: 'https://host/x86-64', priority: 1, verifySignature: true, frozen: false },
  ])
})

test('a later file changes keys of an earlier one', () => {
  const { repositories } = read(
    '[a]\nsync-uri = https://one/\npriority = 5\n',
    '[a]\nsync-uri = https://two/\n',
  )
  assert.deepEqual(
    repositories.map(({ uri, priority }) => [uri, priority]),
    [['https://two', 5]],
  )
})

test('variables are filled in, and what is unknown stays', () => {
  const { repositories } = read(
    '[a]\nsync-uri = https://host%(EPREFIX)s/%(mirror)s/100%%/%(NONE)s\nmirror = m\n',
  )
  assert.equal(repositories[0]?.uri, 'https://host/gentoo/m/100%/%(NONE)s')
})

test('what cannot be used is told', () => {
  const { repositories, problems } = read(
    'lost = 1\n[a]\n[b]\nsync-uri = ssh://host/x\n[c]\nsync-uri = https://h\npriority = high\ngetbinpkg-exclude = a/b\ncolour = red\n',
  )
  assert.deepEqual(
    repositories.map(({ name, priority }) => [name, priority]),
    [['c', 0]],
  )
  assert.deepEqual(problems, [
    'conf0:1: neither [section] nor key = value',
    '[a]: no sync-uri',
    '[b]: cannot fetch from ssh://host/x',
    '[c]: the priority high is not a number',
    '[c]: getbinpkg-exclude is not used',
    '[c]: unknown key colour',
  ])
})

test('# begins a comment only at the start of a line, and indented lines go on', () => {
  const { repositories } = read('[a]\nsync-uri = https://host/#x\n[b]\nsync-uri =\n  https://other\n')
  assert.deepEqual(
    repositories.map(({ uri }) => uri),
    ['https://host/#x', 'https://other'],
  )
})
