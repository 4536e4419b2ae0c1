/** Guests in memory, and the root as tar: GNU tar, cpio and dd read what we wrote, and each way boots. */
import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { bootGuest, type Guest, type GuestSpec, waitReady } from '../../src/deploy/qemu.ts'
import type { Part } from '../../src/emit/one-initrd.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { builtOnce } from '../helpers/built.ts'
import { type Built, shell } from '../helpers/guest.ts'

const DEADLINE_MS = 240_000
const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())

function built(t: TestContext): Promise<Built | undefined> {
  return builtOnce(
    t,
    project.path,
    'ram',
    'stage5: 1\nparents: [minimal]\nnetwork: none\nimages: [squashfs, tar, initrd, netboot]\n',
  )
}

function initramfsOf(found: Built): string {
  return found.file('.one.initrd').replace(/\.one\.initrd$/, '.initrd')
}

async function parts(found: Built, folder: string): Promise<Map<string, string>> {
  const { file, parts: list } = JSON.parse(readFileSync(found.file('parts.json'), 'utf8')) as {
    file: string
    parts: Part[]
  }
  assert.equal(file, basename(found.file('.one.initrd')))
  const places = new Map<string, string>()
  for (const { name, offset, length } of list) {
    const place = join(folder, name.replace('/', '-'))
    const words = [`if=${found.file('.one.initrd')}`, `of=${place}`, `skip=${offset}`, `count=${length}`]
    await run(['dd', ...words, 'iflag=skip_bytes,count_bytes', 'status=none'])
    places.set(name, place)
  }
  return places
}

test('dd gives the parts of one initrd back, and cpio reads the second archive', async (t) => {
  const found = await built(t)
  if (!found) return
  if (!findTool('cpio')) return t.skip('needs cpio')
  using folder = temporaryDirectory()
  const places = await parts(found, folder.path)
  const body = (name: string): Buffer => readFileSync(places.get(name) as string)
  assert.deepEqual(body('initramfs'), readFileSync(initramfsOf(found)))
  assert.deepEqual(body('squashfs.img'), readFileSync(found.file('.squashfs')))
  assert.deepEqual(body('etc/cmdline'), readFileSync(found.file('.cmdline')))
  const listed = await run(['cpio', '-tv', '--quiet', '-n'], { input: body('cpio') })
  assert.match(listed.stdout.toString(), /etc\n.* etc\/cmdline\n.* squashfs\.img\n$/)
})

/** A guest of this output without any disk. */
async function diskless(found: Built, signal: AbortSignal, more: Partial<GuestSpec>): Promise<Guest> {
  const words = { data: [], cmdline: ['quiet', 'stage5.wait=1'], memoryMiB: 128, forwards: [], extra: [] }
  const kernel = found.file('.vmlinuz')
  return await bootGuest(
    { arch: 'amd64', network: false, accel: 'tcg', kernel, ...words, ...more },
    { signal },
  )
}

test('one initrd boots with no disk at all; without its base a guest says so', async (t) => {
  const found = await built(t)
  if (!found) return
  {
    await using guest = await diskless(found, t.signal, { initrd: found.file('.one.initrd') })
    await waitReady(guest, 'stage5: ready', DEADLINE_MS)
    await guest.waitFor('# ', DEADLINE_MS)
    assert.match((await shell(guest, 'grep /base /proc/mounts')).join(), /^\/dev\/loop0 \S+ squashfs ro,/)
    assert.deepEqual(await shell(guest, 'ls /sys/block | grep -v loop'), [])
  }
  await using guest = await diskless(found, t.signal, { initrd: initramfsOf(found) })
  await assert.rejects(
    waitReady(guest, 'stage5: ready', DEADLINE_MS),
    (error) =>
      isStage5Error(error, 'S5_NOT_BOOTED') && /no base found/.test(JSON.stringify(error.data['reason'])),
  )
})

