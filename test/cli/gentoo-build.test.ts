/** A PKGDIR in the shape of a real one, to images, as a user does it. */
import assert from 'node:assert/strict'
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { findTool, run } from '../../src/host/run.ts'
import { stage5 } from '../helpers/console.ts'
import { GENTOO_CERTIFICATE } from '../helpers/gpost-certificate.ts'
import { builtInKernel, writeGentooPkgdir } from '../helpers/gpost-pkgdir.ts'

const here = existsSync('/lib/x86_64-linux-gnu/libc.so.6') && existsSync('/bin/busybox')
const skip = here ? false : 'needs the libraries of an amd64 Debian'

let project: string
before(() => {
  project = mkdtempSync(join(tmpdir(), 'gpost-build-'))
  if (skip) return
  cpSync(resolve(import.meta.dirname, '../fixtures/gentoo'), project, { recursive: true })
  writeGentooPkgdir(join(project, 'pkgdir'), GENTOO_CERTIFICATE, [builtInKernel('6.12.8')])
})
after(() => rmSync(project, { recursive: true, force: true }))

/** Builds and gives the file of the output with an ending. */
async function build(profile: string, ...words: string[]): Promise<(ending: string) => string> {
  const { code, stdout, stderr } = await stage5(project, ['build', profile, '--json', ...words])
  assert.equal(code, 0, stderr)
  const { directory } = JSON.parse(stdout) as { directory: string }
  const names = readdirSync(resolve(project, directory))
  return (ending) => {
    const name = names.find((each) => each.endsWith(ending))
    assert.ok(name, `${ending} of ${names.join(' ')}`)
    return join(resolve(project, directory), name)
  }
}

test('packages that Portage built become a root that works', { skip }, async (t) => {
  const output = await build('www-nginx')
  const root = output('.dir')
  const text = (path: string): string => readFileSync(join(root, path), 'utf8')

  await t.test('accounts of baselayout and of acct packages', () => {
    assert.match(text('etc/passwd'), /^root:x:0:0:root:\/root:\/bin\/bash\nbin:x:1:1:/)
    assert.match(
      text('etc/passwd'),
      /^nginx:x:82:82:Added by portage for nginx:\/var\/lib\/nginx:\/bin\/false$/m,
    )
    assert.match(text('etc/group'), /^bin:x:1:nginx,root$/m)
    assert.match(readFileSync(output('.contents.txt'), 'utf8'), /^d 750 82 82 .* \/var\/lib\/nginx$/m)
  })
  await t.test('the environment, and where the loader looks', async () => {
    assert.match(text('etc/profile.env'), /^export PATH='\/usr\/local\/sbin:.*:\/opt\/bin'$/m)
    assert.ok(!existsSync(join(root, 'etc/env.d')))
    const { stdout } = await run(['ldconfig', '-p', '-C', join(root, 'etc/ld.so.cache')])
    const cache = [...stdout.toString().matchAll(/^\t(\S+) .* => (\S+)$/gm)].map(([, name, path]) => [
      name,
      path,
    ])
    assert.deepEqual(Object.fromEntries(cache), {
      'ld-linux-x86-64.so.2': '/lib64/ld-linux-x86-64.so.2',
      'libc.so.6': '/lib64/libc.so.6',
      'libgcc_s.so.1': '/usr/lib/gcc/x86_64-pc-linux-gnu/14/libgcc_s.so.1',
      'libm.so.6': '/lib64/libm.so.6',
      'libstdc++.so.6': '/usr/lib/gcc/x86_64-pc-linux-gnu/14/libstdc++.so.6',
      'libtinfo.so.6': '/lib64/libtinfo.so.6',
      'libz.so.1': '/lib64/libz.so.1',
    })
  })
  await t.test('the runtime of GCC without the compiler', () => {
    assert.deepEqual(readdirSync(join(root, 'usr/lib/gcc/x86_64-pc-linux-gnu/14')), [
      'libgcc_s.so.1',
      'libstdc++.so.6',
      'libstdc++.so.6.0.30',
    ])
    for (const path of [
      'usr/libexec/gcc',
      'usr/x86_64-pc-linux-gnu/gcc-bin',
      'usr/bin/x86_64-pc-linux-gnu-gcc-14',
    ])
      assert.ok(!existsSync(join(root, path)), path)
    const removed = (
      JSON.parse(readFileSync(output('.disk_usage.json'), 'utf8')) as { removed: { rule: string }[] }
    ).removed
    assert.ok(removed.some(({ rule }) => rule === 'compiler'))
  })
  await t.test('links, certificates, capabilities, directories', async () => {
    assert.equal(readlinkSync(join(root, 'usr/bin/sh')), 'bash')
    assert.equal(readlinkSync(join(root, 'lib64')), 'usr/lib64')
    assert.equal(
      readlinkSync(join(root, 'etc/ssl/certs/Test_Root.pem')),
      '/usr/share/ca-certificates/mozilla/Test_Root.crt',
    )
    assert.ok(!existsSync(join(root, 'etc/ssl/certs/Gone_Root.pem')))
    assert.equal(text('etc/ssl/certs/ca-certificates.crt'), GENTOO_CERTIFICATE)
    for (const path of ['home', 'media', 'usr/local/bin', 'var/empty', 'etc/fstab'])
      assert.ok(existsSync(join(root, path)), path)
    if (process.getuid?.() !== 0 || findTool('getcap') === undefined) return
    const { stdout } = await run(['getcap', join(root, 'usr/bin/ping')])
    assert.match(stdout.toString(), /cap_net_raw=ep$/m)
  })
})

