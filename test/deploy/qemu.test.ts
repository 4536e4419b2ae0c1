import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type GuestSpec, qemuArguments } from '../../src/deploy/qemu.ts'

/** A guest with nothing to start from. */
const BARE: GuestSpec = {
  arch: 'amd64',
  data: ['/o/d1', '/o/d2'],
  cmdline: ['quiet', 'stage5.wait=3'],
  memoryMiB: 128,
  forwards: [],
  network: false,
  accel: 'tcg',
  extra: ['-smp', '2'],
}
const SPEC: GuestSpec = { ...BARE, kernel: '/o/k', initrd: '/o/i', base: '/o/b,1:x.squashfs' }

interface DiskNode {
  'node-name': string
  'read-only': boolean
  file: { 'read-only': boolean; filename: string }
}

function after(argv: readonly string[], word: string): (string | undefined)[] {
  return argv.flatMap((found, at) => (found === word ? [argv[at + 1]] : []))
}

test('a guest gets exactly the devices of its spec', () => {
  assert.deepEqual(qemuArguments({ ...SPEC, data: [] }), [
    'qemu-system-x86_64',
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
    ...['-machine', 'pc', '-accel', 'tcg', '-cpu', 'max', '-m', '128', '-serial', 'stdio'],
    ...[
      '-kernel',
      '/o/k',
      '-initrd',
      '/o/i',
      '-append',
      'console=ttyS0 panic=-1 no_timer_check quiet stage5.wait=3',
    ],
    '-blockdev',
    '{"driver":"raw","node-name":"base","read-only":true,' +
      '"file":{"driver":"file","filename":"/o/b,1:x.squashfs","read-only":true}}',
    ...['-device', 'virtio-blk-pci,drive=base,serial=base', '-smp', '2'],
  ])
})

test('a hash tree stands read-only behind its base', () => {
  const argv = qemuArguments({ ...SPEC, verity: '/o/v', data: [] })
  const disks = after(argv, '-blockdev').map((json) => JSON.parse(json as string) as DiskNode)
  assert.deepEqual(
    disks.map((disk) => [disk['node-name'], disk['read-only']]),
    [
      ['base', true],
      ['verity', true],
    ],
  )
  assert.ok(argv.includes('virtio-blk-pci,drive=verity,serial=verity'))
})

test('a guest without a kernel starts from its disk, or from the network', () => {
  const disk = qemuArguments({
    ...BARE,
    data: [],
    disk: { file: '/o/x.qcow2', format: 'qcow2' },
    firmware: '/f',
  })
  assert.deepEqual(after(disk, '-blockdev'), [
    '{"driver":"qcow2","node-name":"disk","file":{"driver":"file","filename":"/o/x.qcow2"}}',
  ])
  assert.deepEqual(after(disk, '-device'), ['virtio-blk-pci,drive=disk,serial=disk,bootindex=0'])
  assert.deepEqual(after(disk, '-bios'), ['/f'])
  assert.ok(!disk.includes('-kernel') && !disk.includes('-append') && !disk.includes('-netdev'))
  const net = qemuArguments({ ...BARE, data: [], netboot: { folder: '/o,1', script: 'x.ipxe' } })
  assert.deepEqual(after(net, '-netdev'), ['user,id=net,tftp=/o,,1,bootfile=x.ipxe'])
  assert.deepEqual(after(net, '-device'), ['virtio-net-pci,netdev=net,bootindex=0'])
})

test('the base is read-only and data disks are writable, in order', () => {
  const argv = qemuArguments(SPEC)
  const disks = after(argv, '-blockdev').map((json) => JSON.parse(json as string) as DiskNode)
  assert.deepEqual(
    disks.map((disk) => [disk['node-name'], disk['read-only'], disk.file['read-only'], disk.file.filename]),
    [
      ['base', true, true, '/o/b,1:x.squashfs'],
      ['data0', false, false, '/o/d1'],
      ['data1', false, false, '/o/d2'],
    ],
  )
})

test('forwards listen on 127.0.0.1 only, and bring a network card', () => {
  const argv = qemuArguments({
    ...SPEC,
    forwards: [
      { host: 8080, guest: 80 },
      { host: 2222, guest: 22 },
    ],
  })
  assert.deepEqual(after(argv, '-netdev'), [
    'user,id=net,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=tcp:127.0.0.1:2222-:22',
  ])
  assert.ok(after(argv, '-device').includes('virtio-net-pci,netdev=net,romfile='))
  assert.deepEqual(after(qemuArguments(SPEC), '-netdev'), [])
  assert.deepEqual(after(qemuArguments({ ...SPEC, network: true }), '-netdev'), ['user,id=net'])
  for (const host of [0, 65_536, 1.5])
    assert.throws(() => qemuArguments({ ...SPEC, forwards: [{ host, guest: 80 }] }), RangeError)
})

test('KVM takes the host CPU; an interactive guest has the monitor behind Ctrl-A', () => {
  assert.deepEqual(after(qemuArguments({ ...SPEC, accel: 'kvm' }), '-cpu'), ['host'])
  assert.deepEqual(after(qemuArguments({ ...SPEC, accel: 'kvm' }), '-append'), [
    'console=ttyS0 panic=-1 quiet stage5.wait=3',
  ])
  assert.deepEqual(after(qemuArguments(SPEC, true), '-serial'), ['mon:stdio'])
})

test('an arm64 guest has its own machine and console', () => {
  const { initrd, base, ...bare } = SPEC
  const argv = qemuArguments({ ...bare, arch: 'arm64', cmdline: [] })
  assert.equal(argv[0], 'qemu-system-aarch64')
  assert.deepEqual(after(argv, '-machine'), ['virt'])
  assert.deepEqual(after(argv, '-append'), ['console=ttyAMA0 panic=-1'])
  assert.ok(initrd && base && !argv.includes('-initrd'))
  const named = qemuArguments({ ...SPEC, cmdline: ['console=hvc0', 'panic=5'] })
  assert.deepEqual(after(named, '-append'), ['panic=-1 no_timer_check console=hvc0 panic=5'])
})
