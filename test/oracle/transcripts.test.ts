/** What `stage5 boot --expect` shows of guests that come up, and of one that is asked for what it never says. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { builtOnce } from '../helpers/built.ts'
import { expectConsole } from '../helpers/console.ts'
import { STORE } from '../helpers/guest.ts'

const BOOT_CODE = '/usr/lib/syslinux/mbr/gptmbr.bin'
const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())

async function isBuilt(t: TestContext): Promise<boolean> {
  if (!existsSync(join(project.path, '.store'))) {
    mkdirSync(STORE, { recursive: true })
    symlinkSync(STORE, join(project.path, '.store'))
  }
  const text =
    'stage5: 1\nparents: [minimal]\nnetwork: none\n' +
    'images: [{format: squashfs, level: 3}, initrd, {format: disk, firmware: bios}]\n'
  const needs = { tools: ['mformat', 'syslinux'], files: [BOOT_CODE] }
  return (await builtOnce(t, project.path, 'web', text, needs)) !== undefined
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
