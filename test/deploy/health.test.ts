import assert from 'node:assert/strict'
import { createServer as createHttp } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import { checkHealth, type Health, type HealthSources } from '../../src/deploy/health.ts'
import type { HealthCheck } from '../../src/resolve/group.ts'

async function check(one: HealthCheck, signal: AbortSignal, sources: HealthSources = {}): Promise<Health> {
  return await checkHealth([one], { name: 'toy', port: '1' }, sources, signal)
}

test('http: status and text must be as expected, within the time', async (t) => {
  const server = createHttp((request, answer) => {
    if (request.url === '/slow') return
    if (request.url === '/moved') answer.writeHead(302, { location: '/' })
    else if (request.url === '/bad') answer.writeHead(500)
    answer.end('hello toy')
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const { port } = server.address() as AddressInfo
  const http = (path: string, more: Partial<HealthCheck & { kind: 'http' }> = {}): Promise<Health> =>
    check(
      {
        kind: 'http',
        url: `http://127.0.0.1:${port}${path}`,
        status: 200,
        contains: '',
        timeoutMs: 5000,
        ...more,
      },
      t.signal,
    )
  try {
    assert.deepEqual(await http('/'), { health: 'pass', detail: '' })
    assert.equal((await http('/{name}', { contains: 'hello toy' })).health, 'pass')
    assert.match((await http('/bad')).detail, /expected status 200, found 500$/)
    assert.match((await http('/moved')).detail, /expected status 200, found 302$/)
    assert.equal((await http('/moved', { status: 302 })).health, 'pass')
    assert.match((await http('/', { contains: 'goodbye' })).detail, /no "goodbye" in the answer$/)
    assert.match((await http('/slow', { timeoutMs: 200 })).detail, /nothing within 0\.2 s$/)
  } finally {
    server.closeAllConnections()
    await new Promise((closed) => server.close(closed))
  }
  assert.deepEqual((await http('/')).health, 'fail')
})

test('tcp: a port that accepts', async (t) => {
  const server = createServer((socket) => socket.end())
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const { port } = server.address() as AddressInfo
  const tcp = (address: string): Promise<Health> => check({ kind: 'tcp', address, timeoutMs: 5000 }, t.signal)
  assert.equal((await tcp(`127.0.0.1:${port}`)).health, 'pass')
  await new Promise((closed) => server.close(closed))
  assert.deepEqual(await tcp(`127.0.0.1:${port}`), {
    health: 'fail',
    detail: `tcp 127.0.0.1:${port}: ECONNREFUSED`,
  })
  assert.equal((await tcp('127.0.0.1:http')).health, 'inconclusive')
})

test('command, console and systemd: what cannot be asked is inconclusive, never passed', async (t) => {
  const command = (...words: string[]): Promise<Health> =>
    check({ kind: 'command', command: words, timeoutMs: 500 }, t.signal)
  assert.equal((await command('sh', '-c', 'test {name} = toy')).health, 'pass')
  assert.match((await command('sh', '-c', 'echo no >&2; exit 3')).detail, /exit code 3: no$/)
  assert.match((await command('sleep', '60')).detail, /nothing within 0\.5 s$/)
  assert.equal((await command('no-such-command')).health, 'inconclusive')

  const shown: HealthCheck = { kind: 'console', text: '{name} ready', timeoutMs: 500 }
  assert.equal((await check(shown, t.signal, { console: async () => 'a\ntoy ready\n' })).health, 'pass')
  assert.equal((await check(shown, t.signal, { console: async () => 'a\n' })).health, 'fail')
  assert.equal((await check(shown, t.signal)).health, 'inconclusive')

  const systemd: HealthCheck = { kind: 'systemd', states: ['running', 'degraded'], timeoutMs: 500 }
  assert.equal((await check(systemd, t.signal, { systemd: async () => 'degraded' })).health, 'pass')
  assert.deepEqual(await check(systemd, t.signal, { systemd: async () => 'starting' }), {
    health: 'fail',
    detail: 'systemd: starting',
  })
  assert.equal((await check(systemd, t.signal)).health, 'inconclusive')
})

test('one failed check outweighs one that cannot be made; an abort ends them', async (t) => {
  const fails: HealthCheck = { kind: 'command', command: ['false'], timeoutMs: 5000 }
  const unclear: HealthCheck = { kind: 'console', text: 'x', timeoutMs: 5000 }
  const passes: HealthCheck = { kind: 'command', command: ['true'], timeoutMs: 5000 }
  const all = (checks: readonly HealthCheck[]): Promise<Health> => checkHealth(checks, {}, {}, t.signal)
  assert.equal((await all([unclear, passes, fails])).health, 'fail')
  assert.equal((await all([passes, unclear])).health, 'inconclusive')
  assert.equal((await all([])).health, 'pass')
  const abort = new AbortController()
  const slow: HealthCheck = { kind: 'command', command: ['sleep', '60'], timeoutMs: 60_000 }
  const waiting = checkHealth([slow], {}, {}, abort.signal)
  abort.abort(new Error('enough'))
  await assert.rejects(waiting, /enough/)
})