test('a second archive at no multiple of 4 is not unpacked by the kernel', async (t) => {
  const found = await built(t)
  if (!found) return
  using folder = temporaryDirectory()
  const initramfs = readFileSync(initramfsOf(found))
  const places = await parts(found, folder.path)
  const cpio = readFileSync(places.get('cpio') as string)
  const wrong = join(folder.path, 'wrong.initrd')
  const pad = Buffer.alloc(4 - (initramfs.length % 4) + 1)
  writeFileSync(wrong, Buffer.concat([initramfs, pad, cpio]))
  await using guest = await diskless(found, t.signal, { initrd: wrong })
  await assert.rejects(waitReady(guest, 'stage5: ready', DEADLINE_MS), (error) =>
    isStage5Error(error, 'S5_NOT_BOOTED'),
  )
})

test('a guest boots from the network alone', async (t) => {
  const found = await built(t)
  if (!found) return
  const script = basename(found.file('.ipxe'))
  await using guest = await bootGuest(
    {
      ...{ arch: 'amd64', accel: 'tcg', memoryMiB: 192, network: true },
      ...{ data: [], cmdline: [], forwards: [], extra: [] },
      netboot: { folder: found.directory, script },
    },
    { signal: t.signal },
  )
  await waitReady(guest, 'stage5: ready', DEADLINE_MS)
  assert.ok(guest.last(100).some((line) => /^stage5: base \/squashfs\.img ram /.test(line)))
})

test('a guest that gets something else than its base over the network says so', async (t) => {
  const found = await built(t)
  if (!found) return
  using folder = temporaryDirectory()
  for (const ending of ['.vmlinuz', '.ipxe'])
    copyFileSync(found.file(ending), join(folder.path, basename(found.file(ending))))
  copyFileSync(initramfsOf(found), join(folder.path, basename(initramfsOf(found))))
  writeFileSync(join(folder.path, basename(found.file('.squashfs'))), Buffer.alloc(100_000, 'no base '))
  const netboot = { folder: folder.path, script: basename(found.file('.ipxe')) }
  const none = { data: [], cmdline: [], forwards: [], extra: [] }
  await using guest = await bootGuest(
    { ...none, arch: 'amd64', accel: 'tcg', memoryMiB: 192, network: true, netboot },
    { signal: t.signal },
  )
  await assert.rejects(
    waitReady(guest, 'stage5: ready', DEADLINE_MS),
    (error) =>
      isStage5Error(error, 'S5_NOT_BOOTED') &&
      /the base \/squashfs\.img is neither squashfs nor erofs/.test(JSON.stringify(error.data['reason'])),
  )
})

test('GNU tar refuses the root when one byte of a header is wrong', async (t) => {
  const found = await built(t)
  if (!found) return
  using folder = temporaryDirectory()
  const bytes = readFileSync(found.file('.tar'))
  bytes.writeUInt8((bytes[512] as number) ^ 1, 512)
  const wrong = join(folder.path, 'wrong.tar')
  writeFileSync(wrong, bytes)
  const { code, stderr } = await run(['tar', '-tf', wrong], { accept: 'any' })
  assert.equal(code, 2)
  assert.match(stderr, /Skipping to next header/)
})

test('GNU tar lists and unpacks the root as the tree has it', async (t) => {
  const found = await built(t)
  if (!found) return
  using folder = temporaryDirectory()
  const listed = await run(['tar', '-tf', found.file('.tar')])
  const names = listed.stdout.toString().trimEnd().split('\n')
  assert.equal(names[0], './')
  const squashed = await run(['unsquashfs', '-ll', '-n', found.file('.squashfs')], { accept: 'any' })
  const paths = [...squashed.stdout.toString().matchAll(/ squashfs-root\/([^\n]*?)(?: -> .*)?$/gm)].map(
    ([, path]) => path,
  )
  assert.deepEqual(new Set(names.slice(1).map((name) => name.replace(/\/$/, ''))), new Set(paths))
  assert.equal(names.length - 1, paths.length)
  await run(['tar', '-xf', found.file('.tar'), '-C', folder.path, '--exclude=dev/*'])
  const busybox = readFileSync(join(folder.path, 'usr/bin/busybox'))
  assert.equal(busybox.subarray(0, 4).toString('latin1'), '\x7fELF')
  const again = join(folder.path, 'again')
  mkdirSync(again)
  await run(['unsquashfs', '-n', '-f', '-d', again, found.file('.squashfs'), 'usr/bin/busybox'], {
    accept: 'any',
  })
  assert.deepEqual(readFileSync(join(again, 'usr/bin/busybox')), busybox)
})
