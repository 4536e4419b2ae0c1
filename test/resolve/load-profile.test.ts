import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadProfile } from '../../src/resolve/load-profile.ts'
import type { Profile } from '../../src/resolve/profile.ts'
import { folder } from './folder.ts'

/** Loads `name` from profiles given by name; each is YAML. */
async function load(
  profiles: { readonly [name: string]: string },
  name = 'x',
  more: { readonly [path: string]: string | Uint8Array } = {},
): Promise<Profile> {
  return (await loadBoth(profiles, name, more)).profile
}

async function loadBoth(
  profiles: { readonly [name: string]: string },
  name: string,
  more: { readonly [path: string]: string | Uint8Array } = {},
): Promise<{ profile: Profile; files: readonly string[] }> {
  const entries = Object.entries(profiles).map(([key, text]) => [`profiles/${key}.yaml`, text])
  const { read, list } = folder({ ...(Object.fromEntries(entries) as { [path: string]: string }), ...more })
  return await loadProfile(name, read, list)
}

const atoms = (profile: Profile): string[] => profile.packages.map(({ atom }) => atom)

test('an empty profile has the documented defaults', async () => {
  assert.deepEqual(await load({ x_1: '' }, 'x_1'), {
    name: 'x_1',
    id: 'x-1',
    version: '',
    description: '',
    arch: 'amd64',
    repositories: [],
    packages: [],
    use: [],
    mask: [],
    provided: [],
    recommends: false,
    keywords: [],
    licenses: [],
    licenseGroups: {},
    usePolicy: 'listed',
    settings: [],
    unmask: [],
    sets: {},
    soname: 'check',
    policy: 'binary-only',
    prefer: 'newest',
    strict: false,
    idepend: false,
    rank: 'newest',
    ignoreSlotOperators: false,
    profileUse: [],
    useForce: [],
    useMask: [],
    strip: { classes: [], keep: [], drop: [] },
    allow: [],
    scripts: {},
    collisions: [],
    users: [],
    groups: [],
    files: [],
    services: [],
    units: [],
    runlevels: {},
    hostname: 'x-1',
    timezone: 'UTC',
    network: 'none',
    kernel: { wanted: false, modules: [], cmdline: [] },
    data: [],
    images: [],
    boot: { ready: 'stage5: ready', memory: 128, timeoutSeconds: 60 },
    memory: 0,
    budget: {},
    config: { keys: [], mode: 'ephemeral', urls: [] },
    tests: [],
    pipeline: 'default',
  })
})

