import assert from 'node:assert/strict'
import { test } from 'node:test'
import { services } from '../../src/stage/services.ts'
import { runDirectories } from '../../src/stage/tmpfiles.ts'
import { run } from './scene.ts'

const BUSYBOX = {
  'usr/bin/busybox': 'elf',
  bin: { link: 'usr/bin' },
  sbin: { link: 'usr/sbin' },
  'usr/sbin': {},
}
const web = { name: 'web', run: "/usr/sbin/nginx -g 'daemon off;'", kind: 'respawn' as const }
const seed = { name: 'seed', run: 'mkdir -p /run/x', kind: 'once' as const }
const shell = { name: 'shell', run: '/bin/sh -l', kind: 'console' as const }

test('services of each kind end up where init looks for them', async () => {
  const { text, inode } = await run(services, BUSYBOX, { services: [web, seed, shell] })
  assert.deepEqual((await text('etc/inittab')).split('\n').slice(1), [
    '::sysinit:/etc/init.d/rcS',
    '::respawn:/etc/stage5/services/web',
    '::respawn:/bin/busybox cttyhack /etc/stage5/services/shell',
    '::ctrlaltdel:/sbin/reboot',
    '::shutdown:/etc/init.d/rcK',
    '',
  ])
  assert.equal((await text('etc/stage5/services/web')).split('\n')[2], `exec ${web.run}`)
  assert.equal(inode('etc/stage5/services/web')?.mode, 0o755)
  const boot = await text('etc/init.d/rcS')
  const [once, ready] = [
    boot.indexOf('/etc/stage5/services/seed'),
    boot.indexOf("echo 'stage5: ready' >/dev/console"),
  ]
  assert.ok(once > 0 && ready > once, boot)
  assert.equal(/udhcpc|sysctl|modprobe|chown/.test(boot), false)
  const init = inode('usr/sbin/init')
  assert.equal(init?.type === 'symlink' && init.target, '/bin/busybox')
})

test('the boot script has only the parts that the root and the profile need', async () => {
  const { text } = await run(
    services,
    {
      ...BUSYBOX,
      'etc/sysctl.d/10.conf': 'kernel.panic = 1\n',
      'usr/lib/tmpfiles.d/php.conf': 'd /run/php 755 root nobody - -\nd /var/lib/x\nL /run/link - - - - x\n',
    },
    {
      network: 'dhcp',
      kernel: { wanted: true, modules: ['zram', 'nbd'], cmdline: [] },
      boot: { ready: "it's up", memory: 1, timeoutSeconds: 1 },
    },
    { ids: { users: { root: 0 }, groups: { nobody: 77 } } },
  )
  const boot = await text('etc/init.d/rcS')
  for (const line of [
    'modprobe -a zram nbd',
    'udhcpc -b -i',
    'sysctl -q -p',
    'mkdir -p /run/php && chmod 755 /run/php && chown 0:77 /run/php',
    `echo 'it'\\''s up' >/dev/console`,
  ])
    assert.ok(boot.includes(line), `${line} in\n${boot}`)
  assert.equal(boot.includes('/run/link'), false)
})

test('a root without busybox, or with another init, is left alone unless services are wanted', async () => {
  const systemd = {
    ...BUSYBOX,
    'usr/sbin/init': { link: '../lib/systemd/systemd' },
    'usr/lib/systemd/systemd': { text: 'elf', owner: 'systemd_252' },
  }
  assert.equal((await run(services, systemd)).inode('etc/inittab'), undefined)
  assert.equal((await run(services, {})).inode('etc/inittab'), undefined)
  await assert.rejects(run(services, systemd, { services: [web] }), {
    code: 'S5_STAGE_INVALID',
    message: /\/usr\/lib\/systemd\/systemd of systemd_252 is the init/,
  })
  await assert.rejects(run(services, {}, { services: [web] }), { message: /the root has no busybox/ })
})

test("the profile's own inittab is not written over", async () => {
  const { text, inode } = await run(services, {
    ...BUSYBOX,
    'etc/inittab': { text: 'mine', owner: 'stage:files' },
  })
  assert.equal(await text('etc/inittab'), 'mine')
  assert.ok(inode('etc/init.d/rcS'))
})

test('runDirectories takes directories below /run and /tmp, and nothing that a shell could trip over', () => {
  const text = [
    'd /run/php 0755 www-data www-data - -',
    'D /var/run/lock/ - - -',
    'd! /tmp/.X11-unix ~1777 root root 10d',
    'd /run/$(reboot)',
    'd /run/../etc',
    'd /run/ok 99 a;b',
    'f /run/file',
    'd /var/lib/x',
  ].join('\n')
  const root = { owner: 'root', group: 'root' }
  assert.deepEqual(runDirectories(text), [
    { path: '/run/php', mode: '0755', owner: 'www-data', group: 'www-data' },
    { path: '/run/lock', mode: '0755', ...root },
    { path: '/tmp/.X11-unix', mode: '1777', ...root },
    { path: '/run/ok', mode: '0755', ...root },
  ])
})

test('the DHCP script is there when the network wants it, and init lies where the root has room for it', async () => {
  const dhcp = await run(services, BUSYBOX, { network: 'dhcp' })
  assert.match(await dhcp.text('etc/stage5/udhcpc'), /^#!\/bin\/sh\n/)
  const plain = await run(services, { 'bin/busybox': 'elf', 'sbin/x': '' })
  assert.equal(plain.inode('etc/stage5/udhcpc'), undefined)
  assert.equal(plain.inode('sbin/init')?.type, 'symlink')
  assert.equal(plain.inode('usr/sbin/init'), undefined)
  const linked = { ...BUSYBOX, 'usr/sbin/init': { link: '../bin/busybox', owner: 'busybox_1' } }
  assert.equal((await run(services, linked)).entry('usr/sbin/init')?.owner, 'busybox_1')
  const other = { 'bin/busybox': 'elf', 'usr/sbin/init': { text: 'elf', owner: 'other_1' } }
  assert.equal((await run(services, other)).inode('etc/inittab'), undefined)
})
