/** What the words of `stage5 boot` make of an output: memory, ports, the guest's own disks, and what is no word for it. */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import type { GuestSpec } from '../../src/deploy/qemu.ts'
import type { Words } from '../../src/cli/command.ts'
import { guestSpec } from '../../src/cli/guest-spec.ts'
import type { BootRecord, Manifest } from '../../src/cli/manifest.ts'
import { openWorld } from '../../src/cli/world.ts'
import { filesFor } from '../helpers/files.ts'

const WITHOUT_BASE: BootRecord = {
  kernel: 'web.vmlinuz',
  initrd: 'web.initrd',
  verity: 'web.verity',
  cmdline: 'quiet roothash=12',
  memoryCmdline: 'quiet',
  oneInitrd: 'web.one.initrd',
  netboot: 'web.ipxe',
  disk: 'web.raw',
  data: [{ name: 'data', label: 'data', file: 'data.ext4', size: 4, paths: ['/srv'] }],
  ready: 'ready',
  memory: 128,
}
const BOOT: BootRecord = { ...WITHOUT_BASE, base: 'web.squashfs' }
const MANIFEST: Manifest = {
  stage5: 1,
  image: { id: 'web', version: '1', arch: 'amd64', profile: 'web', date: 0 },
  root: '',
  packages: [],
  files: [],
  boot: BOOT,
}

function open(t: TestContext) {
  const directory = filesFor(t, { 'out/web/data.ext4': 'new!', 'out/web/web.raw': 'disk' })
  const options = { directory, offline: true, locked: false, threads: 1, store: join(directory, '.store') }
  const world = openWorld(options, () => {}, t.signal)
  t.after(() => world[Symbol.asyncDispose]())
  const out = join(directory, 'out/web')
  const spec = (given: Words['options'] = {}): Promise<GuestSpec> =>
    guestSpec(world, { arguments: ['web'], options: { accel: 'tcg', ...given } }, out, MANIFEST)
  const specWithoutBase = (given: Words['options'] = {}): Promise<GuestSpec> => {
    const words = { arguments: ['web'], options: { accel: 'tcg', ...given } }
    return guestSpec(world, words, out, { ...MANIFEST, boot: WITHOUT_BASE })
  }
  return { directory, out, spec, specWithoutBase }
}

test('memory, ports and words of the kernel are those of the command, else of the profile', async (t) => {
  const { out, spec } = open(t)
  const plain = await spec()
  assert.deepEqual([plain.memoryMiB, plain.forwards, plain.accel], [128, [], 'tcg'])
  assert.deepEqual(plain.cmdline, ['quiet', 'roothash=12', 'panic=-1'])
  assert.deepEqual(
    [plain.kernel, plain.initrd, plain.base, plain.verity],
    ['web.vmlinuz', 'web.initrd', 'web.squashfs', 'web.verity'].map((name) => join(out, name)),
  )
  const said = await spec({ memory: '1G', forward: ['8080:80', '2222:22'], append: ' a  b=c ' })
  assert.equal(said.memoryMiB, 1024)
  assert.deepEqual(said.forwards, [
    { host: 8080, guest: 80 },
    { host: 2222, guest: 22 },
  ])
  assert.deepEqual(said.cmdline.slice(-3), ['panic=-1', 'a', 'b=c'])
})

test('each way to start a guest has its own files', async (t) => {
  const { out, spec } = open(t)
  const initrd = await spec({ image: 'initrd' })
  assert.deepEqual([initrd.initrd, initrd.base], [join(out, 'web.one.initrd'), undefined])
  assert.deepEqual(initrd.cmdline, ['quiet', 'panic=-1'])
  const netboot = await spec({ image: 'netboot' })
  assert.deepEqual([netboot.netboot, netboot.kernel], [{ folder: out, script: 'web.ipxe' }, undefined])
  const disk = await spec({ image: 'disk' })
  assert.deepEqual([disk.kernel, disk.data, disk.firmware], [undefined, [], undefined])
  assert.notEqual(disk.disk?.file, join(out, 'web.raw'), 'the image itself is never written to')
})

test('a kernel without a base is not started to wait for one, unless words say where it is', async (t) => {
  const { specWithoutBase } = open(t)
  await assert.rejects(specWithoutBase(), (error) => isStage5Error(error, 'S5_OUTPUT_MISSING'))
  assert.equal((await specWithoutBase({ append: 'root=/dev/nfs' })).base, undefined)
  assert.equal((await specWithoutBase({ image: 'initrd' })).base, undefined)
})

test('data disks are made once, in the folder that was named, and anew when that is asked for', async (t) => {
  const { directory, spec } = open(t)
  const own = join(directory, '.stage5/guests/web/data.ext4')
  assert.deepEqual((await spec()).data, [own])
  assert.equal(readFileSync(own, 'utf8'), 'new!')
  writeFileSync(own, 'used')
  await spec()
  assert.equal(readFileSync(own, 'utf8'), 'used')
  // Below the project, wherever the command was started.
  const other = join(directory, 'disks/data.ext4')
  mkdirSync(join(directory, 'disks'))
  writeFileSync(other, 'kept')
  assert.deepEqual((await spec({ data: 'disks' })).data, [other])
  await spec({ fresh: true })
  assert.deepEqual(
    [own, other].map((file) => readFileSync(file, 'utf8')),
    ['new!', 'kept'],
  )
})

for (const [name, options, message] of [
  ['memory', { memory: 'much' }, /--memory expects .*, found "much"/],
  ['a port', { forward: ['80'] }, /--forward expects HOST:GUEST .*, found "80"/],
  ['a way', { image: 'floppy' }, /--image expects kernel, .*, found "floppy"/],
  ['an accelerator', { accel: 'xen' }, /--accel expects kvm, tcg or auto, found "xen"/],
  ['words for what reads none', { image: 'disk', append: 'quiet' }, /--append works with --image kernel/],
] as const)
  test(`${name} that is none is refused`, async (t) => {
    await assert.rejects(open(t).spec(options), { code: 'S5_USAGE', message })
  })

test('an image that the output does not have is named with what adds it', async (t) => {
  for (const image of ['qcow2', 'vhd'])
    await assert.rejects(open(t).spec({ image }), {
      code: 'S5_OUTPUT_MISSING',
      message: new RegExp(`has no ${image}$`),
      hint: `add ${image} to images: of the profile, and build it again`,
    })
})