test('every key is read', async () => {
  const profile = await load({
    x: `
stage5: 1
id: web
version: 1.10
description: A web server
arch: arm64
repositories: [debian, own]
packages:
  - nginx
  - "libc6 (>= 2.36)"
  - app/shop: ^2.1
  - {atom: app/till, use: [ssl, -ldap]}
use: [ssl, -X]
mask: [apache2]
provided: [{name: perl, version: 5.36, reason: nothing runs it}]
recommends: [nginx]
keywords: [amd64, "~amd64"]
licenses: ["*", "-@EULA"]
licenseGroups: {EULA: [X-eula, "@OTHER"]}
usePolicy: exact
settings: [{atom: "*/*", use: [-ldap], keywords: ["**"], licenses: [X-eula]}]
unmask: [app/x]
sets: {base: [app/x, "@more"]}
soname: require
policy: build-missing
prefer: minimal
strict: true
idepend: true
rank: priority-first
ignoreSlotOperators: true
profileUse: [acl, -X, {atom: app/till, use: [-ssl]}]
useForce: [amd64]
useMask: [{atom: "app/*", use: [selinux]}]
strip: {classes: [man], keep: [/usr/share/man/man1], drop: ["*.a"]}
allow: [{path: /usr/lib/x, reason: never loaded}]
scripts: {nginx: starts a service}
collisions: [{path: /usr/bin/x, owner: nginx}]
users: [www, {name: app, uid: 1000, group: www, home: /srv, shell: /bin/sh, gecos: An app, groups: [adm]}]
groups: [www, {name: adm, gid: 4}]
services: [{name: web, run: nginx -g off, kind: once}, {name: sh, run: sh}]
units: [sshd, -getty@tty1.service]
runlevels: {default: [sshd]}
hostname: web1
timezone: Europe/Berlin
network: dhcp
kernel: {modules: [zram, nf_tables], cmdline: [quiet]}
data: [{name: data, size: 64M, paths: [/var/www/, /var/log]}]
images: [erofs, {format: squashfs, level: 15, blockSize: 128K}]
boot: {ready: "login:", memory: 256M, timeout: 2m}
pipeline: fast
`,
  })
  const at = (line: number, column: number): object => ({ file: 'profiles/x.yaml', line, column })
  assert.deepEqual(profile, {
    name: 'x',
    id: 'web',
    version: '1.10',
    description: 'A web server',
    arch: 'arm64',
    repositories: ['debian', 'own'],
    packages: [
      { atom: 'nginx', use: [], where: at(9, 5) },
      { atom: 'libc6 (>= 2.36)', use: [], where: at(10, 5) },
      { atom: 'app/shop: ^2.1', use: [], where: at(11, 5) },
      { atom: 'app/till', use: ['ssl', '-ldap'], where: at(12, 5) },
    ],
    use: ['ssl', '-X'],
    mask: [{ atom: 'apache2', where: at(14, 8) }],
    provided: [{ name: 'perl', version: '5.36', reason: 'nothing runs it' }],
    recommends: ['nginx'],
    keywords: ['amd64', '~amd64'],
    licenses: ['*', '-@EULA'],
    licenseGroups: { EULA: ['X-eula', '@OTHER'] },
    usePolicy: 'exact',
    settings: [
      {
        atom: '*/*',
        use: ['-ldap'],
        keywords: ['**'],
        licenses: ['X-eula'],
        where: { file: 'profiles/x.yaml', line: 21, column: 12 },
      },
    ],
    unmask: [{ atom: 'app/x', where: { file: 'profiles/x.yaml', line: 22, column: 10 } }],
    sets: { base: ['app/x', '@more'] },
    soname: 'require',
    policy: 'build-missing',
    prefer: 'minimal',
    strict: true,
    idepend: true,
    rank: 'priority-first',
    ignoreSlotOperators: true,
    profileUse: [
      { atom: '', flags: ['acl'] },
      { atom: '', flags: ['-X'] },
      { atom: 'app/till', flags: ['-ssl'] },
    ],
    useForce: [{ atom: '', flags: ['amd64'] }],
    useMask: [{ atom: 'app/*', flags: ['selinux'] }],
    strip: { classes: ['man'], keep: ['/usr/share/man/man1'], drop: ['*.a'] },
    allow: [{ path: '/usr/lib/x', reason: 'never loaded' }],
    scripts: { nginx: 'starts a service' },
    collisions: [{ path: '/usr/bin/x', owner: 'nginx' }],
    users: [
      {
        name: 'www',
        uid: -1,
        group: 'www',
        home: '/nonexistent',
        shell: '/bin/false',
        gecos: '',
        groups: [],
      },
      {
        name: 'app',
        uid: 1000,
        group: 'www',
        home: '/srv',
        shell: '/bin/sh',
        gecos: 'An app',
        groups: ['adm'],
      },
    ],
    groups: [
      { name: 'www', gid: -1 },
      { name: 'adm', gid: 4 },
    ],
    files: [],
    services: [
      { name: 'web', run: 'nginx -g off', kind: 'once' },
      { name: 'sh', run: 'sh', kind: 'respawn' },
    ],
    units: ['sshd.service', '-getty@tty1.service'],
    runlevels: { default: ['sshd'] },
    hostname: 'web1',
    timezone: 'Europe/Berlin',
    network: 'dhcp',
    kernel: { wanted: true, modules: ['zram', 'nf_tables'], cmdline: ['quiet'] },
    data: [{ name: 'data', label: 'data', size: 67_108_864, paths: ['/var/www', '/var/log'] }],
    images: [
      { format: 'erofs', options: {} },
      { format: 'squashfs', options: { level: 15, blockSize: 131_072 } },
    ],
    boot: { ready: 'login:', memory: 256, timeoutSeconds: 120 },
    memory: 0,
    budget: {},
    config: { keys: [], mode: 'ephemeral', urls: [] },
    tests: [],
    pipeline: 'fast',
  })
})

