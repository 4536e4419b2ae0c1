/** A directory of Portage's packages to images, as a user does it; what is in the image is read by unsquashfs. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test, type TestContext } from 'node:test'
import { stage5 } from '../helpers/console.ts'
import { BUSYBOX, writePkgdir } from '../helpers/pkgdir.ts'
import { openKeys } from '../repo/keys.ts'

const FIXTURE = resolve(import.meta.dirname, '../fixtures/gentoo')
const skip = existsSync(BUSYBOX) ? false : 'needs busybox-static'
const hasUnsquashfs = spawnSync('unsquashfs', ['-version']).error === undefined
const keys = openKeys()

function project(t: TestContext): string {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 's5-gentoo-')))
  t.after(() => rmSync(directory, { recursive: true }))
  cpSync(FIXTURE, directory, { recursive: true })
  return directory
}

async function must(directory: string, ...words: readonly string[]): Promise<string> {
  const ran = await stage5(directory, words)
  assert.equal(ran.code, 0, ran.stderr)
  return ran.stdout
}

const lockOf = (directory: string, name: string): string =>
  readFileSync(join(directory, `profiles/${name}.lock.yaml`), 'utf8')

test('two groups of guests take their own PHP from one PKGDIR', { skip }, async (t) => {
  const directory = project(t)
  writePkgdir(join(directory, 'pkgdir'))
  assert.match(await must(directory, 'lock', 'www-nginx'), /www-nginx\.lock\.yaml: 6 packages/)
  const lock = lockOf(directory, 'www-nginx')
  assert.match(lock, /kind: gentoo\n {4}snapshot: .*\n {4}date: 1760000000\n {4}signatures: "off"\n/)
  assert.equal(lock.match(/^ {4}sha256: "[0-9a-f]{64}"$/gm)?.length, 6)
  assert.match(lock, /name: dev-lang\/php\n {4}version: "8\.3\.9"\n(?: {4}.*\n)* {4}build: 1\n/)
  assert.match(lock, /because: "www-servers\/nginx:mainline: sys-libs\/zlib:0\/1="/)

  await must(directory, 'lock', 'www-apache')
  assert.match(lockOf(directory, 'www-apache'), /build: 2\n/)
  for (const name of ['www-nginx', 'www-apache']) await must(directory, 'build', name)
  if (!hasUnsquashfs) return
  const list = (name: string): string => {
    const out = readdirSync(join(directory, 'out')).find((entry) => entry.startsWith(`${name}_`)) as string
    const image = readdirSync(join(directory, 'out', out)).find((entry) =>
      entry.endsWith('.squashfs'),
    ) as string
    return spawnSync('unsquashfs', ['-lln', join(directory, 'out', out, image)]).stdout.toString()
  }
  const nginx = list('www-nginx')
  for (const path of [
    'usr/bin/busybox',
    'usr/bin/nginx',
    'usr/bin/php-fpm',
    'usr/lib64/libz.so.1 -> libz.so.1.3.1',
    'etc/passwd',
  ])
    assert.ok(nginx.includes(`squashfs-root/${path}`), `${path}\n${nginx}`)
  assert.ok(!nginx.includes('php-apache2'))
  assert.match(nginx, /-rw-r--r-- 82\/82 .*var\/www\/localhost\/index\.html/)
  const apache = list('www-apache')
  assert.ok(apache.includes('php-apache2') && !apache.includes('nginx') && !apache.includes('php-fpm'))
})

test('a phase that nothing replaces stops the build and is shown', { skip }, async (t) => {
  const directory = project(t)
  writePkgdir(join(directory, 'pkgdir'))
  const profile = join(directory, 'profiles/www-nginx.yaml')
  writeFileSync(profile, readFileSync(profile, 'utf8').replace(/scripts:\n.*\n/, ''))
  const ran = await stage5(directory, ['build', 'www-nginx'])
  assert.equal(ran.code, 1)
  assert.match(ran.stderr, /www-servers\/nginx 1\.27\.4\n {4}pkg_postinst:8: ln -s index\.html/)
  assert.match(ran.stderr, /S5_SCRIPT_UNKNOWN/)
  assert.match(
    await must(directory, 'why', 'www-nginx', 'www-servers/nginx', '--scripts'),
    /pkg_postinst\nln -s/,
  )
})

test('a signed PKGDIR is taken, a changed one is not', {
  skip: skip || (keys ? false : 'needs gpg'),
}, async (t) => {
  t.after(() => keys![Symbol.dispose]())
  const directory = project(t)
  const key = keys!.make('build@example.org')
  const sign = {
    manifest: (text: string) => keys!.sign(text, [key]),
    member: (bytes: Uint8Array) => keys!.detach(bytes, key, { armor: true }),
  }
  writePkgdir(join(directory, 'pkgdir'), sign)
  writeFileSync(join(directory, 'repos/keys.asc'), keys!.export([key], { armor: true }))
  const profile = join(directory, 'profiles/www-nginx.yaml')
  const text = readFileSync(profile, 'utf8').replace('[binpkgs]', '[signed]')
  writeFileSync(profile, text)
  const refusedXpak = await stage5(directory, ['lock', 'www-nginx'])
  assert.equal(refusedXpak.code, 1, 'zlib is an xpak, which has no signature')
  assert.match(refusedXpak.stderr, /sys-libs\/zlib/)

  writeFileSync(profile, text.replace('  - www-servers/nginx\n', '').replace(/ {2}- \{ atom: dev.*\n/, ''))
  await must(directory, 'lock', 'www-nginx')
  assert.match(lockOf(directory, 'www-nginx'), /signatures: require\n/)
  await must(directory, 'build', 'www-nginx')

  writeFileSync(
    join(directory, 'repos/keys.asc'),
    keys!.export([keys!.make('other@example.org')], { armor: true }),
  )
  const other = await stage5(directory, ['build', 'www-nginx', '--locked'])
  assert.equal(other.code, 1)
  assert.match(other.stderr, /S5_SIGNATURE_BAD/)
  assert.match(other.stderr, /unknown-key/)

  const repo = join(directory, 'repos/signed.yaml')
  writeFileSync(repo, readFileSync(repo, 'utf8').replace('keyring: keys.asc', 'signatures: off'))
  const weaker = await stage5(directory, ['build', 'www-nginx', '--locked'])
  assert.match(weaker.stderr, /made with signatures: require of signed, now they are: off[^]*S5_LOCK_STALE/)
})

test('a package that the index lists and nobody has is named', { skip }, async (t) => {
  const directory = project(t)
  writePkgdir(join(directory, 'pkgdir'))
  rmSync(join(directory, 'pkgdir/dev-lang/php/php-8.3.9-1.gpkg.tar'))
  const ran = await stage5(directory, ['lock', 'www-nginx'])
  assert.equal(ran.code, 1)
  assert.match(
    ran.stderr,
    /dev-lang\/php_8\.3\.9_b1: .*php-8\.3\.9-1\.gpkg\.tar: no such file[^]*S5_FETCH_FAILED/,
  )
  assert.ok(!existsSync(join(directory, 'profiles/www-nginx.lock.yaml')))
  await must(directory, 'lock', 'www-apache')
})
