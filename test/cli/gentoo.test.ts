import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { importPortage } from '../../src/cli/import-portage.ts'
import { readMakeConf } from '../../src/format/make-conf.ts'
import { isStage5Error } from '../../src/base/errors.ts'
import { loadProfile } from '../../src/resolve/load-profile.ts'
import { universeJson } from '../helpers/ask.ts'
import { stage5 } from '../helpers/console.ts'
import { filesFor } from '../helpers/files.ts'
import { folder } from '../resolve/folder.ts'

const PHP = (build: number, use: string): string =>
  `CPV: dev-lang/php-8.3.9\nBUILD_ID: ${build}\nSIZE: 1\nMD5: ${'0'.repeat(32)}\nPATH: php-${build}.gpkg.tar\nEAPI: 8\nKEYWORDS: amd64\nIUSE: apache2 fpm\nUSE: ${use}\nREQUIRES: x86_64: libc.so.6\n`
const PACKAGES = `VERSION: 0\nTIMESTAMP: 1700000000\nARCH: amd64\n\n${PHP(1, 'apache2')}\n${[
  'CPV: app/broken-1',
  'SIZE: 1',
  `MD5: ${'0'.repeat(32)}`,
  'EAPI: 8',
  'KEYWORDS: amd64',
  'RDEPEND: app/gone',
].join('\n')}\n`

const PROJECT = {
  'pkgdir/Packages': PACKAGES,
  'repos/house.yaml': 'kind: gentoo\nuri: ../pkgdir\nbuilder: [sh, build.sh]\n',
  'profiles/php.yaml':
    'repositories: [house]\npackages:\n  - {atom: dev-lang/php, use: [fpm, -apache2]}\nvariants:\n  built: {policy: build-missing}\n  any: {usePolicy: any}\n',
  'profiles/none.yaml': 'repositories: []\npolicy: build-missing\n',
  'build.sh': `printf '\\n${PHP(2, 'fpm').replaceAll('\n', String.raw`\n`)}' >> pkgdir/Packages\necho "$USE $1" >> built\n`,
}

test('a question in JSON is answered with exit 0, 1 or 2', async (t) => {
  const x = { 'a/x-1': { RDEPEND: 'l/b' } }
  const directory = filesFor(t, {
    'yes.json': JSON.stringify(universeJson('a/x', { ...x, 'l/b-1#2': { USE: 'f', IUSE: 'f' } })),
    'no.json': JSON.stringify(universeJson('a/x', x)),
    'bad.json': '{"format": "other"}',
    'torn.json': '{',
    'file.json': JSON.stringify({
      binhosts: [{ name: 'main', index: 'pkgdir/Packages' }],
      request: { atoms: ['dev-lang/php'] },
    }),
    'lost.json': JSON.stringify({ binhosts: [{ index: 'absent' }] }),
    'pkgdir/Packages': PACKAGES,
  })
  const ask = async (file: string): Promise<[number | null, { [key: string]: never }]> => {
    const { code, stdout } = await stage5(directory, ['resolve', '--universe', file, '--json'])
    return [code, JSON.parse(stdout) as { [key: string]: never }]
  }
  const [yes, solved] = await ask('yes.json')
  assert.equal(yes, 0)
  assert.deepEqual(solved['order'], ['l/b-1#2', 'a/x-1'])
  assert.deepEqual(solved['packages'], [
    {
      cpv: 'l/b-1',
      buildId: 2,
      slot: '0',
      repo: 'gentoo',
      binhost: 'main',
      use: ['f'],
      why: [{ by: 'a/x', dep: 'l/b' }],
    },
    {
      cpv: 'a/x-1',
      buildId: null,
      slot: '0',
      repo: 'gentoo',
      binhost: 'main',
      use: [],
      why: [{ by: 'request', dep: 'a/x' }],
    },
  ])
  const [no, refused] = await ask('no.json')
  assert.equal(no, 1)
  assert.equal((refused['error'] as { kind: string } | undefined)?.kind, 'unsatisfiable')
  assert.deepEqual((await ask('file.json'))[1]['order'], ['dev-lang/php-8.3.9#1'])
  for (const file of ['bad.json', 'torn.json', 'lost.json']) {
    const [code, data] = await ask(file)
    assert.equal(code, 2, file)
    assert.equal((data['error'] as { kind: string } | undefined)?.kind, 'invalid')
  }
  const lost = await stage5(directory, ['resolve', '--universe', 'none.json'])
  assert.equal(lost.code, 2)
  assert.match(lost.stdout, /none\.json cannot be read/)
  assert.match((await stage5(directory, ['resolve', '--universe', 'no.json'])).stdout, /a\/x-1 needs l\/b/)
})

