/** binrepos.conf as Portage reads it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { binhostsOfVariable, parseBinrepos } from '../../src/format/binrepos.ts'

const ALL = { include: [], exclude: [] }

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
    {
      name: 'local',
      uri: 'file:///var/cache/binpkgs',
      priority: 9999,
      verifySignature: false,
      frozen: true,
      ...ALL,
    },
    { name: 'alike', uri: '/srv/a', priority: 1, verifySignature: true, frozen: false, ...ALL },
    { name: 'gentoo', uri: 'https://host/x86-64', priority: 1, verifySignature: true, frozen: false, ...ALL },
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
    'lost = 1\n[a]\n[b]\nsync-uri = ssh://host/x\n[c]\nsync-uri = https://h\npriority = high\ncolour = red\n',
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

test('atoms limit what is taken of a binhost; one in both lists is in neither', () => {
  const { repositories, problems } = read(
    '[a]\nsync-uri = https://h\ngetbinpkg-include = dev-lang/php sys-libs/*\n  app/x\ngetbinpkg-exclude = app/x app/y:0\n',
  )
  assert.deepEqual(repositories[0]?.include, ['dev-lang/php', 'sys-libs/*'])
  assert.deepEqual(repositories[0]?.exclude, ['app/y:0'])
  assert.deepEqual(problems, ['[a]: app/x in both getbinpkg-include and getbinpkg-exclude, so in neither'])
})

test('words of PORTAGE_BINHOST count from the right, and not twice', () => {
  const found = binhostsOfVariable(' https://a/x/ https://b\nhttps://a/x https://known', [
    { uri: 'https://known' },
  ])
  assert.deepEqual(
    found.map(({ uri, priority, name }) => [uri, priority, name]),
    [
      ['https://b', 2, 'binhost2'],
      ['https://a/x', 1, 'binhost1'],
    ],
  )
  assert.deepEqual(binhostsOfVariable(' '), [])
})
