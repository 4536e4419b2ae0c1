/** What the kernel is asked for while an output is made: its folder has its name only when every byte of it is on the disk. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { test } from 'node:test'
import { findTool } from '../../src/host/run.ts'
import { stage5 } from '../helpers/console.ts'
import { packedProject } from '../helpers/project.ts'

const MAIN = resolve(import.meta.dirname, '../../src/main.js')

test('files, their folder, its name: each is on the disk before the next', async (t) => {
  if (findTool('strace') === undefined) return t.skip('needs strace')
  using project = await packedProject()
  const { directory } = project
  assert.equal((await stage5(directory, ['lock', 'shop'])).code, 0)
  const log = join(directory, 'calls')
  const strace = ['-f', '-y', '-qq', '-s', '4096', '-e', 'signal=none', '-o', log]
  const calls = ['-e', 'trace=fsync,fdatasync,rename,renameat,renameat2']
  const { status, stderr } = spawnSync(
    'strace',
    [...strace, ...calls, process.execPath, MAIN, 'build', 'shop', '--format', 'tar', '--quiet'],
    { cwd: directory, env: { ...process.env, STAGE5_STORE: join(directory, '.store') }, encoding: 'utf8' },
  )
  assert.equal(status, 0, stderr)
  const lines = readFileSync(log, 'utf8').split('\n')
  const named = lines.findIndex((line) => /rename\w*\(.*\/out\/\.shop_[^"]*\.tmp"/.test(line))
  assert.ok(named > 0, 'no folder was renamed')
  const [, fresh = ''] = /"([^"]*\/out\/\.shop_[^"]*\.tmp)"/.exec(lines[named] as string) ?? []
  const synced = (from: number, to: number): Set<string> =>
    new Set(lines.slice(from, to).flatMap((line) => /sync\(\d+<([^>]*)>/.exec(line)?.[1] ?? []))
  const before = synced(0, named)
  const out = join(
    directory,
    'out',
    readdirSync(join(directory, 'out')).find((name) => /^shop_/.test(name)) ?? '',
  )
  assert.equal(basename(fresh).startsWith(`.${basename(out)}.`), true, fresh)
  const files = readdirSync(out)
  assert.ok(files.includes('SHA256SUMS') && files.length > 5)
  assert.deepEqual(
    files.filter((name) => !before.has(join(fresh, name))),
    [],
  )
  assert.ok(before.has(fresh), 'the names in the folder')
  assert.ok(synced(named, lines.length).has(dirname(fresh)), 'the name of the folder')
})