test('indexes and a profile are answered without fetching anything', async (t) => {
  const directory = filesFor(t, PROJECT)
  const ask = (...words: string[]) =>
    stage5(directory, ['resolve', '--index', 'pkgdir/Packages', '--json', ...words])
  const found = await ask('--profile', 'php@any')
  assert.equal(found.code, 0, found.stderr)
  assert.deepEqual((JSON.parse(found.stdout) as { order: string[] }).order, ['dev-lang/php-8.3.9#1'])
  const more = await ask('--profile', 'profiles/php.yaml', 'app/broken')
  assert.equal(more.code, 1)
  assert.match(more.stdout, /no-match/)
  const ofFolder = await stage5(directory, ['resolve', '--index', 'pkgdir', '--profile', 'php@any', '--json'])
  const { packages } = JSON.parse(ofFolder.stdout) as { packages: { cpv: string }[] }
  assert.deepEqual(
    packages.map(({ cpv }) => cpv),
    ['dev-lang/php-8.3.9'],
  )
  assert.equal((await ask()).code, 2)
  assert.equal((await stage5(directory, ['resolve'])).code, 2)
})

test('a whole binhost is checked', async (t) => {
  const directory = filesFor(t, PROJECT)
  const { code, stdout } = await stage5(directory, ['repo', 'check', 'house', '-q'])
  assert.equal(code, 1)
  assert.match(
    stdout,
    /missing app\/gone: 1 build cannot be installed, app\/broken-1\n {2}emerge --buildpkgonly app\/gone/,
  )
  assert.match(stdout, /no build brings libc\.so\.6 \(x86_64\), needed by dev-lang\/php-8\.3\.9#1/)
  assert.match(stdout, /house: 1 of 2 builds can be installed/)
  assert.equal((await stage5(directory, ['repo', 'list', 'house'])).code, 2)
})

test('a missing build is a command to type, or made by the builder where the profile says so', async (t) => {
  const directory = filesFor(t, PROJECT)
  const refused = await stage5(directory, ['plan', 'php'])
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /USE="fpm -apache2" emerge --buildpkgonly =dev-lang\/php-8\.3\.9/)
  const any = await stage5(directory, ['plan', 'php@any'])
  assert.match(any.stderr, /nothing brings libc\.so\.6 \(x86_64\), needed by dev-lang\/php-8\.3\.9#1/)
  const built = await stage5(directory, ['plan', 'php@built', '--json'])
  assert.equal(built.code, 0, built.stderr)
  assert.equal(readFileSync(join(directory, 'built'), 'utf8'), 'fpm -apache2 =dev-lang/php-8.3.9\n')
  assert.match(built.stdout, /dev-lang\/php_8\.3\.9_b2/)
  const none = await stage5(directory, ['plan', 'none'])
  assert.match(none.stderr, /no repository of the profile has a builder/)
})

test('a builder may begin with no PKGDIR at all, and says in its own words why it failed', async (t) => {
  const directory = filesFor(t, {
    'repos/house.yaml': 'kind: gentoo\nuri: ../fresh\nbuilder: [sh, build.sh]\n',
    'repos/bare.yaml': 'kind: gentoo\nuri: ../fresh\n',
    'profiles/web.yaml':
      'repositories: [house]\npolicy: build-missing\npackages:\n  - {atom: dev-lang/php, use: [fpm]}\n  - {atom: app/absent, use: [-x]}\n',
    'build.sh': `case $1 in
app/absent) echo "ERROR: app/absent failed"; exit 1 ;;
esac
mkdir -p fresh
printf 'VERSION: 0\nTIMESTAMP: 1700000000\nARCH: amd64\n\n${PHP(2, 'fpm').replaceAll('\n', String.raw`\n`)}' > fresh/Packages
echo "$USE $1" >> built
`,
  })
  const bare = await stage5(directory, ['repo', 'check', 'bare'])
  assert.match(bare.stderr, /fresh\/Packages: no such file\n +hint: stage5 index .*fresh writes the index/)
  const { code, stderr } = await stage5(directory, ['plan', 'web'])
  assert.equal(code, 1)
  assert.match(stderr, /a build is missing: USE="fpm" emerge --buildpkgonly dev-lang\/php\n/)
  assert.match(stderr, /a build is missing: USE="-x" emerge --buildpkgonly app\/absent\n/)
  assert.match(stderr, /ERROR: app\/absent failed/)
  assert.equal(readFileSync(join(directory, 'built'), 'utf8'), 'fpm dev-lang/php\n')
})

test('why-not says of each rejected build what is in the way', async (t) => {
  const directory = filesFor(t, PROJECT)
  const { stdout } = await stage5(directory, ['why-not', 'php@any', 'app/broken'])
  assert.match(stdout, /app\/broken-1/)
  assert.match(stdout, /there is no package app\/gone/)
  const short = await stage5(directory, ['why-not', 'php@any', 'broken'])
  assert.equal(short.stdout, stdout)
})

const MAKE_CONF = `# comment
COMMON_FLAGS="-O2 -pipe"
CFLAGS="\${COMMON_FLAGS}"
USE="ssl -X \\
  http2" ; export GREETING='a $USE'
USE="$USE -ssl zstd" # trailing
ACCEPT_KEYWORDS='~amd64'
ACCEPT_LICENSE="-* @FREE @UNKNOWN linux-fw"
PYTHON_TARGETS="python3_12 -python3_11"
source /etc/portage/other.conf
`

test('make.conf is read without a shell', () => {
  const found = readMakeConf([MAKE_CONF, 'USE+=" more"\nLAST=${USE}x'])
  assert.equal(found.get('USE'), 'ssl -X   http2 -ssl zstd more')
  assert.equal(found.get('LAST'), 'ssl -X   http2 -ssl zstd morex')
  assert.equal(found.get('CFLAGS'), '-O2 -pipe')
  assert.equal(found.get('GREETING'), 'a $USE')
  assert.throws(
    () => readMakeConf(['USE="a']),
    (error) => isStage5Error(error, 'S5_USAGE'),
  )
})

test('/etc/portage becomes a profile that loads; what has no counterpart is said', async () => {
  const { text, left, packages } = importPortage(
    new Map(
      Object.entries({
        'make.conf': MAKE_CONF,
        'package.use/web':
          'www-servers/nginx http2 -mail NGINX_MODULES_HTTP: gzip -proxy # c\n*/* -ldap\n>=x 1\n',
        'package.accept_keywords/a': 'www-servers/nginx\n=sys-kernel/gentoo-kernel-6* **\n',
        'package.mask': '>=dev-lang/python-3.14\n',
        'package.unmask': '=dev-lang/python-3.14.1\n',
        'package.license': 'sys-firmware/x @FREE fw\n',
        'profile/package.provided': 'virtual/editor-0\nbroken\n',
        'profile/use.force': 'ssl\n',
        'profile/colour': 'red\n',
        'sets/tools': 'dev-debug/gdb # comment\n',
        world: 'net-misc/curl\nwww-servers/nginx:0\n',
        world_sets: '@tools\n@lost\n',
        license_groups: '# comment\nFREE @GPL MIT\nGPL GPL-2\nEULA X\n',
      }),
    ),
  )
  assert.equal(packages, 3)
  const { read, list } = folder({ 'profiles/web.yaml': text })
  const { profile } = await loadProfile('web', read, list)
  assert.deepEqual(profile.use, [
    '-X',
    'http2',
    '-ssl',
    'zstd',
    'python_targets_python3_12',
    '-python_targets_python3_11',
  ])
  assert.deepEqual(profile.useForce, [{ atom: '', flags: ['ssl'] }])
  assert.deepEqual(profile.keywords, ['~amd64'])
  assert.deepEqual(profile.licenses, ['@FREE', 'linux-fw'])
  assert.deepEqual(profile.licenseGroups, { FREE: ['@GPL', 'MIT'], GPL: ['GPL-2'] })
  assert.deepEqual(
    profile.settings.map(({ atom, use, keywords, licenses }) => [atom, use, keywords, licenses]),
    [
      [
        'www-servers/nginx',
        ['http2', '-mail', 'nginx_modules_http_gzip', '-nginx_modules_http_proxy'],
        ['~amd64'],
        [],
      ],
      ['*/*', ['-ldap'], [], []],
      ['=sys-kernel/gentoo-kernel-6*', [], ['**'], []],
      ['sys-firmware/x', [], [], ['@FREE', 'fw']],
    ],
  )
  assert.deepEqual(
    profile.mask.map(({ atom }) => atom),
    ['>=dev-lang/python-3.14'],
  )
  assert.deepEqual(
    profile.unmask.map(({ atom }) => atom),
    ['=dev-lang/python-3.14.1'],
  )
  assert.deepEqual(profile.provided, [{ name: 'virtual/editor', version: '0', reason: 'package.provided' }])
  assert.deepEqual(profile.sets, { tools: ['dev-debug/gdb'] })
  assert.deepEqual(
    profile.packages.map(({ atom }) => atom),
    ['net-misc/curl', 'www-servers/nginx:0', '@tools'],
  )
  for (const line of left) assert.ok(text.includes(`# not taken over: ${line}\n`))
  for (const part of ['@UNKNOWN', 'CFLAGS', '>=x', 'profile/colour', '@lost'])
    assert.ok(
      left.some((line) => line.includes(part)),
      part,
    )
})

test('lock --import writes a profile, and never over another one', async (t) => {
  const directory = filesFor(t, {
    'etc/portage/make.conf': 'USE="ssl"\n',
    'etc/portage/package.use': 'net-misc/curl http2\n',
    'etc/portage/.hidden': 'x',
    'var/lib/portage/world': 'net-misc/curl\n',
  })
  const first = await stage5(directory, ['lock', '--import', 'etc/portage', 'web'])
  assert.equal(first.code, 0, first.stderr)
  assert.match(readFileSync(join(directory, 'profiles/web.yaml'), 'utf8'), /- net-misc\/curl\n/)
  const again = await stage5(directory, ['lock', '--import', 'etc/portage', 'web'])
  assert.match(again.stderr, /profiles\/web\.yaml exists already/)
  const none = await stage5(directory, ['lock', '--import', 'nowhere'])
  assert.match(none.stderr, /S5_FILE_MISSING/)
  assert.match((await stage5(directory, ['lock'])).stderr, /lock needs the name of a profile/)
  assert.match(
    (await stage5(directory, ['lock', '--import', 'etc/portage', 'A B'])).stderr,
    /expected a name/,
  )
})

test('FEATURES of make.conf decide whether imported binhosts are verified, as they do for Portage', () => {
  const policies = (features: string, verify: string): string[] =>
    importPortage(
      new Map([
        ['make.conf', `FEATURES="${features}"\n`],
        ['binrepos.conf/a', `[a]\nsync-uri = https://host/x\nverify-signature = ${verify}\n`],
      ]),
    ).repositories.map(({ text }) => (/^keyring:/m.test(text) ? 'require' : 'off'))
  assert.deepEqual(policies('getbinpkg', 'true'), ['require'])
  assert.deepEqual(policies('getbinpkg', 'false'), ['off'])
  assert.deepEqual(policies('binpkg-request-signature', 'false'), ['require'])
  assert.deepEqual(policies('binpkg-request-signature -binpkg-request-signature', 'false'), ['off'])
  assert.deepEqual(policies('binpkg-ignore-signature', 'true'), ['off'])
})
