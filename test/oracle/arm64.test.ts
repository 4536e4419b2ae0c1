/** A base for another architecture: composed without running any of its code, then booted under its own QEMU. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { bootGuest, waitReady } from '../../src/deploy/qemu.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { builtOnce } from '../helpers/built.ts'
import { type Built, bootBuilt, shell } from '../helpers/guest.ts'
import { diskless, initramfsOf } from '../helpers/i5b-memory.ts'

const DEADLINE_MS = 300_000
const FIRMWARE = '/usr/share/qemu-efi-aarch64/QEMU_EFI.fd'
const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())

const PROFILE = `stage5: 1
parents: [minimal]
arch: arm64
network: none
packages: [-linux-image-cloud-amd64, linux-image-cloud-arm64, systemd-boot-efi]
strip: {drop: [/usr/lib/systemd]}
images: [{format: squashfs, level: 3}, disk, initrd]
`

function built(t: TestContext): Promise<Built | undefined> {
  return builtOnce(t, project.path, 'arm', PROFILE, { tools: ['qemu-system-aarch64', 'mformat'] })
}

/** e_machine of an ELF file, or undefined. */
function machineOf(bytes: Buffer): number | undefined {
  return bytes.toString('latin1', 0, 4) === '\x7fELF' ? bytes.readUInt16LE(18) : undefined
}

test('an arm64 base boots with its own kernel, and proves its base with our program for arm64', async (t) => {
  const found = await built(t)
  if (!found) return
  assert.equal(readFileSync(found.file('.vmlinuz')).toString('latin1', 56, 60), 'ARM\x64')
  assert.notEqual(machineOf(readFileSync('/proc/self/exe')), 183, 'this machine is no arm64 itself')
  const cmdline = readFileSync(found.file('.cmdline'), 'utf8').trim().split(' ')
  assert.ok(cmdline.includes('console=ttyAMA0'), cmdline.join(' '))
  const verity = found.file('.verity')
  await using guest = await bootBuilt(found, t.signal, {
    ...{ arch: 'arm64', verity, cmdline, memoryMiB: 256 },
    initrd: initramfsOf(found),
  })
  await waitReady(guest, 'stage5: ready', DEADLINE_MS)
  await guest.waitFor('# ', DEADLINE_MS)
  assert.deepEqual(await shell(guest, 'uname -m'), ['aarch64'])
  assert.match((await shell(guest, 'grep /base /proc/mounts')).join(), /^\/dev\/dm-0 \S+ squashfs ro,/)
})

test('UEFI for arm64 starts the disk', async (t) => {
  const found = await built(t)
  if (!found) return
  if (!existsSync(FIRMWARE)) return t.skip('needs qemu-efi-aarch64')
  const none = { data: [], forwards: [], network: false, extra: [], accel: 'tcg', arch: 'arm64' } as const
  const disk = { file: found.file('.raw'), format: 'raw' } as const
  const extra = ['-snapshot']
  await using guest = await bootGuest(
    { ...none, cmdline: [], memoryMiB: 256, disk, firmware: FIRMWARE, extra },
    { signal: t.signal },
  )
  await waitReady(guest, 'stage5: ready', DEADLINE_MS)
  assert.ok(guest.last(50).some((line) => /stage5: verity \/dev\/vda2 \/dev\/vda3/.test(line)))
})

test('one initrd for arm64 starts without any disk', async (t) => {
  const found = await built(t)
  if (!found) return
  await using guest = await diskless(found, 256, t.signal, { arch: 'arm64', network: false })
  await waitReady(guest, 'stage5: ready', DEADLINE_MS)
  assert.ok(guest.last(50).some((line) => /^stage5: base \/squashfs\.img arm /.test(line)))
})
