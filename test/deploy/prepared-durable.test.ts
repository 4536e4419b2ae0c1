/** What the kernel is asked for while a guest is prepared: what has its name is on the disk, data as much as generations. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { guestFolder } from '../../src/deploy/drivers/folder.ts'
import { findTool } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { openBench } from '../helpers/fd-bench-dir.ts'

const CALL = join(import.meta.dirname, '../helpers/fd-call.ts')

test('a generation and the data of a guest of the driver dir reach the disk before they have their names', (t) => {
  const missing =
    process.getuid?.() !== 0 ? 'root' : ['busybox', 'strace'].find((tool) => findTool(tool) === undefined)
  if (missing !== undefined) return t.skip(`needs ${missing}`)
  using place = temporaryDirectory()
  const { folder, guest, first, module } = openBench(place.path)
  const log = join(place.path, 'calls')
  const strace = ['-f', '-y', '-qq', '-s', '4096', '-e', 'signal=none', '-o', log]
  const calls = ['-e', 'trace=syncfs,rename,renameat,renameat2']
  const { status, stderr } = spawnSync(
    'strace',
    [...strace, ...calls, process.execPath, CALL, module, folder, 'prepare', JSON.stringify([guest, first])],
    { encoding: 'utf8' },
  )
  assert.equal(status, 0, stderr)
  const lines = readFileSync(log, 'utf8').split('\n')
  const own = guestFolder(join(folder, '.stage5/guests'), guest.name)
  for (const [fresh, name] of [
    [own.file('gen', `.${first.name}.new`), own.file('gen', first.name)],
    [own.file('data/log/var/log.new'), own.file('data/log/var/log')],
  ] as const) {
    const named = lines.findIndex((line) => line.includes(`"${fresh}"`) && line.includes(`"${name}"`))
    const synced = lines.findIndex((line) => line.includes('syncfs(') && line.includes(`<${fresh}>`))
    assert.ok(named >= 0, `${name} was not named`)
    assert.ok(synced >= 0 && synced < named, `${name} was named before it was on the disk`)
  }
})
