/** The bundled Gentoo profiles against an index in the shape of the official one: names, slots, flags, dependencies. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseGentooIndex } from '../../src/format/gentoo-index.ts'
import { loadRepository } from '../../src/resolve/load-repository.ts'
import { stage5 } from '../helpers/console.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'

const TOP = join(import.meta.dirname, '../..')
const INDEX = join(TOP, 'test/fixtures/gentoo-binhost/Packages')

async function order(profile: string, ...more: string[]): Promise<string[]> {
  using project = temporaryDirectory()
  const words = ['resolve', '--index', INDEX, '--profile', profile, '--json', ...more]
  const { code, stdout, stderr } = await stage5(project.path, words)
  assert.equal(code, 0, stdout + stderr)
  return (JSON.parse(stdout) as { order: string[] }).order
}

test('the recorded index is one that Portage would write', () => {
  const index = parseGentooIndex('Packages', readFileSync(INDEX))
  assert.equal(index.size, index.count)
  for (const { fields } of index.entries())
    for (const key of [
      'BUILD_ID',
      'BUILD_TIME',
      'CPV',
      'DEFINED_PHASES',
      'EAPI',
      'MD5',
      'PATH',
      'SHA1',
      'SIZE',
      'USE',
    ])
      assert.ok(fields.has(key), `${fields.get('CPV')}: ${key}`)
})

test('gentoo-minimal takes the layout, busybox and the newest kernel, and nothing else', async () => {
  assert.deepEqual(await order('gentoo-minimal'), [
    'sys-apps/baselayout-2.17#1',
    'sys-apps/busybox-1.36.1-r3#1',
    'sys-kernel/gentoo-kernel-bin-6.12.16#1',
  ])
})

test('gentoo-www takes nginx of the stable slot and what it needs, and no tools to build with', async () => {
  const found = await order('gentoo-www')
  for (const name of [
    'www-servers/nginx-1.26.3#1',
    'acct-user/nginx-0-r4#1',
    'dev-libs/openssl-3.3.3#1',
    'virtual/libcrypt-2-r1#1',
  ])
    assert.ok(found.includes(name), name)
  assert.ok(found.indexOf('acct-user/nginx-0-r4#1') < found.indexOf('www-servers/nginx-1.26.3#1'))
  assert.ok(
    !found.some((name) => /^sys-devel\/binutils|gawk|app-arch\/gzip|sys-apps\/grep|coreutils/.test(name)),
  )
  assert.equal(found.length, 18)
})

test('the PHP of gentoo-www@php is the build with fpm', async () => {
  const found = await order('gentoo-www@php')
  assert.ok(found.includes('dev-lang/php-8.3.17#1'))
  assert.ok(!found.some((name) => name.startsWith('app-eselect/')))
})

test('the official binhost is signed, and its key is that of Gentoo', async () => {
  const { gentoo } = await loadRepository(
    'gentoo-amd64',
    async (path) => await Promise.resolve(readFileSync(join(TOP, path))),
    () => Promise.resolve([]),
  )
  assert.equal(gentoo?.signatures, 'require')
  assert.deepEqual(gentoo.keyring, ['/usr/share/openpgp-keys/gentoo-release.asc'])
  assert.match(gentoo.binhosts[0]?.uri ?? '', /\/releases\/amd64\/binpackages\/23\.0\/x86-64$/)
})