test('parents apply left to right, then the file, then the variant', async () => {
  const profiles = {
    a: 'repositories: [r]\npackages: [a]\nhostname: a\ntimezone: A\nid: a\ndescription: about a',
    b: 'parents: [a]\npackages: [b]\nhostname: b',
    c: 'parents: [a]\npackages: [c, -a]\ntimezone: C',
    x: 'parents: [b, c]\npackages: [x]\nhostname: x\nvariants: {v: {packages: [v], hostname: v}, w: {parents: [a], packages: [-x]}}',
  }
  const plain = await loadBoth(profiles, 'x')
  assert.deepEqual(atoms(plain.profile), ['b', 'c', 'x'])
  assert.deepEqual([plain.profile.hostname, plain.profile.timezone], ['x', 'C'])
  assert.deepEqual([plain.profile.id, plain.profile.description], ['x', ''])
  assert.deepEqual(plain.files, ['profiles/x.yaml', 'profiles/b.yaml', 'profiles/a.yaml', 'profiles/c.yaml'])
  const v = await load(profiles, 'x@v')
  assert.deepEqual([atoms(v), v.hostname, v.id, v.name], [['b', 'c', 'x', 'v'], 'v', 'x-v', 'x@v'])
  const w = await load(profiles, 'x@w')
  assert.deepEqual([atoms(w), w.hostname, w.timezone], [['b', 'c', 'a'], 'a', 'A'])
})

test('a variant of a parent is a variant of its children, and a parent may be named with its variant', async () => {
  const profiles = {
    base: 'repositories: [r]\npackages: [base]\nvariants: {debug: {packages: [gdb], description: theirs}}',
    child: 'parents: [base]\npackages: [child]',
    both: 'parents: [base]\nvariants: {debug: {packages: [strace, -gdb], description: mine}}',
    fixed: 'parents: base@debug',
  }
  assert.deepEqual(atoms(await load(profiles, 'child@debug')), ['base', 'child', 'gdb'])
  const both = await load(profiles, 'both@debug')
  assert.deepEqual([atoms(both), both.description], [['base', 'strace'], 'mine'])
  assert.deepEqual(atoms(await load(profiles, 'fixed')), ['base', 'gdb'])
  const two = {
    a: 'variants: {v: {hostname: a}}',
    b: 'variants: {v: {hostname: b}}',
    x: 'parents: [a, b, a]',
  }
  assert.equal((await load(two, 'x@v')).hostname, 'b')
})

for (const [what, parent, child, key, expected] of [
  ['lists accumulate', 'repositories: [a]', 'repositories: [b]', 'repositories', ['a', 'b']],
  ['-item removes', 'repositories: [a, b, c]', 'repositories: [-b]', 'repositories', ['a', 'c']],
  ['-* clears', 'repositories: [a, b]', 'repositories: [-*, c]', 'repositories', ['c']],
  [
    'an item that was removed can come again, at the end',
    'repositories: [a, b]',
    'repositories: [-a, a]',
    'repositories',
    ['b', 'a'],
  ],
  [
    'an item that is there keeps its place',
    'repositories: [a, b]',
    'repositories: [b, a]',
    'repositories',
    ['a', 'b'],
  ],
  [
    'removing what is not there is no error',
    'repositories: [a]',
    'repositories: [-z]',
    'repositories',
    ['a'],
  ],
  ['null goes back to the default', 'timezone: A', 'timezone: null', 'timezone', 'UTC'],
  ['null empties a list', 'repositories: [a]', 'repositories:', 'repositories', []],
  ['a flag overrides its opposite', 'use: [ssl, -X]', 'use: [-ssl, X, new]', 'use', ['-ssl', 'X', 'new']],
  ['-* clears flags', 'use: [ssl]', 'use: [-*, -a]', 'use', ['-a']],
  [
    'maps merge by key, null removes one',
    'scripts: {a: x, b: y}',
    'scripts: {a: null, b: z, c: w}',
    'scripts',
    { b: 'z', c: 'w' },
  ],
  ['recommends: false overrides a list', 'recommends: [a]', 'recommends: false', 'recommends', false],
  ['recommends: a list overrides true', 'recommends: true', 'recommends: [a]', 'recommends', ['a']],
  ['recommends lists accumulate', 'recommends: [a, b]', 'recommends: [-a, c]', 'recommends', ['b', 'c']],
  [
    'groups of keys merge by key',
    'strip: {classes: [man], drop: [x]}',
    'strip: {classes: [-man, info]}',
    'strip',
    { classes: ['info'], keep: [], drop: ['x'] },
  ],
  [
    'kernel: none takes everything back',
    'kernel: {modules: [a]}',
    'kernel: none',
    'kernel',
    { wanted: false, modules: [], cmdline: [] },
  ],
  [
    'an empty kernel map wants a kernel',
    'kernel: none',
    'kernel: {}',
    'kernel',
    { wanted: true, modules: [], cmdline: [] },
  ],
  [
    'modules are known by - and _ alike',
    'kernel: {modules: [a_b]}',
    'kernel: {modules: [-a-b, c]}',
    'kernel',
    { wanted: true, modules: ['c'], cmdline: [] },
  ],
  [
    'entries of one name are replaced in place',
    'groups: [{name: a, gid: 1}, b]',
    'groups: [{name: a, gid: 2}]',
    'groups',
    [
      { name: 'a', gid: 2 },
      { name: 'b', gid: -1 },
    ],
  ],
  ['entries are removed by name', 'groups: [a, b]', 'groups: [-a]', 'groups', [{ name: 'b', gid: -1 }]],
  [
    'boot merges by key',
    'boot: {memory: 1G}',
    'boot: {timeout: 1h}',
    'boot',
    { ready: 'stage5: ready', memory: 1024, timeoutSeconds: 3600 },
  ],
] as const)
  test(`stacking: ${what}`, async () => {
    const profile = await load({ p: parent, x: `parents: [p]\n${child}` })
    assert.deepEqual(profile[key], expected)
  })

