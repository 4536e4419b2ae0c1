import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadPipeline, loadStripClasses } from '../../src/resolve/load-profile.ts'
import { loadRepository } from '../../src/resolve/load-repository.ts'
import type { RepositorySpec } from '../../src/resolve/profile.ts'
import { folder } from './folder.ts'

async function load(text: string): Promise<RepositorySpec> {
  const { read, list } = folder({ 'repos/x.yaml': text, 'repos/debian.yaml': '' })
  return await loadRepository('x', read, list, async (path) => `/project/${path}`)
}

const USUAL = {
  name: 'x',
  from: 'listed',
  sources: [],
  suites: [],
  components: [],
  checkValidUntil: true,
  url: '',
  file: '/project/repos/x.yaml',
}

test('a Debian archive comes from apt, from listed sources, or from some suites of apt', async () => {
  assert.deepEqual(await load('kind: debian'), { ...USUAL, kind: 'debian', from: 'apt' })
  assert.deepEqual(
    await load('{kind: debian, from: apt, suites: bookworm, components: [main], checkValidUntil: false}'),
    {
      ...USUAL,
      kind: 'debian',
      from: 'apt',
      suites: ['bookworm'],
      components: ['main'],
      checkValidUntil: false,
    },
  )
  const source = '{uri: "https://archive.example/debian", suites: [a, a/updates], signedBy: keys/a.gpg}'
  assert.deepEqual(await load(`{kind: debian, sources: [${source}]}`), {
    ...USUAL,
    kind: 'debian',
    sources: [
      {
        uri: 'https://archive.example/debian',
        suites: ['a', 'a/updates'],
        components: ['main'],
        signedBy: ['keys/a.gpg'],
      },
    ],
  })
})

test('a native repository has an address', async () => {
  assert.deepEqual(await load('{kind: native, url: ../packages}'), {
    ...USUAL,
    kind: 'native',
    url: '../packages',
  })
})

const ALL = { include: [], exclude: [] }
const GENTOO = {
  from: 'listed',
  config: '/etc/portage',
  binhosts: [],
  signatures: 'off',
  isPolicyWritten: false,
  keyring: [],
  checkTimestamp: true,
}

test('a Gentoo repository has one binhost, several, or those of Portage', async () => {
  const usual = { ...USUAL, kind: 'gentoo' }
  assert.deepEqual(await load('{kind: gentoo, uri: ../pkgdir}'), {
    ...usual,
    gentoo: { ...GENTOO, binhosts: [{ name: '', uri: '../pkgdir', priority: 0, index: '', ...ALL }] },
  })
  const list =
    '[{name: a, uri: "https://host/x", priority: 3, index: Packages.zst}, {name: b, uri: /srv/b, include: [app/*], exclude: ["app/x:0"]}]'
  assert.deepEqual(
    await load(`{kind: gentoo, binhosts: ${list}, keyring: keys.gpg, checkTimestamp: false}`),
    {
      ...usual,
      gentoo: {
        ...GENTOO,
        binhosts: [
          { name: 'a', uri: 'https://host/x', priority: 3, index: 'Packages.zst', ...ALL },
          { name: 'b', uri: '/srv/b', priority: 0, index: '', include: ['app/*'], exclude: ['app/x:0'] },
        ],
        signatures: 'require',
        keyring: ['keys.gpg'],
        checkTimestamp: false,
      },
    },
  )
  assert.deepEqual(
    await load('{kind: gentoo, from: binrepos, config: /srv/portage, signatures: if-present}'),
    {
      ...usual,
      gentoo: {
        ...GENTOO,
        from: 'binrepos',
        config: '/srv/portage',
        signatures: 'if-present',
        isPolicyWritten: true,
      },
    },
  )
  const { gentoo } = await load('{kind: gentoo, uri: "https://host/x", signatures: off}')
  assert.equal(gentoo?.signatures, 'off')
})

