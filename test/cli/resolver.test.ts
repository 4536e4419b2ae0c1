/** Questions that leave the program as one file, and what a plan says before anything is built. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { stage5 } from '../helpers/console.ts'
import { filesFor } from '../helpers/files.ts'
import { packedProject } from '../helpers/project.ts'

function entry(fields: { readonly [key: string]: string }): string {
  const all = { SIZE: '1', MD5: '0'.repeat(32), EAPI: '8', KEYWORDS: 'amd64', ...fields }
  return `${Object.entries(all)
    .map(([key, value]) => `${key}: ${value}\n`)
    .join('')}\n`
}

const HEAD = 'VERSION: 0\nTIMESTAMP: 1700000000\nARCH: amd64\nREPO: gentoo\nIUSE_IMPLICIT: abi_x86_64\n\n'
const HOUSE = [
  entry({ CPV: 'app/web-2', RDEPEND: 'lib/ssl:0/3=[zlib]', LICENSE: 'house', IUSE: 'http2', USE: 'http2' }),
  entry({ CPV: 'app/web-1', RDEPEND: 'lib/ssl:0/3=', LICENSE: 'MIT', IUSE: 'http2', USE: '' }),
  entry({ CPV: 'lib/ssl-3.1', SLOT: '0/3', IUSE: 'zlib', USE: 'zlib', KEYWORDS: '~amd64', EAPI: '0' }),
  entry({ CPV: 'app/alone-1' }),
]
const OTHER = [
  entry({ CPV: 'lib/ssl-3.2', SLOT: '0/4', IUSE: 'zlib', USE: 'zlib', PROVIDES: 'x86_64: libssl.so.4' }),
  entry({ CPV: 'app/tool-1', REQUIRES: 'x86_64: libssl.so.4 libgone.so.1', PATH: 'app/tool-1.gpkg.tar' }),
]

const PROJECT = {
  'house/Packages': HEAD + HOUSE.join(''),
  'other/Packages': HEAD + OTHER.join(''),
  'repos/both.yaml':
    'kind: gentoo\nbinhosts:\n  - {name: house, uri: ../house, priority: 9}\n  - {name: other, uri: ../other}\n',
  'profiles/web.yaml': [
    'repositories: [both]',
    'packages:',
    '  - {atom: app/web, use: [http2], licenses: [house]}',
    '  - app/tool',
    'licenses: ["*", "-house"]',
    'settings: [{atom: lib/ssl, keywords: ["~amd64"], use: [zlib]}]',
    'mask: [app/alone]',
    'variants:',
    '  loose: {ignoreSlotOperators: true}',
    '  pinned: {ignoreSlotOperators: true, rank: priority-first}',
    '  strict: {soname: require}',
    '  old: {packages: ["-app/web", "<app/web-2"]}',
    '',
  ].join('\n'),
}

async function json(directory: string, ...words: string[]): Promise<{ readonly [key: string]: unknown }> {
  const { stdout, stderr } = await stage5(directory, ['resolve', '--json', ...words])
  assert.ok(stdout.startsWith('{'), stderr)
  return JSON.parse(stdout) as { readonly [key: string]: unknown }
}

test('the question of a profile, as one file, has the same answer', async (t) => {
  const directory = filesFor(t, PROJECT)
  for (const name of ['web', 'web@loose', 'web@pinned', 'web@strict', 'web@old']) {
    const direct = await json(directory, '--profile', name)
    const universe = await stage5(directory, ['resolve', '--dump-universe', name])
    assert.equal(universe.code, 0, universe.stderr)
    writeFileSync(join(directory, 'question.json'), universe.stdout)
    const told = await json(directory, '--universe', 'question.json')
    const orderOf = (answer: typeof told) => answer['order'] ?? (answer['error'] as { kind: string }).kind
    assert.deepEqual(orderOf(told), orderOf(direct), name)
    const question = JSON.parse(universe.stdout) as {
      binhosts: { name: string; header: { [key: string]: string }; packages: { CPV: string }[] }[]
    }
    assert.deepEqual(
      question.binhosts.map((one) => [one.name, one.header['IUSE_IMPLICIT']]),
      [
        ['both house', 'abi_x86_64'],
        ['both other', 'abi_x86_64'],
      ],
    )
    const names = question.binhosts.flatMap(({ packages }) => packages.map(({ CPV }) => CPV))
    assert.ok(!names.includes('app/alone-1'), 'nothing leads to it')
  }
})

test('the question of a native profile, too', async (t) => {
  const { directory, ...rest } = await packedProject()
  t.after(() => rest[Symbol.dispose]())
  for (const name of ['shop', 'shop@ssl']) {
    const direct = await json(directory, '--profile', name)
    writeFileSync(
      join(directory, 'question.json'),
      (await stage5(directory, ['resolve', '--dump-universe', name])).stdout,
    )
    assert.deepEqual(await json(directory, '--universe', 'question.json'), direct)
  }
  writeFileSync(
    join(directory, 'bad.json'),
    JSON.stringify({
      binhosts: [{ kind: 'native', packages: [{ scheme: 'ebuild', name: 'a/b', version: '1' }] }],
    }),
  )
  const bad = await stage5(directory, ['resolve', '--universe', 'bad.json'])
  assert.equal(bad.code, 2)
  assert.match(bad.stdout, /binhosts\[0\]\.packages\[0\]\.scheme: expected deb or semver/)
})

test('a sub-slot that a build was made against binds, unless the profile says otherwise', async (t) => {
  const directory = filesFor(t, PROJECT)
  const bound = await json(directory, '--profile', 'web')
  assert.deepEqual((bound['order'] as string[] | undefined)?.toSorted(), [
    'app/tool-1',
    'app/web-2',
    'lib/ssl-3.1',
  ])
  const loose = await json(directory, '--profile', 'web@loose')
  assert.ok((loose['order'] as string[]).includes('lib/ssl-3.2'))
  assert.deepEqual(loose['loosened'], [{ pkg: 'app/web-2', atom: 'lib/ssl:0/3=[zlib]' }])
  const pinned = await json(directory, '--profile', 'web@pinned')
  assert.ok(
    (pinned['order'] as string[]).includes('lib/ssl-3.1'),
    'the house binhost comes before a newer version',
  )
  assert.equal(pinned['loosened'], undefined)
  const plan = await stage5(directory, ['plan', 'web@loose'])
  assert.match(plan.stderr, /app\/web-2 was built against lib\/ssl:0\/3=\[zlib\], which is not there/)
})

test('why-not tells of builds that cannot be signed', async (t) => {
  const directory = filesFor(t, {
    ...PROJECT,
    'repos/both.yaml': 'kind: gentoo\nuri: ../other\nsignatures: require\nkeyring: [none.asc]\n',
  })
  const { stdout, stderr } = await stage5(directory, ['why-not', 'web', 'lib/ssl', '--json'])
  const [build] = (JSON.parse(stdout) as { builds: { kind: string; because: string[] }[] }).builds
  assert.equal(build?.kind, 'signature', stderr)
  assert.match(build?.because.join() ?? '', /no signature, which its repository requires/)
})

test('plan names a version when it is the one of the build, and says so when it is not', async (t) => {
  const { directory, ...rest } = await packedProject()
  t.after(() => rest[Symbol.dispose]())
  const plan = async () => {
    const { stdout } = await stage5(directory, ['plan', 'shop', '--json'])
    return JSON.parse(stdout) as { readonly version: string | null; readonly settled: boolean }
  }
  assert.deepEqual([(await plan()).version, (await plan()).settled], [null, false])
  assert.match(
    (await stage5(directory, ['plan', 'shop'])).stdout,
    /^shop amd64: 2 packages\nthe version is known when a build has read the packages\n/,
  )
  const built = await stage5(directory, ['build', 'shop'])
  assert.equal(built.code, 0, built.stderr)
  const { version, settled } = await plan()
  assert.equal(settled, true)
  assert.ok(built.stdout.startsWith(`out/shop_${version}_amd64\n`), built.stdout)
})
