import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { after, it } from 'node:test'
import { openSqliteEngine } from '../../src/engine/sqlite.ts'
import { expectConsole, stage5 } from '../helpers/console.ts'
import { ask } from '../helpers/fe-guests.ts'
import { startReplica, writeGroup } from '../helpers/fe-replicas.ts'

const directory = mkdtempSync(join(tmpdir(), 'fe-cli-'))
after(() => rmSync(directory, { recursive: true, force: true }))
writeGroup(directory, 3, 1)

it('does not let other machines ask a store that only this one has', async (t) => {
  const { code } = await expectConsole(t, 'fleetlock-reach', directory, [
    'fleetlock',
    '--listen',
    '0.0.0.0:8460',
  ])
  assert.equal(code, 2)
  assert.equal(existsSync(join(directory, '.stage5/fleet.db')), false)
})

it('says what it expects of its options', async () => {
  for (const words of [
    ['--engine', 'redis://h'],
    ['--listen', '8460'],
    ['--hold', 'soon'],
  ]) {
    const { code, stderr } = await stage5(directory, ['fleetlock', ...words])
    assert.equal(code, 2)
    assert.match(stderr, /S5_USAGE/)
  }
})

it('serves, keeps the slots over a kill, and refuses another store for the same project', async () => {
  const first = await startReplica(directory, 'sqlite:a.db')
  const said = await ask(first.address, 'pre-reboot', 'g-1', 'web')
  assert.equal(said.status, 200)
  await first.kill()
  assert.equal(readFileSync(join(directory, '.stage5/fleet.id'), 'utf8'), `${said.store}\n`)

  const other = await stage5(directory, ['fleetlock', '--engine', 'sqlite:b.db', '--listen', '127.0.0.1:0'])
  assert.equal(other.code, 1)
  assert.match(other.stderr, /S5_ENGINE_OTHER/)
  assert.match(other.stderr, /delete \S*\.stage5\/fleet\.id/)
  assert.ok(other.stderr.includes(said.store))

  const second = await startReplica(directory, 'sqlite:a.db')
  assert.equal((await ask(second.address, 'pre-reboot', 'g-1', 'web')).status, 200)
  assert.equal((await ask(second.address, 'pre-reboot', 'g-2', 'web')).kind, 'failed_lock_semaphore_full')
  writeGroup(directory, 3, 2)
  while ((await ask(second.address, 'pre-reboot', 'g-2', 'web')).status !== 200);
  await second.kill()
  await using engine = await openSqliteEngine(join(directory, 'a.db'))
  const stored = JSON.parse((await engine.list('/s5/v1/grp/web')).values[0]?.value ?? '') as {
    holders: object
  }
  assert.deepEqual(Object.keys(stored.holders), ['g-1', 'g-2'])
})

it('listens on a socket of Unix and ends when it is asked to', async () => {
  const project = mkdtempSync(join(directory, 'unix-'))
  writeGroup(project, 1, 1)
  const path = join(project, 'lock.sock')
  const words = ['-C', project, 'fleetlock', '--listen', `unix:${path}`]
  const child = spawn(process.execPath, [resolve(import.meta.dirname, '../../src/main.js'), ...words], {
    stdio: ['ignore', 'inherit', 'pipe'],
  })
  for await (const line of createInterface({ input: child.stderr })) if (line.includes(path)) break
  const status = await new Promise((done, failed) => {
    const headers = { 'fleet-lock-protocol': 'true' }
    const asked = request({ socketPath: path, path: '/v1/pre-reboot', method: 'POST', headers }, (answer) =>
      done(answer.resume().statusCode),
    )
    asked.on('error', failed).end('{"client_params":{"id":"g-1","group":"web"}}')
  })
  assert.equal(status, 200)
  child.kill('SIGTERM')
  assert.deepEqual(await once(child, 'exit'), [0, null])
  assert.equal(existsSync(path), false)
})