for (const [what, parent, child, expected] of [
  [
    'a request of a package replaces those of the parents',
    '[libc6 (>= 1), other, libc6 (<< 9)]',
    '[libc6]',
    ['libc6', 'other'],
  ],
  [
    'one file may bound a package from both sides',
    '[x]',
    '["libc6 (>= 1)", "libc6 (<< 9)"]',
    ['x', 'libc6 (>= 1)', 'libc6 (<< 9)'],
  ],
  ['-name removes whatever its version', '[app/shop: ^2.1, "libc6 (>= 1)"]', '[-app/shop, -libc6]', []],
  [
    'Gentoo atoms are known by name',
    '[">=dev-libs/openssl-3.0:0/3", "=a/b-c-1.2*"]',
    '[-dev-libs/openssl, -a/b-c]',
    [],
  ],
  ['-atom removes as written, too', '["libc6 (>= 1)"]', '["-libc6 (>= 1)"]', []],
] as const)
  test(`packages: ${what}`, async () => {
    const parts = {
      p: `repositories: [r]\npackages: ${parent.replace('[libc6 (>= 1), other, libc6 (<< 9)]', '["libc6 (>= 1)", other, "libc6 (<< 9)"]')}`,
    }
    assert.deepEqual(atoms(await load({ ...parts, x: `parents: [p]\npackages: ${child}` })), expected)
  })

test('stacking one list after the other is folding their items in order', async () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd')
  const item = fc.oneof(
    { weight: 4, arbitrary: name },
    { weight: 2, arbitrary: name.map((each) => `-${each}`) },
    fc.constant('-*'),
  )
  const written = fc.uniqueArray(item, { maxLength: 6 })
  await fc.assert(
    fc.asyncProperty(fc.array(written, { maxLength: 4 }), async (documents) => {
      let model: string[] = []
      for (const each of documents.flat())
        if (each === '-*') model = []
        else if (each.startsWith('-')) model = model.filter((other) => `-${other}` !== each)
        else if (!model.includes(each)) model.push(each)
      const profiles: { [name: string]: string } = {
        x: `parents: [${documents.map((_, at) => `p${at}`).join(', ')}]`,
      }
      for (const [at, items] of documents.entries())
        profiles[`p${at}`] = `repositories: [${items.map((each) => `"${each}"`).join(', ')}]`
      assert.deepEqual((await load(profiles)).repositories, model)
    }),
    { numRuns: 60 },
  )
})

