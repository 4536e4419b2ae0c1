/** The contract of drivers, on those that need no virtual machine. */
import assert from 'node:assert/strict'
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { isStage5Error } from '../../src/base/errors.ts'
import type { GuestDriver } from '../../src/deploy/driver.ts'
import { openDriver } from '../../src/deploy/drivers/open.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { openBench as openDir } from '../helpers/fd-bench-dir.ts'
import { execGroup, openBench as openExec } from '../helpers/fd-bench-exec.ts'
import { driverContract, until } from '../helpers/fd-contract.ts'

driverContract(
  'dir',
  async (t) => {
    const missing = process.getuid?.() !== 0 ? 'root' : findTool('busybox') ? '' : 'busybox'
    if (missing !== '') {
      t.skip(`needs ${missing}`)
      return undefined
    }
    const folder = temporaryDirectory()
    return { ...openDir(folder.path), [Symbol.asyncDispose]: async () => folder[Symbol.dispose]() }
  },
  { tries: 2, killMs: [0, 60] },
)

driverContract(
  'exec',
  async () => {
    const folder = temporaryDirectory()
    return { ...openExec(folder.path), [Symbol.asyncDispose]: async () => folder[Symbol.dispose]() }
  },
  { tries: 2, killMs: [60] },
)

test('exec: a command that is busy, wrong, slow or missing says so, and is never believed', async (t) => {
  using folder = temporaryDirectory()
  const open = (more: Parameters<typeof execGroup>[1]): GuestDriver =>
    openDriver(execGroup(folder.path, more), {
      directory: folder.path,
      checkout: () => Promise.reject(new Error('unused')),
    })
  const { guest, first } = openExec(folder.path)
  const driver = open({})
  writeFileSync(join(folder.path, 'busy'), '')
  await assert.rejects(driver.switchTo(guest, first, 1, 3, t.signal), (error) => {
    assert.ok(isStage5Error(error, 'S5_TOOL_FAILED'))
    assert.deepEqual([error.data['again'], error.data['code']], [true, 75])
    assert.match(error.message, /exit code 75: try later$/)
    return true
  })
  const unknown = await driver.status(guest, t.signal)
  assert.deepEqual([unknown.power, unknown.health, unknown.digest], ['unknown', 'inconclusive', ''])
  rmSync(join(folder.path, 'busy'))
  await driver.switchTo(guest, first, 1, 3, t.signal)
  assert.equal((await driver.status(guest, t.signal)).digest, first.manifest)
  for (const [script, expected] of [
    ['echo hello', /its status is no JSON/],
    ['echo 1', /no JSON object/],
    [`echo '{"power": "up"}'`, /its status is power "up"/],
    [`echo '{"digest": "abc"}'`, /its status is digest "abc"/],
    ['sleep 60', /did not end within 1000 ms/],
  ] as const) {
    const seen = await open({ command: ['sh', '-c', script], timeout: 1 }).status(guest, t.signal)
    assert.equal(seen.health, 'inconclusive', script)
    assert.match(seen.detail, expected)
  }
  await assert.rejects(open({ command: ['no-such-command'] }).status(guest, t.signal), (error) =>
    isStage5Error(error, 'S5_TOOL_MISSING'),
  )
})

test('an output that is not what its generation says is refused before anything starts', async (t) => {
  using folder = temporaryDirectory()
  const { driver, guest, first } = openDir(folder.path)
  const other = { ...first, manifest: `sha256:${'0'.repeat(64)}` }
  await assert.rejects(driver.prepare(guest, other, t.signal), (error) =>
    isStage5Error(error, 'S5_DIGEST_MISMATCH'),
  )
  await assert.rejects(driver.prepare(guest, { ...first, directory: '/nowhere' }, t.signal), (error) =>
    isStage5Error(error, 'S5_OUTPUT_MISSING'),
  )
  assert.equal((await driver.status(guest, t.signal)).power, 'off')
})

test('a token is remembered by the guest, not by who gave it', async (t) => {
  using folder = temporaryDirectory()
  const { driver, guest, first, second } = openExec(folder.path)
  await driver.switchTo(guest, first, 5, 3, t.signal)
  const later = openExec(folder.path).driver
  await assert.rejects(later.switchTo(guest, second, 4, 3, t.signal), (error) => {
    assert.ok(isStage5Error(error, 'S5_TOKEN_STALE'))
    assert.deepEqual(error.data, { guest: 'toy-1', expected: 5, found: 4 })
    return true
  })
})

test('dir: without root it says so, and which driver needs none', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('needs root, to give it up')
  using folder = temporaryDirectory()
  const { first, guest, module } = openDir(folder.path)
  await run(['chown', '-R', '65534', folder.path])
  const words = [fileURLToPath(import.meta.resolve('../helpers/fd-call.ts')), module, folder.path, 'switchTo']
  const { code, stderr } = await run(
    ['setpriv', '--reuid=65534', process.execPath, ...words, JSON.stringify([guest, first, 1, 3])],
    { accept: 'any' },
  )
  assert.equal(code, 1)
  assert.match(stderr, /S5_FILE_FORBIDDEN/)
  assert.match(stderr, /the driver dir mounts an overlay for each guest and needs root/)
})

test('a console that grows for ever is cut, and still says what runs', async (t) => {
  if (process.getuid?.() !== 0 || !findTool('busybox')) return t.skip('needs root and busybox')
  using folder = temporaryDirectory()
  const bench = openDir(folder.path)
  const { driver, guest, first } = bench
  writeFileSync(
    join(folder.path, 'trees/1/start'),
    '#!/bin/sh\necho the beginning\n/bin/busybox yes 0123456789abcdef | /bin/busybox head -c 20000000\necho ready\nexec sleep 1000000\n',
  )
  await driver.prepare(guest, first, t.signal)
  await driver.switchTo(guest, first, 1, 3, t.signal)
  try {
    await until(bench, ({ health }) => health === 'pass', t.signal)
    const own = join(folder.path, '.stage5/guests', guest.name, 'run')
    const log = join(own, 'console.log')
    assert.equal(statSync(log).size, 20_000_020)
    await until(
      bench,
      ({ health, detail }) => {
        assert.equal(health, 'pass', detail)
        return statSync(log).size < 5_000_000
      },
      t.signal,
    )
    assert.equal((await driver.status(guest, t.signal)).health, 'pass')
    assert.match(readFileSync(join(own, 'console.head'), 'utf8'), /^the beginning\n0123456789abcdef\n/)
  } finally {
    await driver.stop(guest, t.signal)
  }
})