for (const [what, text, message] of [
  [
    'a filter that is no atom',
    'kind: gentoo\nbinhosts: [{name: a, uri: a, exclude: ["=app/x"]}]',
    '2:40: expected an atom such as dev-lang/php or "sys-apps/*:0", found "=app/x"',
  ],
  ['gentoo without a binhost', 'kind: gentoo', '1:1: expected the key "uri" or "binhosts" for kind: gentoo'],
  [
    'gentoo with both forms',
    'kind: gentoo\nuri: a\nbinhosts: [{name: a, uri: a}]',
    '2:1: expected either uri or binhosts',
  ],
  [
    'two binhosts of one name',
    'kind: gentoo\nbinhosts: [{name: a, uri: a}, {name: a, uri: b}]',
    '2:1: two binhosts are called a',
  ],
  [
    'binhosts beside binrepos',
    'kind: gentoo\nfrom: binrepos\nuri: a',
    '3:1: expected no binhosts beside from: binrepos',
  ],
  [
    'gentoo from apt',
    'kind: gentoo\nfrom: apt',
    '2:1: expected listed or binrepos for kind: gentoo, found apt',
  ],
  [
    'gentoo with suites',
    'kind: gentoo\nuri: a\nsuites: [a]',
    '3:1: the key "suites" does not belong to kind: gentoo',
  ],
  [
    'an address without a keyring or a word about it',
    'kind: gentoo\nuri: https://host/x',
    '1:1: expected a keyring for https://host/x, or signatures: off to go without',
  ],
  [
    'signatures without a keyring',
    'kind: gentoo\nuri: a\nsignatures: require',
    '3:1: expected a keyring for signatures: require',
  ],
  [
    'an index of another name',
    'kind: gentoo\nuri: a\nindex: Index.gz',
    '3:8: expected Packages, or Packages.gz, .xz, .zst, .bz2',
  ],
  [
    'an index beside binhosts',
    'kind: gentoo\nindex: Packages\nbinhosts: [{name: a, uri: a}]',
    '2:1: with binhosts, index stands in each of them',
  ],
  ['a keyring of debian', 'kind: debian\nkeyring: a', '2:1: the key "keyring" belongs to kind: gentoo'],
  [
    'binrepos of native',
    'kind: native\nurl: a\nfrom: binrepos',
    '3:1: from: binrepos belongs to kind: gentoo',
  ],
  ['no kind', '{}', '1:1: expected the key "kind"'],
  [
    'an unknown kind',
    'kind: debain',
    '1:7: expected one of debian, native, gentoo, found "debain", did you mean "debian"',
  ],
  ['an unknown key', 'kind: debian\nsuits: a', '2:1: unknown key "suits", did you mean "suites"'],
  [
    'listed without sources',
    'kind: debian\nfrom: listed',
    '2:1: expected sources for from: listed, found none',
  ],
  [
    'apt with sources',
    'kind: debian\nfrom: apt\nsources: [{uri: "http://a.example", suites: [a], signedBy: k}]',
    '3:1: expected no sources beside from: apt',
  ],
  [
    'a source without a key',
    'kind: debian\nsources: [{uri: "http://a.example", suites: [a]}]',
    '2:11: expected the key "signedBy"',
  ],
  [
    'a source of another scheme',
    'kind: debian\nsources: [{uri: "ftp://a.example", suites: [a], signedBy: k}]',
    '2:17: expected an http, https or file address',
  ],
  ['a suite that climbs', 'kind: debian\nsuites: [../x]', '2:10: expected the name of a suite'],
  [
    'the address of the other kind',
    'kind: native\nuri: a',
    '2:1: the key "uri" belongs to kind: gentoo; kind: native has "url"',
  ],
  ['native without an address', 'kind: native', '1:1: expected the key "url" for kind: native'],
  [
    'native with suites',
    'kind: native\nurl: a\nsuites: [a]',
    '3:1: the key "suites" belongs to kind: debian',
  ],
  [
    'debian with an address',
    'kind: debian\nurl: a',
    '2:1: the key "url" belongs to kind: native; see sources',
  ],
] as const)
  test(`repository files refuse ${what}`, async () => {
    await assert.rejects(load(text), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'S5_PROFILE_INVALID')
      assert.ok(error.message.startsWith(`repos/x.yaml:${message}`), error.message)
      return true
    })
  })

test('an unknown repository comes with near names', async () => {
  const { read, list } = folder({ 'repos/debian.yaml': '' })
  await assert.rejects(loadRepository('debain', read, list), {
    code: 'S5_REPOSITORY_UNKNOWN',
    message: /did you mean debian$/,
  })
})

test('a pipeline is a list of stages, each once', async () => {
  const project = folder({
    'stages/default.yaml': 'stages: [b, a]',
    'stages/twice.yaml': 'stages: [a, a]',
    'stages/odd.yaml': 'stagse: [a]',
  })
  assert.deepEqual(await loadPipeline('default', project), ['b', 'a'])
  await assert.rejects(loadPipeline('twice', project), {
    message: 'stages/twice.yaml:1:13: "a" is listed twice',
  })
  await assert.rejects(loadPipeline('odd', project), {
    message:
      /^stages\/odd\.yaml:1:1: unknown key "stagse", did you mean "stages"\n.*expected the key "stages"/,
  })
  await assert.rejects(loadPipeline('defualt', project), {
    code: 'S5_FILE_MISSING',
    message: /did you mean default$/,
  })
})

test('strip classes are plain JSON with the keys that are written, plus empty lists', async () => {
  const text =
    'classes:\n  man: {remove: [/usr/share/man], note: none}\n  links: {computed: devlinks, only: symlink}\n'
  const classes = await loadStripClasses(folder({ 'stages/strip.yaml': text }))
  assert.deepEqual(classes, {
    man: { remove: ['/usr/share/man'], keep: [], note: 'none' },
    links: { remove: [], keep: [], only: 'symlink', computed: 'devlinks' },
  })
  await assert.rejects(loadStripClasses(folder({})), { code: 'S5_FILE_MISSING' })
  await assert.rejects(loadStripClasses(folder({ 'stages/strip.yaml': 'classes:\n  man: {remvoe: [a]}' })), {
    message: 'stages/strip.yaml:2:9: unknown key "remvoe", did you mean "remove"',
  })
})