for (const [what, text, message] of [
  ['an unknown key', 'stage5: 1\npackges: [a]', '2:1: unknown key "packges", did you mean "packages"'],
  ['an unknown key far from all others', 'qqqqqqqq: 1', '1:1: unknown key "qqqqqqqq"'],
  ['an unknown key inside', 'strip:\n  class: [man]', '2:3: unknown key "class", did you mean "classes"'],
  ['a key in a wrong place', 'variants: {v: {variants: {}}}', '1:16: unknown key "variants"'],
  [
    'an unknown key in a variant that is not used',
    'variants:\n  v: {hostnme: a}',
    '2:7: unknown key "hostnme", did you mean "hostname"',
  ],
  ['a key written twice', 'id: a\nid: b', '2:1: this key is written twice'],
  [
    'text for a list',
    'repositories: debian',
    '1:15: expected a list, each the name of a file in repos/, found "debian"',
  ],
  ['a list for text', 'hostname: [a]', '1:11: expected a host name, found a list'],
  ['a number for text', 'description: 5', '1:14: expected a sentence, found number 5; write it in quotes'],
  [
    'a word that is none of',
    'network: dchp',
    '1:10: expected one of none, dhcp, found "dchp", did you mean "dhcp"',
  ],
  ['an id with an underscore', 'id: a_b', '1:5: expected an id of the characters a-z 0-9 . -, found "a_b"'],
  ['an item twice', 'repositories: [a, b, a]', '1:22: "a" is listed twice, first in line 1'],
  ['a flag and its opposite', 'use: [a, -a]', '1:10: "a" is listed twice, first in line 1'],
  [
    'a home with a colon',
    'users: [{name: a, home: "/a:b"}]',
    '1:25: expected a path without colons, found "/a:b"',
  ],
  ['a user twice', 'users: [a, {name: a}]', '1:12: "a" is listed twice, first in line 1'],
  [
    'a missing key',
    'provided: [{name: a}]',
    '1:12: expected the key "reason": Why the guests can do without it.',
  ],
  [
    'a label that is too long',
    'data: [{name: a, label: 12345678901234567, size: 1M, paths: [/a]}]',
    '1:25: expected a label of A-Z a-z 0-9 . _ -, found number 12345678901234567; write it in quotes',
  ],
  [
    'a long label',
    'data: [{name: a, label: a2345678901234567, size: 1M, paths: [/a]}]',
    '1:25: expected at most 16 bytes, found 17',
  ],
  [
    'a long name as label',
    'data: [{name: a2345678901234567, size: 1M, paths: [/a]}]',
    '1:8: expected a label of at most 16 bytes, found "a2345678901234567"',
  ],
  [
    'a size without a number',
    'data: [{name: a, size: big, paths: [/a]}]',
    '1:24: expected a size such as 128K, 64M or 2G, found "big"',
  ],
  [
    'a relative path',
    'collisions: [{path: usr, owner: a}]',
    '1:21: expected an absolute path without . or .. components, found "usr"',
  ],
  [
    'a path with dots',
    'collisions: [{path: /usr/../x, owner: a}]',
    '1:21: expected an absolute path without . or .. components, found "/usr/../x"',
  ],
  [
    'a decimal mode',
    'files: [{path: /a, content: "", mode: 999}]',
    '1:39: expected an octal mode such as 0644, found number 999',
  ],
  [
    'two kinds of file',
    'files: [{path: /a, content: "", link: b}]',
    '1:9: expected exactly one of content, from, link or type for /a, found content and link',
  ],
  [
    'no kind of file',
    'files: [{path: /a}]',
    '1:9: expected exactly one of content, from, link or type for /a, found none',
  ],
  [
    'a device without numbers',
    'files: [{path: /a, type: char, major: 1}]',
    '1:9: expected major and minor for the device /a',
  ],
  [
    'numbers without a device',
    'files: [{path: /a, type: dir, major: 1}]',
    '1:9: expected major and minor only for type char or block, found type dir',
  ],
  [
    'an overlay over programs',
    'data: [{name: a, size: 16M, on: overlay, paths: [/etc, /usr/bin]}]',
    '1:8: expected no overlay over programs and libraries, found /usr/bin: what a guest keeps there would hide updates for ever',
  ],
  [
    'an immutable area on a disk',
    'data: [{name: a, size: 16M, mode: immutable, on: disk, paths: [/a]}]',
    '1:8: expected on: left out with mode: immutable, found disk',
  ],
  [
    'an immutable area with a size',
    'data: [{name: a, size: 16M, mode: immutable, paths: [/a]}]',
    '1:8: expected no size with mode: immutable, found 16777216 bytes',
  ],
  [
    'an ephemeral overlay',
    'data: [{name: a, size: 16M, mode: ephemeral, on: overlay, paths: [/a]}]',
    '1:8: expected on: tmpfs or zram with mode: ephemeral, found overlay',
  ],
  [
    'memory without a limit',
    'data: [{name: a, mode: ephemeral, paths: [/a]}]',
    '1:8: expected a size such as 64M, found none',
  ],
  [
    'capabilities of a directory',
    'files: [{path: /a, type: dir, capabilities: x=p}]',
    '1:9: expected capabilities only on a file, found type dir',
  ],
  ['the mode of a symlink', 'files: [{path: /a, link: b, mode: 0777}]', '1:9: a symlink has no mode: /a'],
  [
    'content for the top',
    'files: [{path: /, content: a}]',
    '1:9: expected from: with a folder for the path /',
  ],
  ['odd memory', 'boot: {memory: 1000}', '1:16: expected whole mebibytes such as 256M, found 1000 bytes'],
  [
    'a newer format',
    'stage5: 2',
    '1:9: expected stage5: 1, the format that this version reads, found number 2',
  ],
  ['a list as profile', '- a', '1:1: expected a map of profile keys'],
  [
    'a parent that is no name',
    'parents: [../x]',
    '1:11: expected the name of a profile, such as base or base@debug, found "../x"',
  ],
  [
    'packages without repositories',
    'packages: [a]',
    '1:12: packages are wanted, but neither this profile nor a parent names repositories',
  ],
  ['a uid twice', 'users: [{name: a, uid: 5}, {name: b, uid: 5}]', '1:1: uid 5 is given twice'],
  [
    'data inside data',
    'data: [{name: a, size: 1M, paths: [/v]}, {name: b, size: 1M, paths: [/v/x]}]',
    '1:1: data path /v/x lies inside data path /v',
  ],
  [
    'a label twice',
    'data: [{name: a, size: 1M, paths: [/v]}, {name: b, label: a, size: 1M, paths: [/x]}]',
    '1:1: label "a" is given twice',
  ],
  [
    'a package that is an empty map',
    'packages: [{}]',
    '1:12: expected the key "atom": The package, with constraints where needed.',
  ],
  [
    'a package with a stray colon',
    'packages: [{nginx: }]',
    '1:20: expected a version range such as ^2.1, found nothing',
  ],
  [
    'broken YAML',
    'a: [',
    '1:5: Flow sequence in block collection must be sufficiently indented and end with a ]',
  ],
  ['YAML 1.1', '%YAML 1.1\n---\nid: no', '1:1: expected YAML 1.2, found YAML 1.1'],
  ['a tag', 'id: !secret a', '1:5: '],
  ['an unknown anchor', 'id: *a', '1:5: unknown anchor'],
  ['two documents', 'id: a\n---\nid: b', '2:1: expected one document, found another'],
] as const)
  test(`bad input: ${what}`, async () => {
    await assert.rejects(load({ x: text }), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'S5_PROFILE_INVALID', error.stack)
      assert.ok(
        error.message.split('\n')[0]?.startsWith(`profiles/x.yaml:${message}`),
        `${error.message}\n  instead of\n${message}`,
      )
      return true
    })
  })

