/** A disk that is larger than its image: the first boot gives the rest to the last data area. */
import assert from 'node:assert/strict'
import { truncateSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { copyDataDisk } from '../../src/deploy/data-disk.ts'
import { bootGuest, type Guest, waitReady } from '../../src/deploy/qemu.ts'
import { run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { builtOnce } from '../helpers/built.ts'
import { type Built, shell } from '../helpers/guest.ts'

const DEADLINE_MS = 240_000
const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())

function built(t: TestContext): Promise<Built | undefined> {
  const text =
    'stage5: 1\nparents: [minimal]\nnetwork: none\nimages: [{format: disk, firmware: bios}]\n' +
    'data: [{name: logs, size: 16M, paths: [/var/log]}, {name: data, size: 16M, paths: [/srv]}]\n'
  return builtOnce(t, project.path, 'grow', text, { tools: ['mformat', 'syslinux', 'sgdisk', 'e2fsck'] })
}

async function start(file: string, signal: AbortSignal): Promise<Guest> {
  const none = { data: [], cmdline: [], forwards: [], network: false, extra: [] }
  const disk = { file, format: 'raw' } as const
  const guest = await bootGuest({ ...none, arch: 'amd64', accel: 'tcg', memoryMiB: 128, disk }, { signal })
  await waitReady(guest, 'stage5: ready', DEADLINE_MS)
  await guest.waitFor('# ', DEADLINE_MS)
  return guest
}

/** First and last sector of the sixth and seventh partition, the data areas. */
async function areas(disk: string): Promise<string[][]> {
  const listed = (await run(['sgdisk', '-p', disk])).stdout.toString()
  return [...listed.matchAll(/^ +[67] +(\d+) +(\d+) /gm)].map(([, first = '', last = '']) => [first, last])
}

test('the last data area grows to the end of the disk once, and keeps what is on it', async (t) => {
  const found = await built(t)
  if (!found) return
  using folder = temporaryDirectory()
  const file = join(folder.path, 'own.raw')
  await copyDataDisk(found.file('.raw'), file, t.signal)
  const before = await areas(file)
  truncateSync(file, 300 * 2 ** 20)
  {
    await using guest = await start(file, t.signal)
    assert.ok(guest.last(60).some((line) => /^stage5: data data grown from 16 to \d+ MiB$/.test(line)))
    const shown = (await shell(guest, 'df -m /srv')).join(' ')
    assert.ok(Number(/ (\d+) +\d+ +\d+ +\d+% /.exec(shown)?.[1]) > 100, shown)
    assert.ok(!guest.last(60).some((line) => line.includes('logs grown')))
    await shell(guest, 'echo kept >/srv/mark; echo kept >/var/log/mark; sync')
    guest.write('poweroff\n')
    await guest.exited
  }
  assert.match((await run(['sgdisk', '--verify', file])).stdout.toString(), /^No problems found\./m)
  const after = await areas(file)
  assert.deepEqual([after[0], after[1]?.[0]], [before[0], before[1]?.[0]])
  const [first, last] = (after[1] as string[]).map(Number) as [number, number]
  assert.ok(last > 290 * 2048, `${last}`)
  const area = join(folder.path, 'area')
  const words = [`skip=${first}`, `count=${last - first + 1}`, 'bs=512', 'status=none']
  await run(['dd', `if=${file}`, `of=${area}`, ...words])
  await run(['e2fsck', '-fn', area])
  await using guest = await start(file, t.signal)
  assert.ok(!guest.last(60).some((line) => line.includes('grown')))
  assert.deepEqual(await shell(guest, 'cat /srv/mark /var/log/mark'), ['kept', 'kept'])
})
