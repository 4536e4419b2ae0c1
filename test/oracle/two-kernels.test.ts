/** Two kernels in one output: each boots with its own modules, directly and from the menus of a disk. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { type TestContext, test } from 'node:test'
import { bootGuest, type Guest, waitReady } from '../../src/deploy/qemu.ts'
import { run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { builtOnce, canBoot } from '../helpers/built.ts'
import { stage5 } from '../helpers/console.ts'
import { type Built, shell } from '../helpers/guest.ts'
import { type TwoKernels, twoKernels } from '../helpers/i5c-kernels.ts'

const DEADLINE_MS = 240_000
const STORE = process.env['STAGE5_STORE'] ?? resolve(import.meta.dirname, '../.tmp/store')
const OVMF = '/usr/share/ovmf/OVMF.fd'
const FILES = [OVMF, '/usr/lib/syslinux/mbr/gptmbr.bin', '/usr/lib/systemd/boot/efi/linuxx64.efi.stub']
const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())

async function built(t: TestContext): Promise<(Built & { kernels: TwoKernels }) | undefined> {
  if (!canBoot(t, { tools: ['mformat', 'syslinux'], files: FILES })) return undefined
  const kernels = twoKernels()
  if ('skip' in kernels) {
    t.skip(kernels.skip)
    return undefined
  }
  const text =
    `stage5: 1\nparents: [minimal]\nnetwork: none\npackages: [linux-image-${kernels.other}]\n` +
    'images: [{format: squashfs, level: 3}, disk]\n'
  const found = await builtOnce(t, project.path, 'two', text)
  return found && { ...found, kernels }
}

async function start(found: Built, signal: AbortSignal, firmware?: string): Promise<Guest> {
  const none = { data: [], cmdline: [], forwards: [], network: false, extra: ['-snapshot'] }
  const disk = { file: found.file('.raw'), format: 'raw' } as const
  const machine = { arch: 'amd64', accel: 'tcg', memoryMiB: 256 } as const
  return await bootGuest(
    { ...none, ...machine, disk, ...(firmware !== undefined && { firmware }) },
    { signal },
  )
}

async function release(guest: Guest): Promise<string> {
  await waitReady(guest, 'stage5: ready', DEADLINE_MS)
  await guest.waitFor('# ', DEADLINE_MS)
  // A module that only this kernel takes is in use: the base is on a virtio disk.
  return (await shell(guest, 'uname -r; grep -c "^virtio_blk " /proc/modules')).join()
}

test('stage5 boot --kernel starts the one that is asked for, and no other name', async (t) => {
  const found = await built(t)
  if (!found) return
  const { usual, other, order } = found.kernels
  const { boot } = JSON.parse(readFileSync(found.file('.manifest.json'), 'utf8')) as {
    boot: { release: string; otherKernels: { release: string }[] }
  }
  assert.deepEqual([boot.release, ...boot.otherKernels.map((one) => one.release)], order)
  const program = (kernel: string) => {
    const words = ['--kernel', kernel, '--expect', 'stage5: ready', '--timeout', '180s', '--accel', 'tcg']
    return stage5(project.path, ['boot', 'two', ...words, '--append', 'ignore_loglevel'], {
      STAGE5_STORE: STORE,
    })
  }
  const older = await program(other)
  assert.equal(older.code, 0, older.stderr)
  assert.ok(older.stderr.includes(`Linux version ${other} `))
  assert.ok(!older.stderr.includes(`Linux version ${usual} `))
  const unknown = await program('6.1.0-1-none')
  assert.equal(unknown.code, 2)
  assert.ok(unknown.stderr.includes(`--kernel expects ${order.join(' or ')}, found "6.1.0-1-none"`))
})

test('mtools finds both in the EFI system partition, and the newest as the default of both loaders', async (t) => {
  const found = await built(t)
  if (!found) return
  const stem = found.file('.raw').replace(/.*\/|\.raw$/g, '')
  const esp = `${found.file('.raw')}@@1M`
  const type = async (path: string) => (await run(['mtype', '-i', esp, `::${path}`])).stdout.toString()
  assert.match(await type('/syslinux.cfg'), new RegExp(`^DEFAULT ${stem}$`, 'm'))
  assert.match(await type('/loader/loader.conf'), new RegExp(`^default ${stem}\\.efi$`, 'm'))
  const listed = (await run(['mdir', '-b', '-i', esp, '::/EFI/Linux'])).stdout.toString().trim().split('\n')
  const names = ['', `-${found.kernels.order[1]}`].map((tail) => `::/EFI/Linux/${stem}${tail}.efi`)
  assert.deepEqual(listed.sort(), names.sort())
})

test('BIOS starts the other one when its name is typed', async (t) => {
  const found = await built(t)
  if (!found) return
  await using guest = await start(found, t.signal)
  const asked = await guest.waitFor('boot: ', DEADLINE_MS)
  assert.ok(asked.found, guest.last(20).join('\n'))
  const stem = found.file('.raw').replace(/.*\/|\.raw$/g, '')
  guest.write(`${stem}-${found.kernels.order[1]}\r`)
  assert.equal(await release(guest), `${found.kernels.order[1]},1`)
})

test('UEFI shows both to who presses a key, and starts the second', async (t) => {
  const found = await built(t)
  if (!found) return
  await using guest = await start(found, t.signal, OVMF)
  const pressing = setInterval(() => guest.write(' '), 50)
  const menu = await guest.waitFor(`${found.kernels.order[1]} `, DEADLINE_MS)
  clearInterval(pressing)
  assert.ok(menu.found, guest.last(20).join('\n'))
  const down = '\x1b[B'
  for (const key of [down, '\r']) {
    await new Promise((later) => setTimeout(later, 1000))
    guest.write(key)
  }
  assert.equal(await release(guest), `${found.kernels.order[1]},1`)
})
