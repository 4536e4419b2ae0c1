/** Disks that start by themselves: other programs find them right, and both firmwares boot them. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { copyDataDisk } from '../../src/deploy/data-disk.ts'
import { bootGuest, type Guest, type GuestSpec, waitReady } from '../../src/deploy/qemu.ts'
import { run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { builtOnce } from '../helpers/built.ts'
import { type Built, buildProfile, shell } from '../helpers/guest.ts'

const DEADLINE_MS = 240_000
const OVMF = '/usr/share/ovmf/OVMF.fd'
const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())

const FILES = [OVMF, '/usr/lib/syslinux/mbr/gptmbr.bin', '/usr/lib/systemd/boot/efi/linuxx64.efi.stub']
const TOOLS = ['mformat', 'syslinux', 'qemu-img', 'sgdisk', 'fsck.vfat', 'veritysetup', 'e2fsck']

function built(t: TestContext): Promise<Built | undefined> {
  const text =
    'stage5: 1\nparents: [minimal]\nnetwork: none\nimages: [disk, qcow2, vhd]\n' +
    'data: [{name: data, size: 16M, paths: [/var/log]}]\n'
  return builtOnce(t, project.path, 'disk', text, { tools: TOOLS, files: FILES })
}

/** First sector and number of sectors of each partition, as sgdisk reads them. */
async function partitions(disk: string): Promise<{ start: number; sectors: number }[]> {
  const listed = (await run(['sgdisk', '-p', disk])).stdout.toString()
  return [...listed.matchAll(/^ +\d+ +(\d+) +(\d+) /gm)].map(([, first, last]) => ({
    start: Number(first),
    sectors: Number(last) - Number(first) + 1,
  }))
}

/** A partition in a file of its own. */
async function cut(disk: string, at: number, target: string): Promise<string> {
  const found = (await partitions(disk))[at]
  assert.ok(found)
  const words = [`skip=${found.start}`, `count=${found.sectors}`, 'status=none']
  await run(['dd', `if=${disk}`, `of=${target}`, 'bs=512', ...words])
  return target
}

async function start(disk: GuestSpec['disk'], signal: AbortSignal, firmware?: string): Promise<Guest> {
  const none = { data: [], cmdline: [], forwards: [], network: false, extra: [] }
  const spec: GuestSpec = {
    ...none,
    ...{ arch: 'amd64', accel: 'tcg', memoryMiB: firmware === undefined ? 128 : 256 },
    ...(disk && { disk }),
    ...(firmware !== undefined && { firmware }),
  }
  return await bootGuest(spec, { signal })
}

test('sgdisk, fsck.vfat, e2fsck, veritysetup and qemu-img find the disk right', async (t) => {
  const found = await built(t)
  if (!found) return
  using folder = temporaryDirectory()
  const raw = found.file('.raw')
  const verified = (await run(['sgdisk', '--verify', raw])).stdout.toString()
  assert.match(verified, /^No problems found\./m)
  const kinds = await run(['sgdisk', '-i', '2', raw])
  assert.match(kinds.stdout.toString(), /GUID code: 4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709/)
  const esp = await cut(raw, 0, join(folder.path, 'esp'))
  assert.doesNotMatch((await run(['fsck.vfat', '-n', esp])).stdout.toString(), /differences|Dirty/)
  await run(['e2fsck', '-fn', await cut(raw, 5, join(folder.path, 'data'))])
  const [base, tree] = [await cut(raw, 1, join(folder.path, 'a')), await cut(raw, 2, join(folder.path, 'b'))]
  await run(['veritysetup', 'verify', base, tree, readFileSync(found.file('.roothash'), 'latin1').trim()])
  await run(['qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', raw, found.file('.qcow2')])
  await run(['qemu-img', 'compare', '-f', 'raw', '-F', 'vpc', raw, found.file('.vhd')])
})

test('a damaged table, file system or tree does not get past the same witnesses', async (t) => {
  const found = await built(t)
  if (!found) return
  using folder = temporaryDirectory()
  const bytes = readFileSync(found.file('.raw'))
  bytes.writeUInt8((bytes[1024 + 40] as number) ^ 1, 1024 + 40)
  const copy = join(folder.path, 'copy.raw')
  writeFileSync(copy, bytes)
  const verified = await run(['sgdisk', '--verify', copy], { accept: 'any' })
  assert.doesNotMatch(verified.stdout.toString(), /^No problems found\./m)
  const compared = await run(
    ['qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', copy, found.file('.qcow2')],
    {
      accept: 'any',
    },
  )
  assert.equal(compared.code, 1)
})

for (const [name, firmware, ending, format] of [
  ['BIOS', undefined, '.qcow2', 'qcow2'],
  ['UEFI', OVMF, '.vhd', 'vpc'],
] as const)
  test(`${name} starts the disk (${format}), the base is proved, and data stay on it`, async (t) => {
    const found = await built(t)
    if (!found) return
    using folder = temporaryDirectory()
    const file = join(folder.path, `own${ending}`)
    await copyDataDisk(found.file(ending), file, t.signal)
    {
      await using guest = await start({ file, format }, t.signal, firmware)
      await waitReady(guest, 'stage5: ready', DEADLINE_MS)
      await guest.waitFor('# ', DEADLINE_MS)
      assert.match((await shell(guest, 'grep /base /proc/mounts')).join(), /^\/dev\/dm-0 \S+ squashfs ro,/)
      assert.deepEqual(await shell(guest, 'test -d /sys/firmware/efi && echo uefi'), firmware ? ['uefi'] : [])
      await shell(guest, 'echo kept >/var/log/mark; sync')
    }
    if (firmware !== undefined) return
    await using guest = await start({ file, format }, t.signal)
    await waitReady(guest, 'stage5: ready', DEADLINE_MS)
    await guest.waitFor('# ', DEADLINE_MS)
    assert.deepEqual(await shell(guest, 'cat /var/log/mark'), ['kept'])
  })

for (const [ending, format] of [
  ['.raw', 'raw'],
  ['.vhd', 'vpc'],
] as const)
  test(`one flipped byte in the root partition stops the boot of ${ending}`, async (t) => {
    const found = await built(t)
    if (!found) return
    using folder = temporaryDirectory()
    const root = (await partitions(found.file('.raw')))[1]
    assert.ok(root)
    const bytes = readFileSync(found.file(ending))
    const at = root.start * 512 + 500_000
    bytes.writeUInt8((bytes[at] as number) ^ 1, at)
    const file = join(folder.path, `flipped${ending}`)
    writeFileSync(file, bytes)
    await using guest = await start({ file, format }, t.signal)
    await assert.rejects(
      waitReady(guest, 'stage5: ready', DEADLINE_MS),
      (error) =>
        isStage5Error(error, 'S5_NOT_BOOTED') &&
        /the base \/dev\/vda2 is damaged/.test(JSON.stringify(error.data['reason'])),
    )
  })

test('a second build has the same bytes', async (t) => {
  const found = await built(t)
  if (!found) return
  const sums = readFileSync(found.file('SHA256SUMS'), 'latin1')
  const again = await buildProfile(project.path, 'disk', { TZ: 'Asia/Tokyo', LC_ALL: 'C.UTF-8' })
  assert.ok('file' in again)
  assert.equal(readFileSync(again.file('SHA256SUMS'), 'latin1'), sums)
})
