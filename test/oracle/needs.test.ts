/** Memory as an input: guests come up with what the arithmetic says, and what does not fit is not built. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { waitReady } from '../../src/deploy/qemu.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { builtOnce, canBoot } from '../helpers/built.ts'
import { stage5 } from '../helpers/console.ts'
import { bootBuilt, type Built } from '../helpers/guest.ts'
import { diskless, initramfsOf, manifestOf, packInto } from '../helpers/i5b-memory.ts'

const MIB = 1_048_576
const DEADLINE_MS = 240_000
const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())

/** A package of so many MiB that no compressor makes smaller; once for each name. */
async function packPad(name: string, mebibytes: number): Promise<void> {
  const folder = join(project.path, name)
  if (existsSync(folder)) return
  mkdirSync(join(folder, 'usr/share'), { recursive: true })
  for (let at = 0; at < mebibytes; at += 32)
    writeFileSync(join(folder, `usr/share/pad${at}`), randomBytes(Math.min(32, mebibytes - at) * MIB))
  await packInto(project.path, name, name)
  mkdirSync(join(project.path, 'repos'), { recursive: true })
  writeFileSync(join(project.path, 'repos/pads.yaml'), 'stage5: 1\nkind: native\nurl: ../packages\n')
}

/** `minimal` with a pad. */
async function built(
  t: TestContext,
  name: string,
  mebibytes: number,
  more: string,
): Promise<Built | undefined> {
  if (!canBoot(t)) return undefined
  await packPad(`pad-${name}`, mebibytes)
  const packages = `packages: ["test/pad-${name}: ^1"]`
  const text = `stage5: 1\nparents: [minimal]\nrepositories: [pads]\n${packages}\n${more}`
  return await builtOnce(t, project.path, name, text)
}

function baseMiB(found: Built): number {
  return statSync(found.file('.squashfs')).size / MIB
}

test('a base of 140 MiB in one initrd comes up with 512 MiB', async (t) => {
  const found = await built(t, 'large', 138, 'memory: 512M\nimages: [squashfs, initrd]\n')
  if (!found) return
  assert.ok(baseMiB(found) > 120 && baseMiB(found) < 150, `${baseMiB(found)} MiB`)
  await using guest = await diskless(found, 512, t.signal)
  await waitReady(guest, 'stage5: ready', DEADLINE_MS)
})

test('a base of 24 MiB in one initrd comes up with 128 MiB; with less the guest says what was cut off', async (t) => {
  const found = await built(t, 'small', 22, 'memory: 128M\nimages: [squashfs, initrd]\n')
  if (!found) return
  assert.ok(baseMiB(found) > 23 && baseMiB(found) < 25, `${baseMiB(found)} MiB`)
  assert.equal(manifestOf(found).boot.memory, 128)
  {
    await using guest = await diskless(found, 128, t.signal)
    await waitReady(guest, 'stage5: ready', DEADLINE_MS)
  }
  const report = readFileSync(found.file('.memory.txt'), 'utf8')
  assert.match(
    report,
    /^ {2}in the initrd, rootfstype=ramfs: 75 \+ 2\.04 × 23\.\d \(base\) = 12[0-9] MiB {2}fits$/m,
  )
  await using guest = await diskless(found, 116, t.signal)
  await assert.rejects(
    waitReady(guest, 'stage5: ready', DEADLINE_MS),
    /the base \/squashfs\.img is cut off \(write error\): too little memory/,
  )
})

test('what fits nowhere is refused with the arithmetic and the largest packages', async (t) => {
  const found = await built(t, 'small', 22, 'memory: 128M\nimages: [squashfs, initrd]\n')
  if (!found) return
  const store = { STAGE5_STORE: process.env['STAGE5_STORE'] ?? join(import.meta.dirname, '../.tmp/store') }
  const profile = join(project.path, 'profiles/small.yaml')
  const refused = async (command: string): Promise<string> => {
    const ran = await stage5(project.path, [command, 'small'], store)
    assert.equal(ran.code, 1, ran.stdout)
    return ran.stderr
  }
  writeFileSync(profile, readFileSync(profile, 'utf8').replace('128M', '100M'))
  await stage5(project.path, ['lock', 'small'], store)
  const built100 = await refused('build')
  assert.match(built100, /S5_MEMORY_SHORT/)
  assert.match(
    built100,
    /rootfstype=ramfs: 75 \+ 2\.04 × 23\.\d \(base\) = 12\d MiB\. Largest: test\/pad-small/,
  )
  assert.match(built100, /start it from a disk \(76 MiB\)/)
  assert.match(
    await refused('plan'),
    /S5_MEMORY_SHORT/,
    'the sizes are known from the last build of these packages',
  )

  writeFileSync(
    profile,
    `${readFileSync(profile, 'utf8').replace('100M', '128M')}budget: {base: 10M, total: 20M}\n`,
  )
  await stage5(project.path, ['lock', 'small'], store)
  const over = await refused('build')
  assert.match(over, /S5_BUDGET_EXCEEDED/)
  assert.match(over, /base has 23\.\d MiB of 10\.0 MiB, 13\.\d MiB too much; total has/)
})

test('a base of 200 MiB on a disk comes up with 96 MiB', async (t) => {
  const found = await built(t, 'disk', 198, 'memory: 96M\nimages: [{format: squashfs, level: 1}]\n')
  if (!found) return
  assert.ok(baseMiB(found) > 199, `${baseMiB(found)} MiB`)
  await using guest = await bootBuilt(found, t.signal, { memoryMiB: 96 })
  await waitReady(guest, 'stage5: ready', DEADLINE_MS)
})

test('ramfs is chosen where tmpfs does not fit', async (t) => {
  const found = await built(t, 'edge', 60, 'memory: 216M\nimages: [{format: squashfs, level: 1}, initrd]\n')
  if (!found) return
  const { memoryCmdline = '', cmdline = '' } = manifestOf(found).boot
  assert.match(memoryCmdline, / rootfstype=ramfs$/)
  assert.equal(/rootfstype/.test(cmdline), false)
  await using guest = await diskless(found, 216, t.signal)
  await waitReady(guest, 'stage5: ready', DEADLINE_MS)
  assert.ok(statSync(initramfsOf(found)).size < 2 * MIB)
})
