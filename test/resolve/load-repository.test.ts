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

for (const [what, text, message] of [
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