test('no and on are words, as YAML 1.2 says', async () => {
  const profile = await load({ x: 'repositories: [no, on, yes]\nscripts: {no: off}' })
  assert.deepEqual([profile.repositories, profile.scripts], [['no', 'on', 'yes'], { no: 'off' }])
})

test('anchors expand, up to a bound', async () => {
  assert.deepEqual((await load({ x: 'repositories: &a [b]\nuse: *a' })).use, ['b'])
  const bomb = [
    'a0: &a0 [x, x, x, x, x, x, x, x, x, x]',
    ...Array.from({ length: 8 }, (_, at) => `a${at + 1}: &a${at + 1} [${`*a${at}, `.repeat(10)}]`),
  ]
  await assert.rejects(load({ x: bomb.join('\n') }), {
    code: 'S5_PROFILE_INVALID',
    message: /expected at most 50000 values/,
  })
  await assert.rejects(load({ x: `id: ${'['.repeat(60)}${']'.repeat(60)}` }), {
    message: /nested deeper than 32 levels/,
  })
  await assert.rejects(load({ x: `id: "${'x'.repeat(2 ** 20)}"` }), {
    message: /expected at most 1048576 bytes/,
  })
  await assert.rejects(load({ x: 'a: &a [*a]' }), { code: 'S5_PROFILE_INVALID' })
})

test('a file that is not UTF-8 is refused', async () => {
  const { read, list } = folder({ 'profiles/x.yaml': Uint8Array.of(0x69, 0x64, 0x3a, 0x20, 0xff) })
  await assert.rejects(loadProfile('x', read, list), {
    code: 'S5_PROFILE_INVALID',
    message: /expected UTF-8 text/,
  })
})