test('each profile takes its own PHP of one PKGDIR, under its usual names', { skip }, async () => {
  const php = '/usr/lib64/php8.3/bin/php'
  for (const [profile, links, lacks] of [
    [
      'www-nginx',
      { 'usr/bin/php': php, 'usr/bin/php-fpm': `${php}-fpm` },
      ['usr/lib64/apache2/modules/mod_php.so', 'var/lib/eselect-php/mod_php.conf'],
    ],
    [
      'www-apache',
      {
        'usr/bin/php': php,
        'usr/lib64/apache2/modules/mod_php.so': '/usr/lib64/php8.3/apache2/libphp8.so',
      },
      ['usr/bin/php-fpm', 'usr/lib64/php8.3/bin/php-fpm'],
    ],
  ] as const) {
    const root = (await build(profile))('.dir')
    for (const [name, real] of Object.entries(links))
      assert.equal(realpathSync(join(root, name)), join(realpathSync(root), real), `${profile} ${name}`)
    for (const name of lacks) assert.ok(!existsSync(join(root, name)), `${profile} ${name}`)
  }
  const conf = join((await build('www-apache'))('.dir'), 'var/lib/eselect-php/mod_php.conf')
  assert.equal(readFileSync(conf, 'utf8'), 'LoadModule php_module modules/mod_php.so\n')
  const why = await stage5(project, ['why', 'www-nginx', 'dev-lang/php', '--scripts'])
  assert.equal(why.stdout, 'what the phases of dev-lang/php do is done by: eselect\n')
})

test('a kernel of Gentoo is taken from beside its modules', { skip }, async () => {
  const output = await build('www-nginx@kernel')
  assert.equal(readFileSync(output('.vmlinuz'), 'utf8'), 'kernel image\n')
  assert.ok(readFileSync(output('.initrd')).length > 100_000)
})

test('a phase that no stage replaces is in the plan, and stops the build until it is acknowledged', {
  skip,
}, async () => {
  const elsewhere = { STAGE5_STORE: join(project, 'other-store') }
  const first = await stage5(project, ['plan', 'www-nginx@phases'], elsewhere)
  assert.match(
    first.stdout,
    /\nphases that no stage replaces.*\n {2}read when `stage5 lock` fetches the packages\n(?: {4}.*\n)* {4}www-servers\/nginx 1\.27\.4: pkg_postinst\n/,
  )
  assert.doesNotMatch(first.stdout, /sys-libs\/glibc .*: pkg_|sys-libs\/zlib .*: pkg_/)
  assert.equal((await stage5(project, ['lock', 'www-nginx@phases'])).code, 0)
  const unread = await stage5(project, ['plan', 'www-nginx@phases'], elsewhere)
  assert.match(unread.stdout, /\n {2}of 1[0-9] packages they are known after the first build\n/)
  const plan = await stage5(project, ['plan', 'www-nginx@phases'])
  assert.match(
    plan.stdout,
    /acknowledges them\n {2}www-servers\/nginx 1\.27\.4\n {4}pkg_postinst:5: ln -s [^\n]*\n\n/,
  )
  const { code, stderr } = await stage5(project, ['build', 'www-nginx@phases'])
  assert.equal(code, 1)
  assert.match(
    stderr,
    /error: a package brings scripts that no stage replaces:\n {2}www-servers\/nginx 1\.27\.4\n {4}pkg_postinst:5: ln -s/,
  )
})

