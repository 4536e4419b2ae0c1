import assert from 'node:assert/strict'
import { test } from 'node:test'
import { clamp } from '../../src/stage/clamp.ts'
import { etc } from '../../src/stage/etc.ts'
import { mergeOsRelease, osRelease } from '../../src/stage/os-release.ts'
import { DATE, run } from './scene.ts'

test('the etc stage writes only what is not there', async () => {
  const { text, inode } = await run(
    etc,
    { 'etc/hosts': 'mine\n', tmp: { mode: 0o700 } },
    { hostname: 'web1', network: 'dhcp' },
  )
  assert.equal(await text('etc/hosts'), 'mine\n')
  assert.equal(await text('etc/hostname'), 'web1\n')
  assert.equal(await text('etc/machine-id'), '')
  assert.match(await text('etc/nsswitch.conf'), /^hosts: files dns$/m)
  assert.equal(inode('tmp')?.mode, 0o700)
  assert.equal(inode('var/tmp')?.mode, 0o1777)
  for (const [path, goal] of [
    ['etc/mtab', '../proc/self/mounts'],
    ['etc/resolv.conf', '../run/resolv.conf'],
    ['var/run', '../run'],
  ] as const) {
    const found = inode(path)
    assert.equal(found?.type === 'symlink' && found.target, goal)
  }
  for (const path of ['proc', 'sys', 'dev', 'run']) assert.equal(inode(path)?.type, 'dir')
  assert.equal((await run(etc, {}, { network: 'none' })).inode('etc/resolv.conf'), undefined)
})

test('the etc stage takes out what belongs to one machine, says so, and spares what the profile declares', async () => {
  const { root, inode, text } = await run(
    etc,
    {
      'etc/machine-id': { text: 'abc\n', owner: 'systemd_1' },
      'var/lib/systemd/random-seed': 'x',
      'etc/ssh/ssh_host_ed25519_key': 'secret',
      'etc/ssh/sshd_config': 'keep',
      'etc/machine-info': { link: '../run/info' },
      'etc/resolv.conf': { text: 'nameserver ::1\n', owner: 'stage:files' },
    },
    { network: 'dhcp' },
  )
  assert.equal(await text('etc/machine-id'), '')
  assert.equal(inode('etc/ssh/ssh_host_ed25519_key'), undefined)
  assert.ok(inode('etc/ssh/sshd_config'))
  assert.equal(await text('etc/resolv.conf'), 'nameserver ::1\n')
  assert.deepEqual(
    root.removed.map(({ path, owner, rule, size }) => [path, owner, rule, size]),
    [
      ['etc/machine-id', 'systemd_1', 'etc', 4],
      ['etc/machine-info', 'pkg_1', 'etc', 0],
      ['etc/ssh/ssh_host_ed25519_key', 'pkg_1', 'etc', 6],
      ['var/lib/systemd/random-seed', 'pkg_1', 'etc', 1],
    ],
  )
})

test('the time zone is linked, UTC needs no file, any other zone does', async () => {
  const zone = { 'usr/share/zoneinfo/Europe/Berlin': 'TZif' }
  const { text, inode } = await run(etc, zone, { timezone: 'Europe/Berlin' })
  assert.equal(await text('etc/localtime'), 'TZif')
  assert.equal(await text('etc/timezone'), 'Europe/Berlin\n')
  assert.equal(inode('etc/localtime')?.type, 'symlink')
  assert.equal((await run(etc, {}, { timezone: 'UTC' })).inode('etc/localtime'), undefined)
  await assert.rejects(run(etc, zone, { timezone: 'Europe/Berlni' }), {
    code: 'S5_STAGE_INVALID',
    message: /there is no \/usr\/share\/zoneinfo\/Europe\/Berlni/,
  })
})

test('os-release keeps what the distribution says and names the image', async () => {
  const { text, inode } = await run(
    osRelease,
    { 'usr/lib/os-release': 'PRETTY_NAME="Debian"\nID=debian\nIMAGE_ID=theirs\n', 'etc/os-release': 'stale' },
    { name: 'web@php', id: 'web-php' },
    { version: '12 beta' },
  )
  const expected =
    'PRETTY_NAME="Debian"\nID=debian\nIMAGE_ID=web-php\nIMAGE_VERSION="12 beta"\nVARIANT_ID=php\n'
  assert.equal(await text('usr/lib/os-release'), expected)
  assert.equal(await text('etc/os-release'), expected)
  assert.equal(inode('etc/os-release')?.type, 'symlink')
  assert.match(await (await run(osRelease, {})).text('etc/os-release'), /^ID=stage5$/m)
})

test('mergeOsRelease takes away keys with empty values and quotes what a shell would read', () => {
  assert.equal(
    mergeOsRelease('A=1\nVARIANT_ID=x\n\nB="$y"', { VARIANT_ID: '', A: 'say "$x"' }),
    'A="say \\"\\$x\\""\nB="$y"\n',
  )
})

test('clamp lowers later times and leaves earlier ones, once per inode', async () => {
  const { inode } = await run(clamp, {
    a: { text: '', mtime: DATE + 5 },
    b: { text: '', mtime: DATE - 5 },
    c: { text: '', mtime: DATE },
  })
  assert.deepEqual(
    ['a', 'b', 'c'].map((path) => inode(path)?.mtime),
    [DATE, DATE - 5, DATE],
  )
})

test('what the etc stage took out keeps its target when it was a link', async () => {
  const { root } = await run(etc, { 'etc/machine-info': { link: '../run/info' }, 'etc/machine-id': 'x' })
  assert.deepEqual(
    root.removed.map((each) => each.target),
    [undefined, '../run/info'],
  )
  assert.equal('target' in (root.removed[0] ?? {}), false)
})