test('all problems of a file are printed, twenty at most', async () => {
  const many = Array.from({ length: 25 }, (_, at) => `qqqq${at}: 1`).join('\n')
  await assert.rejects(
    load({ x: `id: A\n${many}\n` }),
    (error: Error & { data?: { problems?: unknown[]; line?: number } }) => {
      const lines = error.message.split('\n')
      assert.equal(lines.length, 21)
      assert.equal(lines[20], 'profiles/x.yaml: and 6 more')
      assert.deepEqual([error.data?.problems?.length, error.data?.line], [26, 1])
      return true
    },
  )
})

test('a problem in a parent names the parent', async () => {
  await assert.rejects(load({ p: 'id: A', x: 'parents: [p]' }), { message: /^profiles\/p\.yaml:1:5: / })
})

test('cycles are shown as a chain', async () => {
  const profiles = {
    a: 'parents: [b]',
    b: 'parents: [c]',
    c: 'parents: [b]',
    self: 'parents: [self]',
    v: 'variants: {w: {parents: [v@w]}}',
  }
  await assert.rejects(load(profiles, 'a'), {
    code: 'S5_PROFILE_CYCLE',
    message: 'a profile is its own parent: b → c → b',
  })
  await assert.rejects(load(profiles, 'self'), { message: /self → self/ })
  await assert.rejects(load(profiles, 'v@w'), { message: /v@w → v@w/ })
})

test('unknown profiles and variants come with near names', async () => {
  const profiles = { web: 'variants: {php: {}}', 'web.lock': '', x: '\nparents: [wbe]' }
  await assert.rejects(load(profiles, 'wep'), {
    code: 'S5_PROFILE_UNKNOWN',
    message: 'unknown profile "wep": no file profiles/wep.yaml, did you mean web',
  })
  await assert.rejects(load(profiles, 'x'), {
    message: 'profiles/x.yaml:2:11: unknown profile "wbe": no file profiles/wbe.yaml, did you mean web',
  })
  await assert.rejects(load(profiles, 'web@pph'), {
    code: 'S5_PROFILE_UNKNOWN',
    message: 'profile web has no variant "pph", did you mean "php"; it has php',
  })
  await assert.rejects(load(profiles, '../web'), { code: 'S5_PROFILE_UNKNOWN' })
  await assert.rejects(load(profiles, 'qqq'), { code: 'S5_PROFILE_UNKNOWN', hint: 'known: web, x' })
})

test('diamonds that multiply are stopped', async () => {
  const profiles: { [name: string]: string } = { p0: '' }
  for (let at = 1; at < 12; at++) profiles[`p${at}`] = `parents: [p${at - 1}, p${at - 1}]`
  await assert.rejects(load(profiles, 'p11'), {
    code: 'S5_PROFILE_INVALID',
    message: /expected at most 256 mentions of parents/,
  })
})

test('files are read from the project, with modes from their executable bit', async () => {
  const { profile, files } = await loadBoth(
    {
      p: 'files: [{path: /etc/motd, content: "grüße\\n"}, {path: /etc/gone, content: ""}]',
      x: `
parents: [p]
files:
  - {path: /opt/app/, from: ../files/app}
  - {path: /etc/one, from: one.conf, mode: 0600, owner: www}
  - {path: /srv, from: ../files/app, owner: www}
  - {path: /opt/app/data, content: mine}
  - {path: /dev/x, type: char, major: 1, minor: 3}
  - {path: /etc/l, link: ../ü}
  - -/etc/gone
`,
    },
    'x',
    {
      'files/app/run': '!#!/bin/sh\n',
      'files/app/data': 'theirs',
      'files/app/sub/link': '@../data',
      'profiles/one.conf': 'one',
    },
  )
  const rows = profile.files.map((each) => [
    each.path,
    each.type,
    each.content || each.target,
    each.mode.toString(8),
    each.owner,
  ])
  assert.deepEqual(rows, [
    ['/etc/motd', 'file', 'gr\xc3\xbc\xc3\x9fe\n', '644', 'root'],
    ['/opt/app/run', 'file', '#!/bin/sh\n', '755', 'root'],
    ['/opt/app/sub/link', 'symlink', '../data', '777', 'root'],
    ['/etc/one', 'file', 'one', '600', 'www'],
    ['/srv', 'dir', '', '755', 'www'],
    ['/srv/data', 'file', 'theirs', '644', 'www'],
    ['/srv/run', 'file', '#!/bin/sh\n', '755', 'www'],
    ['/srv/sub', 'dir', '', '755', 'www'],
    ['/srv/sub/link', 'symlink', '../data', '777', 'www'],
    ['/opt/app/data', 'file', 'mine', '644', 'root'],
    ['/dev/x', 'char', '', '600', 'root'],
    ['/etc/l', 'symlink', '../\xc3\xbc', '777', 'root'],
  ])
  assert.deepEqual(files, [
    'profiles/x.yaml',
    'profiles/p.yaml',
    'files/app/data',
    'files/app/run',
    'profiles/one.conf',
  ])
})

