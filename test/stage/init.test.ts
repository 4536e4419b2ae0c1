/** Units of systemd and runlevels of OpenRC: which links a root gets. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import type { PackageFacts } from '../../src/stage/facts.ts'
import { init } from '../../src/stage/init.ts'
import { strip } from '../../src/stage/strip.ts'
import { enabledLinks, fileOfUnit, parseInstall, parsePreset, presetOf } from '../../src/stage/units.ts'
import { linksOf, SYSTEMD_FILES as FILES } from '../helpers/gpost-units.ts'
import { profileOf, run, runOn, type Spec } from './scene.ts'

const SYSTEMD: PackageFacts = {
  label: 'sys-apps/systemd_255_b1',
  name: 'sys-apps/systemd',
  version: '255',
  arch: 'amd64',
  scheme: 'ebuild',
  control: {},
}

test('presets enable what systemctl preset-all enables', async () => {
  const ours = linksOf(await run(init, FILES, {}, { packages: [SYSTEMD] }), 'etc/systemd/system')
  assert.deepEqual(ours, [
    'a.target.wants/both.service -> /usr/lib/systemd/system/both.service',
    'b.target.wants/both.service -> /usr/lib/systemd/system/both.service',
    'c.target.requires/both.service -> /usr/lib/systemd/system/both.service',
    'console-serial-serial@ttyS0.service -> /usr/lib/systemd/system/serial@.service',
    'console-serial-serial@ttyS1.service -> /usr/lib/systemd/system/serial@.service',
    'd.target.wants/reset.service -> /usr/lib/systemd/system/reset.service',
    'dev-ttyS0.device.wants/serial@ttyS0.service -> /usr/lib/systemd/system/serial@.service',
    'dev-ttyS1.device.wants/serial@ttyS1.service -> /usr/lib/systemd/system/serial@.service',
    'getty.target.wants/getty@tty1.service -> /usr/lib/systemd/system/getty@.service',
    'getty.target.wants/serial@ttyS0.service -> /usr/lib/systemd/system/serial@.service',
    'getty.target.wants/serial@ttyS1.service -> /usr/lib/systemd/system/serial@.service',
    'multi-user.target.wants/sshd.service -> /usr/lib/systemd/system/sshd.service',
    'sockets.target.wants/sshd.socket -> /usr/lib/systemd/system/sshd.socket',
    'ssh.service -> /usr/lib/systemd/system/sshd.service',
  ])
})

test('units of the profile are enabled and disabled, whatever presets say', async () => {
  const root: { [path: string]: Spec } = {
    ...FILES,
    'etc/systemd/system/multi-user.target.wants/kept.service': {
      link: '/usr/lib/systemd/system/kept.service',
    },
  }
  const units = ['off.timer', 'serial@ttyS9.service', '-sshd.service', '-sshd.socket', '-kept.service']
  const outcome = await run(init, root, { units })
  assert.deepEqual(linksOf(outcome, 'etc/systemd/system'), [
    'console-serial-serial@ttyS9.service -> /usr/lib/systemd/system/serial@.service',
    'dev-ttyS9.device.wants/serial@ttyS9.service -> /usr/lib/systemd/system/serial@.service',
    'getty.target.wants/serial@ttyS9.service -> /usr/lib/systemd/system/serial@.service',
    'timers.target.wants/off.timer -> /usr/lib/systemd/system/off.timer',
  ])
  assert.deepEqual(
    outcome.root.removed.map(({ path, rule }) => `${path} ${rule}`),
    ['etc/systemd/system/multi-user.target.wants/kept.service init'],
  )
  assert.match(await outcome.text('etc/systemd/system-preset/00-stage5.preset'), /^enable off\.timer\n/)
  const both = await run(init, root, { units }, { packages: [SYSTEMD] })
  assert.ok(!linksOf(both, 'etc/systemd/system').some((link) => link.includes('sshd')))
  assert.ok(linksOf(both, 'etc/systemd/system').some((link) => link.includes('getty@tty1')))
  for (const [name, message] of [
    ['sshx.service', /no package of the root has a unit sshx\.service, did you mean sshd\.service/],
    ['-gone.service', /no package of the root has a unit gone\.service/],
    ['static.service', /static\.service has no \[Install\]/],
    ['serial@.service', /expected an instance such as serial@NAME\.service/],
  ] as const)
    await assert.rejects(run(init, root, { units: [name] }), (error: unknown) => {
      assert.ok(isStage5Error(error, 'S5_STAGE_INVALID'))
      assert.match(error.message, message)
      return true
    })
  await assert.rejects(run(init, {}, { units: ['x.service'] }), /the root has no systemd/)
})

test('parts of units', () => {
  assert.equal(parseInstall('[Unit]\nWantedBy=x\n'), undefined)
  assert.equal(parseInstall('[Install]\nWantedBy=\n'), undefined)
  assert.deepEqual(parseInstall('[Install]\nWantedBy = a  b\n;x\n')?.wantedBy, ['a', 'b'])
  assert.equal(fileOfUnit('a@b.service'), 'a@.service')
  assert.equal(fileOfUnit('a.service'), 'a.service')
  const install = parseInstall('[Install]\nWantedBy=x%%.target\n')
  assert.deepEqual(install && enabledLinks('a.service', install), ['x%.target.wants/a.service'])
  assert.equal(install && enabledLinks('a@.service', install), undefined)
  const rules = parsePreset('enable a@.service b c\ndisable *\nnonsense x\n')
  assert.deepEqual(presetOf(rules, 'a@.service'), ['a@b.service', 'a@c.service'])
  assert.deepEqual(presetOf(rules, 'x.service'), [])
  assert.deepEqual(presetOf([], 'x.service'), ['x.service'])
})

const OPENRC: { readonly [path: string]: Spec } = {
  'sbin/openrc': 'x',
  'etc/init.d/sshd': 'x',
  'etc/init.d/netmount': 'x',
  'etc/init.d/hostname': 'x',
  'usr/share/openrc/runlevels/boot/hostname': { link: '/etc/init.d/hostname' },
  'usr/share/openrc/runlevels/default/netmount': { link: '/etc/init.d/netmount' },
}

test('runlevels: those of OpenRC where none are, with what the profile adds and takes out', async () => {
  const runlevels = { default: ['sshd', '-netmount'], web: ['sshd'] }
  const first = await run(init, OPENRC, { runlevels })
  assert.deepEqual(linksOf(first, 'etc/runlevels'), [
    'boot/hostname -> /etc/init.d/hostname',
    'default/sshd -> /etc/init.d/sshd',
    'web/sshd -> /etc/init.d/sshd',
  ])
  const own = { ...OPENRC, 'etc/runlevels/default/netmount': { link: '/etc/init.d/netmount' } }
  const second = await run(init, own, { runlevels })
  assert.deepEqual(linksOf(second, 'etc/runlevels'), [
    'default/sshd -> /etc/init.d/sshd',
    'web/sshd -> /etc/init.d/sshd',
  ])
  const openrc = { ...SYSTEMD, name: 'sys-apps/openrc' }
  const plain = await run(init, OPENRC, {}, { packages: [openrc] })
  assert.equal(linksOf(plain, 'etc/runlevels').length, 2)
  assert.deepEqual(linksOf(await run(init, OPENRC), 'etc/runlevels'), [])
  await assert.rejects(
    run(init, OPENRC, { runlevels: { default: ['ssh'] } }),
    /has \/etc\/init\.d\/ssh, did you mean sshd/,
  )
  await assert.rejects(run(init, {}, { runlevels }), /the root has no OpenRC/)
  const typed = { runlevels: { defualt: ['sshd'] } }
  await assert.rejects(run(init, OPENRC, typed), /no runlevel defualt, did you mean default/)
  const meant = await run(init, { ...OPENRC, 'etc/runlevels/defualt': {} }, typed)
  assert.deepEqual(linksOf(meant, 'etc/runlevels'), ['defualt/sshd -> /etc/init.d/sshd'])
})

test('a strip class does not take what the profile has its init start', async () => {
  const stripClasses = {
    openrc: { remove: ['/etc/init.d', '/etc/runlevels'] },
    systemd: { remove: ['/usr/lib/systemd', '/etc/systemd'] },
  }
  const stripping = async (
    root: { readonly [path: string]: Spec },
    name: string,
    parts: NonNullable<Parameters<typeof run>[2]>,
    packages: readonly PackageFacts[] = [],
  ) => {
    const { root: made, contents } = await run(init, root, parts, { packages })
    const classes = { strip: { classes: [name], keep: [], drop: [] } }
    return await runOn(strip, made, contents, { ...parts, ...classes }, { stripClasses })
  }
  for (const [root, name, parts, lost] of [
    [OPENRC, 'openrc', { runlevels: { default: ['sshd'] } }, 'etc/runlevels/default/sshd'],
    [FILES, 'systemd', { units: ['sshd.service'] }, 'etc/systemd/system-preset/00-stage5.preset'],
  ] as const)
    await assert.rejects(stripping(root, name, parts), (error: unknown) => {
      assert.ok(isStage5Error(error, 'S5_STAGE_INVALID'))
      assert.match(error.message, new RegExp(`^strip: class ${name} takes /${lost}, `))
      assert.match(error.hint ?? '', new RegExp(`classes: \\[-${name}\\]`))
      return true
    })
  const boots = {
    kernel: { wanted: true, modules: [], cmdline: [] },
    boot: { ready: 'up', memory: 1, timeoutSeconds: 1 },
  }
  const alive = { ...OPENRC, 'bin/sh': 'x', 'sbin/init': 'x' }
  await assert.rejects(stripping(alive, 'openrc', boots), /takes \/etc\/init\.d\/stage5-ready, /)
  const aside = await stripping(FILES, 'systemd', {}, [SYSTEMD])
  assert.deepEqual(linksOf(aside, 'etc/systemd/system'), [])
})

test('systemd and OpenRC say when a guest is up', async () => {
  const parts = {
    kernel: { wanted: true, modules: [], cmdline: [] },
    boot: { ...profileOf().boot, ready: `it's "up" 100% $x` },
  }
  const shell = { 'bin/sh': 'x' }
  const first = await run(
    init,
    { ...FILES, ...shell, 'sbin/init': { link: '../usr/lib/systemd/systemd' } },
    parts,
  )
  assert.deepEqual(linksOf(first, 'etc/systemd/system'), [
    'multi-user.target.wants/stage5-ready.service -> /usr/lib/systemd/system/stage5-ready.service',
  ])
  assert.match(
    await first.text('usr/lib/systemd/system/stage5-ready.service'),
    /^ExecStart=\/bin\/sh -c "echo 'it'\\\\''s \\"up\\" 100%% \$\$x' >\/dev\/console"$/m,
  )
  const second = await run(init, { ...OPENRC, ...shell, 'sbin/init': 'x' }, parts)
  assert.match(
    await second.text('etc/init.d/stage5-ready'),
    /^#!\/sbin\/openrc-run\n(?:.*\n)*\techo 'it'\\''s "up" 100% \$x' >\/dev\/console\n/,
  )
  assert.equal(second.inode('etc/init.d/stage5-ready')?.mode, 0o755)
  assert.deepEqual(linksOf(second, 'etc/runlevels'), ['default/stage5-ready -> /etc/init.d/stage5-ready'])
  const busybox = { 'bin/busybox': 'x', 'sbin/init': { link: '../bin/busybox' } }
  for (const root of [
    { ...shell, 'sbin/init': 'x' },
    FILES,
    { ...OPENRC, ...shell },
    { ...OPENRC, ...shell, ...busybox },
  ]) {
    const none = await run(init, root, parts)
    assert.ok(!none.paths().some((path) => path.includes('stage5-ready')))
  }
})