test('a plan says nothing of phases that are replaced or acknowledged', { skip }, async () => {
  await build('www-nginx')
  const plan = await stage5(project, ['plan', 'www-nginx', '--json'])
  assert.deepEqual((JSON.parse(plan.stdout) as { phases: unknown }).phases, {
    open: [],
    named: [],
    unread: 0,
  })
})

test('why --scripts says which stages do what phases would do', { skip }, async () => {
  const gcc = await stage5(project, ['why', 'www-nginx', 'sys-devel/gcc', '--scripts'])
  assert.equal(gcc.stdout, 'what the phases of sys-devel/gcc do is done by: envd\n')
  const nginx = await stage5(project, ['why', 'www-nginx', 'www-servers/nginx', '--scripts'])
  assert.match(nginx.stdout, /^# www-servers\/nginx pkg_postinst\nln -s index\.html /)
})

test('the bundled Gentoo profiles build from such packages, with the bytes of a clean build', {
  skip,
}, async () => {
  writeFileSync(join(project, 'repos/gentoo-amd64.yaml'), 'kind: gentoo\nuri: ../pkgdir\n')
  await build('gentoo-minimal', '--verify-incremental')
  const output = await build('gentoo-www', '--verify-incremental')
  assert.equal(readFileSync(output('.vmlinuz'), 'utf8'), 'kernel image\n')
  const contents = readFileSync(output('.contents.txt'), 'utf8')
  assert.match(contents, /^d 750 82 82 .* \/var\/log\/nginx$/m)
  assert.match(contents, / \/usr\/lib\/gcc\/x86_64-pc-linux-gnu\/14\/libstdc\+\+\.so\.6\.0\.30 /)
  assert.doesNotMatch(contents, / \/etc\/init\.d\/nginx | \/etc\/env\.d|libgcc\.a|sysusers\.d|gcc-bin/)
  assert.ok(existsSync(output('data.ext4')))
})

test('pack makes a Gentoo package that the same profile takes after index', { skip }, async () => {
  const words = ['--format', 'gpkg', '--name', 'app-misc/shop', '--version', '1.0-r1', '--out', 'pkgdir']
  const packed = await stage5(project, [
    'pack',
    'profiles',
    ...words,
    '--use',
    'ssl',
    '--depends',
    'sys-libs/zlib:0=',
  ])
  assert.equal(packed.code, 0, packed.stderr)
  assert.match(packed.stdout, /app-misc\/shop\/shop-1\.0-r1-1\.gpkg\.tar/)
  const indexed = await stage5(project, ['index', 'pkgdir'])
  assert.match(indexed.stdout, /pkgdir\/Packages: 20 packages\n/)
  const found = await stage5(project, [
    'resolve',
    '--index',
    'pkgdir/Packages',
    '--profile',
    'www-nginx',
    '--json',
    'app-misc/shop[ssl]',
  ])
  assert.equal(found.code, 0, found.stdout)
  assert.match(found.stdout, /"app-misc\/shop-1\.0-r1#1"/)
  const wrong = await stage5(project, [
    'pack',
    'profiles',
    '--name',
    'a/b',
    '--version',
    '1.0.0',
    '--slot',
    '1',
  ])
  assert.match(wrong.stderr, /--slot does not belong to --format native/)
  const format = await stage5(project, ['pack', 'profiles', '--format', 'rpm'])
  assert.match(format.stderr, /--format expects native or gpkg, found "rpm"/)
})
