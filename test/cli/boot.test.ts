/** Transcripts of `boot`, `test`, `key` and `convert` as far as they go without a guest. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { expectConsole, stage5 } from '../helpers/console.ts'
import { packedProject, type Project } from '../helpers/project.ts'

let project: Project
before(async () => {
  project = await packedProject()
  await stage5(project.directory, ['lock', 'shop'])
  await stage5(project.directory, ['build', 'shop'])
})
after(() => project[Symbol.dispose]())

const CASES: readonly (readonly [name: string, code: number, words: readonly string[]])[] = [
  ['boot-unknown-image', 2, ['boot', 'shop', '--image', 'floppy']],
  ['boot-unknown-firmware', 2, ['boot', 'shop', '--image', 'disk', '--firmware', 'coreboot']],
  ['boot-firmware-without-disk', 2, ['boot', 'shop', '--firmware', 'uefi', '--accel', 'tcg']],
  ['boot-no-disk', 1, ['boot', 'shop', '--image', 'disk', '--accel', 'tcg']],
  ['boot-no-project', 1, ['-C', 'no/such', 'boot', 'shop']],
  ['boot-timeout-of-nothing', 2, ['boot', 'shop', '--timeout', '90s']],
  ['boot-append-to-disk', 2, ['boot', 'shop', '--image', 'vhd', '--append', 'quiet', '--accel', 'tcg']],
  ['boot-kernel-of-initrd', 2, ['boot', 'shop', '--image', 'initrd', '--kernel', '6.1', '--accel', 'tcg']],
  ['test-no-key', 1, ['test', 'shop']],
  ['test-unknown', 2, ['test', 'shop', '--only', 'serves']],
  ['test-no-kernel', 1, ['test', 'shop', '--no-record', '--accel', 'tcg']],
  ['key-new', 0, ['key', 'new', 'boot']],
  ['key-again', 1, ['key', 'new', 'boot']],
  ['key-show', 0, ['key', 'show', 'boot']],
  ['key-unknown-action', 2, ['key', 'sign', 'boot']],
  ['convert-no-file', 1, ['convert', 'old.img']],
  ['convert-into-foreign-folder', 1, ['convert', 'repos/house.yaml', '-o', 'profiles']],
  ['convert-no-initrd', 1, ['convert', 'profiles/shop.yaml']],
  ['convert-unknown-layout', 2, ['convert', 'old.img', '--to', 'pieces']],
]

for (const [name, code, words] of CASES)
  test(`${name}: ${words.join(' ')}`, async (t) => {
    assert.equal((await expectConsole(t, name, project.directory, words)).code, code)
  })
