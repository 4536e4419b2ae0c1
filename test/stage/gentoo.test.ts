/** What stages do instead of the merge phases of Gentoo's own packages. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { parseArray, parseAssignments } from '../../src/format/assignments.ts'
import { acct } from '../../src/stage/acct.ts'
import { baselayout, keptDirectories } from '../../src/stage/baselayout.ts'
import { capabilityValue } from '../../src/stage/capabilities.ts'
import { envd, joinEnvironment } from '../../src/stage/envd.ts'
import { eselect } from '../../src/stage/eselect.ts'
import type { PackageFacts } from '../../src/stage/facts.ts'
import { filecaps, fileCapabilities } from '../../src/stage/filecaps.ts'
import { users } from '../../src/stage/users.ts'
import { run, runOn, type Spec } from './scene.ts'

const DIR: Spec = {}

function pkg(name: string, control: PackageFacts['control'] = {}): PackageFacts {
  return { label: `${name}_1_b1`, name, version: '1', arch: 'amd64', scheme: 'ebuild', control }
}

test('assignments and arrays are read without a shell', () => {
  const read = (text: string): [string, string][] => [...(parseAssignments(text) ?? [])]
  assert.deepEqual(read('# c\nPATH="/a:/b" # d\nexport X=\'1 $Y\'\nEMPTY=\nif x; then\nZ=a\\ b"c \\$"\n'), [
    ['PATH', '/a:/b'],
    ['X', '1 $Y'],
    ['EMPTY', ''],
    ['Z', 'a bc $'],
  ])
  assert.deepEqual(read('A="two\nlines"\nB=x'), [
    ['A', 'two\nlines'],
    ['B', 'x'],
  ])
  assert.equal(parseAssignments('A="x'), undefined)
  assert.deepEqual(parseArray('X=( a "b c" # d\n\te)\nX+=( f )\n', 'X'), ['a', 'b c', 'e', 'f'])
  assert.deepEqual(parseArray('', 'X'), [])
  for (const bad of ['X=( $Y )', 'X=( {a,b} )', 'X=( a', 'X=( "a )'])
    assert.equal(parseArray(bad, 'X'), undefined, bad)
})

test('variables of env.d are joined as lists or overridden, by the order of file names', () => {
  const file = (values: { readonly [name: string]: string }) => new Map(Object.entries(values))
  const { variables, ldpath } = joinEnvironment([
    file({ PATH: '/usr/bin:/bin', LDPATH: '/usr/lib64:/lib64', EDITOR: 'nano', CONFIG_PROTECT: '/a  /b' }),
    file({ PATH: '/opt/bin:/bin', LDPATH: '/opt/lib:/usr/lib64', EDITOR: 'vi', CONFIG_PROTECT: '/b /c' }),
    file({ COLON_SEPARATED: 'XDG', SPACE_SEPARATED: 'WORDS', XDG: '/x:/y', WORDS: 'p q' }),
    file({ XDG: '/z:/x', WORDS: 'q r', INFOPATH: '' }),
  ])
  assert.deepEqual(
    [...variables],
    [
      ['CONFIG_PROTECT', '/a /b /c'],
      ['EDITOR', 'vi'],
      ['PATH', '/usr/bin:/bin:/opt/bin'],
      ['WORDS', 'p q r'],
      ['XDG', '/x:/y:/z'],
    ],
  )
  assert.deepEqual(ldpath, ['/usr/lib64', '/lib64', '/opt/lib'])
})

const CHOST = 'x86_64-pc-linux-gnu'
const GCC = (version: string): string =>
  `PATH="/usr/${CHOST}/gcc-bin/${version}"\nROOTPATH="/usr/${CHOST}/gcc-bin/${version}"\nGCC_PATH="/usr/${CHOST}/gcc-bin/${version}"\nLDPATH="/usr/lib/gcc/${CHOST}/${version}:/usr/lib/gcc/${CHOST}/${version}/32"\nCTARGET="${CHOST}"\n`

test('env.d becomes profile.env, csh.env and ld.so.conf; the newest GCC is on the way of the loader', async () => {
  const root: { [path: string]: Spec } = {
    'etc/env.d/00glibc': "LDPATH='include ld.so.conf.d/*.conf'\n",
    'etc/env.d/50baselayout': 'PATH="/usr/bin:/bin"\nLDPATH="/lib64:/usr/lib64"\nPAGER="it\'s"\nQ=\\$\'x\'\n',
    'etc/env.d/60x~': 'BAD="',
    'etc/env.d/README': 'BAD="',
    [`etc/env.d/gcc/${CHOST}-9`]: GCC('9'),
    [`etc/env.d/gcc/${CHOST}-13`]: GCC('13'),
    [`etc/env.d/gcc/${CHOST}-13-hardened`]: GCC('99'),
  }
  const full = await run(envd, root)
  assert.equal(
    (await full.text('etc/profile.env')).replace(/^#.*\n\n/, ''),
    `export PAGER='it'\\''s'\nexport PATH='/usr/${CHOST}/gcc-bin/13:/usr/bin:/bin'\nexport Q=$'x'\nexport ROOTPATH='/usr/${CHOST}/gcc-bin/13'\n`,
  )
  assert.match(await full.text('etc/csh.env'), /\nsetenv Q '\$x'\n/)
  const ldconf = (await full.text('etc/ld.so.conf')).split('\n').filter((line) => !line.startsWith('#'))
  assert.deepEqual(ldconf, [
    '',
    'include ld.so.conf.d/*.conf',
    `/usr/lib/gcc/${CHOST}/13`,
    `/usr/lib/gcc/${CHOST}/13/32`,
    '/lib64',
    '/usr/lib64',
    '',
  ])
  assert.equal(full.inode('etc/environment.d'), undefined)
  const strip = { classes: ['compiler'], keep: [], drop: [] }
  const bare = await run(envd, { ...root, 'usr/lib/systemd/systemd': 'x' }, { strip })
  assert.match(await bare.text('etc/profile.env'), /export PATH='\/usr\/bin:\/bin'\n/)
  assert.match(await bare.text('etc/ld.so.conf'), /gcc\/x86_64-pc-linux-gnu\/13\n/)
  assert.match(await bare.text('etc/environment.d/10-gentoo-env.conf'), /^PAGER=it's$/m)
  assert.doesNotMatch(await bare.text('etc/environment.d/10-gentoo-env.conf'), /^PATH=/m)
  const chosen = await run(envd, { ...root, [`etc/env.d/gcc/config-${CHOST}`]: `CURRENT=${CHOST}-9\n` })
  assert.match(await chosen.text(`etc/env.d/04gcc-${CHOST}`), /LDPATH="\/usr\/lib\/gcc\/[^:]*\/9:/)
})

test('envd leaves roots without env.d alone, and files of the profile', async () => {
  assert.deepEqual((await run(envd, { etc: DIR })).paths(), ['', 'etc'])
  const own = { text: 'mine\n', owner: 'stage:files' }
  const kept = await run(envd, { 'etc/env.d/50x': 'LDPATH=/x\n', 'etc/ld.so.conf': own })
  assert.equal(await kept.text('etc/ld.so.conf'), 'mine\n')
  await assert.rejects(run(envd, { 'etc/env.d/50x': 'A="\n' }), (error) =>
    isStage5Error(error, 'S5_STAGE_INVALID'),
  )
})

const MAKEFILE =
  'PV = 2\nKEEP_DIRS = \\\n\t/boot \\\n\t/etc/profile.d \\\n\t/usr/local/bin\nKEEP_DIRS += /var/empty ../x\nall:\n'

test('baselayout makes its directories, links and fstab', async () => {
  assert.deepEqual(keptDirectories(MAKEFILE), ['/boot', '/etc/profile.d', '/usr/local/bin', '/var/empty'])
  const { text, inode, root } = await run(baselayout, {
    'usr/share/baselayout/Makefile': MAKEFILE,
    'usr/share/baselayout/fstab': '# fs\n',
    'usr/lib64': DIR,
  })
  assert.equal(await text('etc/fstab'), '# fs\n')
  for (const path of ['boot', 'etc/profile.d', 'usr/local/bin', 'var/empty'])
    assert.equal(inode(path)?.type, 'dir', path)
  const link = inode('lib64')
  assert.equal(link?.type === 'symlink' && link.target, 'usr/lib64')
  assert.equal(inode('lib32'), undefined)
  assert.equal(inode('tmp')?.mode, 0o1777)
  assert.equal(inode('usr/share/baselayout/Makefile'), undefined)
  assert.deepEqual(
    root.removed.map(({ path, rule }) => `${path} ${rule}`),
    ['usr/share/baselayout/Makefile baselayout'],
  )
  assert.deepEqual((await run(baselayout, { usr: DIR })).paths(), ['', 'usr'])
})

const ACCOUNTS = {
  'usr/share/baselayout/passwd':
    'root:x:0:0:root:/root:/bin/bash\nbin:x:1:1:bin:/bin:/bin/false\nnobody:x:65534:65534:nobody:/var/empty:/bin/false\n',
  'usr/share/baselayout/group':
    'root:x:0:root\nbin:x:1:root,bin\nwheel:x:10:root\nnobody:x:65534:\nshadow:x:42:\n',
}

test("baselayout's accounts, and those of acct packages in the quoting of bash", async () => {
  const { text, inode } = await run(users, {
    ...ACCOUNTS,
    'usr/lib/sysusers.d/acct-group-nginx.conf': 'g\tnginx\t82\n',
    'usr/lib/sysusers.d/acct-user-nginx.conf':
      'u\tnginx\t82:nginx\tAdded\\ by\\ portage\\;\\ \\(web\\)\t/var/lib/nginx\t/sbin/nologin\nm\tnginx\twww\n',
    'usr/lib/sysusers.d/acct-user-man.conf': "u\tman\t13:man\t$'a\\'b\\303\\251'\t/dev/null\t-\n",
    'bin/bash': 'x',
    'sbin/nologin': 'x',
  })
  assert.equal(
    await text('etc/passwd'),
    [
      'root:x:0:0:root:/root:/bin/bash',
      'bin:x:1:1:bin:/bin:/bin/false',
      "man:x:13:13:a'b\u00c3\u00a9:/dev/null:/bin/false",
      'nginx:x:82:82:Added by portage; (web):/var/lib/nginx:/sbin/nologin',
      'nobody:x:65534:65534:nobody:/var/empty:/bin/false',
      '',
    ].join('\n'),
  )
  assert.match(await text('etc/group'), /^root:x:0:\nbin:x:1:root\nwheel:x:10:root\n/)
  assert.match(await text('etc/group'), /^www:x:[0-9]+:nginx$/m)
  assert.match(await text('etc/group'), /^nobody:x:65534:$/m)
  assert.doesNotMatch(await text('etc/group'), /nogroup/)
  assert.equal(inode('etc/shadow')?.mode, 0o640)
})

test('homes of acct packages get the owner and mode that their ebuild says', async () => {
  const conf = (name: string, id: number): string =>
    `u\t${name}\t${id}:${name}\tx\t/var/lib/${name}\t/sbin/nologin\n`
  const root: { [path: string]: Spec } = {
    'usr/lib/sysusers.d/acct-user-one.conf': conf('one', 101),
    'usr/lib/sysusers.d/acct-user-two.conf': conf('two', 102),
    'usr/lib/sysusers.d/acct-user-off.conf': conf('off', 103),
    'var/lib/one': { owner: 'acct-user/one_1_b1' },
    'var/lib/two': { owner: 'acct-user/two_1_b1' },
    'var/lib/off': { owner: 'other_1' },
  }
  const packages = [
    pkg('acct-user/one', {
      'one-0.ebuild': 'ACCT_USER_ID=101\nACCT_USER_HOME_PERMS=0750\nACCT_USER_HOME_OWNER=root:one\n',
    }),
    pkg('acct-user/two', { 'two-0.ebuild': 'ACCT_USER_GROUPS=( two )\n' }),
    pkg('acct-user/off'),
  ]
  const { inode } = await run(acct, root, {}, { packages })
  const meta = (path: string): (number | undefined)[] => {
    const found = inode(path)
    return [found?.mode, found?.uid, found?.gid]
  }
  assert.deepEqual(meta('var/lib/one'), [0o750, 0, 101])
  assert.deepEqual(meta('var/lib/two'), [0o755, 102, 102])
  assert.deepEqual(meta('var/lib/off'), [0o755, 0, 0])
})

test('FILECAPS are set on each name of a file, or the mode where the flag is off', async () => {
  const ebuild =
    'FILECAPS=(\n\tcap_net_raw usr/bin/ping -- # two\n\t-g bin -m 4711 -M 0711 cap_net_admin,cap_net_raw=p usr/bin/dump usr/bin/gone\n)\n'
  assert.deepEqual(
    fileCapabilities({ 'x-1.ebuild': ebuild })?.map(({ capabilities, files }) => [capabilities, files]),
    [
      ['cap_net_raw=ep', ['usr/bin/ping']],
      ['cap_net_admin,cap_net_raw=p', ['usr/bin/dump', 'usr/bin/gone']],
    ],
  )
  for (const bad of [
    'FILECAPS=( cap_net_raw "${X}" )',
    'FILECAPS=( cap_net_raw )',
    'FILECAPS=( -m u+s cap_x f )',
  ])
    assert.equal(fileCapabilities({ 'x-1.ebuild': bad }), undefined, bad)
  const root = { ...ACCOUNTS, 'usr/bin/ping': 'ping', 'usr/bin/dump': { text: 'dump', mode: 0o755 } }
  const on = [pkg('net/x', { INHERITED: 'a fcaps\n', USE: 'amd64 filecaps\n', 'x-1.ebuild': ebuild })]
  const { inode } = await run(filecaps, root, {}, { packages: on })
  assert.deepEqual(inode('usr/bin/ping')?.xattrs, [
    ['security.capability', capabilityValue('cap_net_raw=ep')],
  ])
  assert.equal(inode('usr/bin/ping')?.mode, 0o644)
  assert.equal(inode('usr/bin/dump')?.mode, 0o711)
  const off = [pkg('net/x', { INHERITED: 'fcaps', USE: 'amd64', 'x-1.ebuild': ebuild })]
  const without = await run(filecaps, root, {}, { packages: off })
  assert.equal(without.inode('usr/bin/ping')?.xattrs, undefined)
  const { mode, uid, gid } = without.inode('usr/bin/dump') ?? {}
  assert.deepEqual([mode, uid, gid], [0o4711, 0, 1])
  const quiet = [pkg('net/x', { USE: 'filecaps', 'x-1.ebuild': ebuild })]
  assert.equal((await run(filecaps, root, {}, { packages: quiet })).inode('usr/bin/ping')?.xattrs, undefined)
})

test('bash becomes sh where nobody is; python-exec is passed over where it is not kept', async () => {
  const packages = [pkg('app-shells/bash')]
  const root: { [path: string]: Spec } = {
    bin: { link: 'usr/bin' },
    'usr/bin/bash': 'x',
    'usr/bin/python3.11': 'x',
    'usr/bin/python3.12': 'x',
    'usr/bin/tool': { link: '../lib/python-exec/python-exec2' },
    'usr/bin/other': { link: '../lib/python-exec/python-exec2' },
    'usr/lib/python-exec/python3.9/tool': 'x',
    'usr/lib/python-exec/python3.12/tool': 'x',
    'usr/lib/python-exec/python3.13/tool': 'of a Python that the root has not',
    'usr/lib/python-exec/python3.12/python3': { link: '../../../bin/python3.12' },
    'usr/lib/python-exec/python3.11/python3': { link: '../../../bin/python3.11' },
  }
  const target = (inode: ReturnType<Awaited<ReturnType<typeof run>>['inode']>): string | undefined =>
    inode?.type === 'symlink' ? inode.target : undefined
  const bare = await run(eselect, root, {}, { packages })
  assert.equal(target(bare.inode('usr/bin/sh')), 'bash')
  assert.equal(target(bare.inode('usr/bin/tool')), '/usr/lib/python-exec/python3.12/tool')
  assert.equal(target(bare.inode('usr/bin/other')), '../lib/python-exec/python-exec2')
  assert.equal(target(bare.inode('usr/bin/python3')), '/usr/lib/python-exec/python3.12/python3')
  const kept = await runOn(eselect, bare.root, bare.contents, {}, { packages: [] })
  assert.equal(kept.root, bare.root)
  const wrapped = await run(
    eselect,
    { ...root, 'usr/bin/sh': { link: 'dash' }, 'usr/bin/dash': 'x', 'usr/lib/python-exec/python-exec2': 'x' },
    {},
    { packages },
  )
  assert.equal(target(wrapped.inode('usr/bin/sh')), 'dash')
  assert.equal(target(wrapped.inode('usr/bin/tool')), '../lib/python-exec/python-exec2')
  const whole = { ...root, 'usr/lib/python-exec/python-exec2': 'x' }
  const toolOf = async (strip: { drop: readonly string[]; keep: readonly string[] }) =>
    target(
      (await run(eselect, whole, { strip: { classes: [], ...strip } }, { packages })).inode('usr/bin/tool'),
    )
  const drop = ['/usr/lib/python-exec/python-exec2*']
  assert.equal(await toolOf({ drop, keep: [] }), '/usr/lib/python-exec/python3.12/tool')
  assert.equal(await toolOf({ drop, keep: drop }), '../lib/python-exec/python-exec2')
})

test("PHP's newest slot stands behind the usual name of each SAPI that it has", async () => {
  const packages = [pkg('dev-lang/php')]
  const slot = (version: string, ...names: readonly string[]): { [path: string]: Spec } =>
    Object.fromEntries(names.map((name) => [`usr/lib64/php${version}/${name}`, 'x']))
  const root: { [path: string]: Spec } = {
    'usr/bin': DIR,
    bin: { link: 'usr/bin' },
    ...slot('8.9', 'bin/php', 'bin/php-fpm', 'bin/php-config', 'apache2/libphp8.so', 'bin/other'),
    ...slot('8.10', 'bin/php', 'bin/phpize', 'include/php-fpm'),
    ...slot('7.4', 'bin/php-cgi', 'bin/phpdbg', 'apache2/libphp7.so'),
  }
  const { inode, text } = await run(eselect, root, {}, { packages })
  const target = (path: string): string | undefined => {
    const found = inode(path)
    return found?.type === 'symlink' ? found.target : undefined
  }
  assert.equal(target('usr/bin/php'), '../lib64/php8.10/bin/php')
  assert.equal(target('usr/bin/phpize'), '../lib64/php8.10/bin/phpize')
  assert.equal(target('usr/bin/php-config'), undefined)
  assert.equal(target('usr/bin/php-fpm'), '../lib64/php8.9/bin/php-fpm')
  assert.equal(target('usr/bin/php-cgi'), '../lib64/php7.4/bin/php-cgi')
  assert.equal(target('usr/bin/phpdbg'), '../lib64/php7.4/bin/phpdbg')
  assert.equal(inode('usr/bin/other'), undefined)
  assert.equal(target('usr/lib64/apache2/modules/mod_php.so'), '../../php8.9/apache2/libphp8.so')
  assert.equal(await text('var/lib/eselect-php/mod_php.conf'), 'LoadModule php_module modules/mod_php.so\n')
  const old = await run(eselect, slot('7.4', 'apache2/libphp7.so'), {}, { packages })
  assert.match(await old.text('var/lib/eselect-php/mod_php.conf'), /^LoadModule php7_module /)
  const chosen = { ...root, 'usr/bin/php': { link: 'php7.4' }, 'var/lib/eselect-php/mod_php.conf': 'own\n' }
  const kept = await run(eselect, chosen, {}, { packages })
  const php = kept.inode('usr/bin/php')
  assert.equal(php?.type === 'symlink' && php.target, 'php7.4')
  assert.equal(await kept.text('var/lib/eselect-php/mod_php.conf'), 'own\n')
})