test('a symlink that is named itself is followed, a link inside a folder is kept', async () => {
  const project = folder({
    'profiles/x.yaml': 'files: [{path: /a, from: link}]',
    'profiles/link': '@elsewhere',
  })
  const read = async (path: string): Promise<Uint8Array | undefined> =>
    path === 'profiles/link' ? Uint8Array.of(65) : await project.read(path)
  const { profile } = await loadProfile('x', read, project.list)
  assert.deepEqual(
    profile.files.map(({ type, content }) => [type, content]),
    [['file', 'A']],
  )
})

test('a folder may be laid over everything', async () => {
  const profile = await load({ x: 'files: [{path: /, from: root}]' }, 'x', {
    'profiles/root/etc/a': 'a',
    'profiles/root/b': 'b',
  })
  assert.deepEqual(
    profile.files.map(({ path }) => path),
    ['/b', '/etc/a'],
  )
})

for (const [what, entry, code, message] of [
  [
    'a source that does not exist',
    '{path: /a, from: nope}',
    'S5_FILE_MISSING',
    /^profiles\/x\.yaml:1:9: the source does not exist: profiles\/nope$/,
  ],
  [
    'a folder with a mode',
    '{path: /a, from: dir, mode: 0700}',
    'S5_PROFILE_INVALID',
    /a folder takes no mode/,
  ],
  ['a file for the top', '{path: /, from: dir/f}', 'S5_PROFILE_INVALID', /expected a folder for \//],
] as const)
  test(`files refuse ${what}`, async () => {
    await assert.rejects(load({ x: `files: [${entry}]` }, 'x', { 'profiles/dir/f': '' }), { code, message })
  })

test('a profile is read in a few milliseconds of the processor', async () => {
  const packages = Array.from({ length: 200 }, (_, at) => `  - package-${at}`).join('\n')
  const text = `repositories: [r]\npackages:\n${packages}\n`
  await load({ x: text })
  const before = process.cpuUsage()
  for (let round = 0; round < 5; round++) await load({ x: text })
  const { user, system } = process.cpuUsage(before)
  const each = (user + system) / 5000
  assert.ok(each < 250, `${each} ms`)
})

test('the places of data areas: persistent, ephemeral, immutable', async () => {
  const { data } = await load({
    x: `
data:
  - {name: own, size: 16M, paths: [/a]}
  - {name: changes, size: 16M, paths: [/b], mode: persistent, on: overlay}
  - {name: memory, size: 1M, paths: [/c], mode: ephemeral}
  - {name: packed, size: 1M, paths: [/d], mode: ephemeral, on: zram}
  - {name: fixed, paths: [/e], mode: immutable}
`,
  })
  assert.deepEqual(
    data.map(({ name, kind, size }) => [name, kind, size]),
    [
      ['own', undefined, 16 * 2 ** 20],
      ['changes', 'overlay', 16 * 2 ** 20],
      ['memory', 'tmpfs', 2 ** 20],
      ['packed', 'zram', 2 ** 20],
      ['fixed', 'immutable', 0],
    ],
  )
})

test('files that are too large in all are refused, with what to do instead', async () => {
  const from = (name: string): string => `{path: /srv/${name}, from: ../files/${name}}`
  const half = new Uint8Array(16 * 1_048_576)
  const sources = { 'files/a': half, 'files/b': half, 'files/c': new Uint8Array(1) }
  const { profile } = await loadBoth({ p: `files: [${from('a')}, ${from('b')}]` }, 'p', sources)
  assert.deepEqual(
    profile.files.map(({ content }) => content.length),
    [half.length, half.length],
  )
  await assert.rejects(loadBoth({ p: `files: [${from('a')}, ${from('b')}, ${from('c')}]` }, 'p', sources), {
    code: 'S5_PROFILE_INVALID',
    message: /p\.yaml:\d+:\d+: files of a profile have at most 32 MiB in all, found 32\.1 MiB with files\/c$/,
    hint: /stage5 pack DIR/,
  })
})
