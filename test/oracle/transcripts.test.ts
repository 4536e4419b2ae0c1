/** What `stage5 boot --expect` shows of guests that come up, and of one that is asked for what it never says. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type TestContext, test } from 'node:test'
import { findTool } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { expectConsole } from '../helpers/console.ts'
import { type Built, buildProfile, cannotBoot } from '../helpers/guest.ts'

const STORE = process.env['STAGE5_STORE'] ?? resolve(import.meta.dirname, '../.tmp/store')
const BOOT_CODE = '/usr/lib/syslinux/mbr/gptmbr.bin'
const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())
let output: Promise<Built | { skip: string }> | undefined

async function isBuilt(t: TestContext): Promise<boolean> {
  const missing = ['mformat', 'syslinux'].find((tool) => findTool(tool) === undefined)
  if (cannotBoot || missing !== undefined || !existsSync(BOOT_CODE)) {
    t.skip(cannotBoot || `needs ${missing ?? BOOT_CODE}`)
    return false
  }
  if (!output) {
    mkdirSync(join(project.path, 'profiles'))
    mkdirSync(STORE, { recursive: true })
    symlinkSync(STORE, join(project.path, '.store'))
    writeFileSync(
      join(project.path, 'profiles/web.yaml'),
      'stage5: 1\nparents: [minimal]\nnetwork: none\n' +
        'images: [{format: squashfs, level: 3}, initrd, {format: disk, firmware: bios}]\n',
    )
    output = buildProfile(project.path, 'web')
  }
  const found = await output
  if ('skip' in found) t.skip(found.skip)
  return 'file' in found
}

for (const way of ['kernel', 'initrd', 'disk'])
  test(`boot --image ${way}`, async (t) => {
    if (!(await isBuilt(t))) return
    const words = ['--image', way, '--accel', 'tcg', '--expect', 'stage5: ready', '--timeout', '240s']
    assert.equal((await expectConsole(t, `booted-${way}`, project.path, ['boot', 'web', ...words])).code, 0)
  })

test('boot with a base that is not there', async (t) => {
  if (!(await isBuilt(t))) return
  const words = ['--append', 'stage5.base=serial:other stage5.wait=1', '--accel', 'tcg']
  const expected = ['--expect', 'stage5: ready', '--timeout', '240s']
  const ran = await expectConsole(t, 'booted-no-base', project.path, ['boot', 'web', ...words, ...expected])
  assert.equal(ran.code, 1)
})
