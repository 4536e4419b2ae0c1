/** A data disk of a real guest of QEMU, migrated by another base: back to the byte on the way back, with that base or none. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { test } from 'node:test'
import type { DriverGeneration, Observed } from '../../src/deploy/driver.ts'
import { guestFolder } from '../../src/deploy/drivers/folder.ts'
import { ownData } from '../../src/deploy/drivers/snapshot.ts'
import type { DataStep } from '../../src/fleet/data-schema.ts'
import { openBench } from '../helpers/fd-bench-qemu.ts'
import { until } from '../helpers/fd-contract.ts'
import { toys } from '../helpers/fd-toys.ts'
import { shellOn } from '../helpers/fdt-console.ts'

const KEEP: DataStep = { kind: 'snapshot', tag: 'r1-g2' }

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

function runs({ manifest }: DriverGeneration, pointer: string): (seen: Observed) => boolean {
  return (seen) => seen.health === 'pass' && seen.digest === manifest && seen.pointer === pointer
}

test('a disk that a trial migrated is the one from before it when the guest goes back, and when it falls back alone', async (t) => {
  const folder = await toys(t)
  if (folder === undefined) return
  const bench = openBench(folder)
  const { driver, guest, first, second, broken } = bench
  const own = guestFolder(join(folder, '.stage5/guests'), guest.name)
  const disk = own.file('data/keep.ext4')
  const shell = (command: string): Promise<string> => shellOn(folder, guest.name, command)
  try {
    await driver.prepare(guest, first, t.signal)
    await driver.switchTo(guest, first, 1, 3, t.signal)
    await until(bench, runs(first, 'trial'), t.signal)
    await driver.commit(guest, first, 1, t.signal)
    assert.match(await shell('seq 1 20000 >/srv/keep/table && sync && echo written'), /written/)
    await driver.stop(guest, t.signal)
    const before = await digestOf(disk)

    await driver.prepare(guest, second, t.signal, KEEP)
    for (let times = 0; times < 2; times++) await driver.switchTo(guest, second, 2, 3, t.signal, KEEP)
    const copy = own.file('before', first.name, 'keep.ext4')
    assert.equal(await digestOf(copy), before)
    assert.ok(statSync(copy).blocks * 512 < statSync(copy).size / 2, 'its holes are holes')
    await until(bench, runs(second, 'trial'), t.signal)
    const migrated = await shell('rm /srv/keep/table; seq 6 >/srv/keep/table6; sync; ls /srv/keep')
    assert.match(migrated, /table6/)
    await driver.stop(guest, t.signal)
    assert.notEqual(await digestOf(disk), before)

    // What the keeper does before it starts the first one, looked at before a kernel mounts it.
    await ownData(own, first.name, t.signal)
    assert.equal(await digestOf(disk), before)
    await ownData(own, second.name, t.signal)
    assert.notEqual(await digestOf(disk), before)
    await driver.rollback(guest, first, 3, t.signal)
    await until(bench, runs(first, 'good'), t.signal)
    assert.equal(await shell('ls /srv/keep | grep -v lost; wc -l </srv/keep/table'), 'table\n20000\n')

    // A base that no kernel mounts: the keeper alone goes back, and its data with it.
    await shell('echo more >>/srv/keep/table; sync')
    await driver.prepare(guest, broken, t.signal, KEEP)
    await driver.switchTo(guest, broken, 4, 1, t.signal, KEEP)
    const back = await until(bench, runs(first, 'good'), t.signal)
    assert.match(back.detail, /used up its starts/)
    assert.equal(await shell('tail -n 1 /srv/keep/table'), 'more\n')
    assert.ok(existsSync(own.file('before', broken.name, 'keep.ext4')))
    await driver.rollback(guest, first, 5, t.signal)
    await driver.collect(guest, [first.name], t.signal)
    assert.ok(!existsSync(own.file('before')))
    assert.equal(await shell('tail -n 1 /srv/keep/table'), 'more\n')
  } finally {
    await driver.stop(guest, t.signal)
  }
})
