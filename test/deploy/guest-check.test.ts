/** Questions to a guest, with a web server and a shell of this machine in its place. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type TestContext, test } from 'node:test'
import { consoleFeed } from '../../src/deploy/console.ts'
import { checkCommand, checkHttp, unusedPort } from '../../src/deploy/guest-check.ts'
import type { Guest } from '../../src/deploy/qemu.ts'

const DEADLINE_MS = 20_000

/** A shell behind a console that echoes what is typed, as a terminal does. */
function shellGuest(t: TestContext): Guest {
  const shell = spawn('sh', [], { stdio: ['pipe', 'pipe', 'inherit'] })
  const feed = consoleFeed()
  shell.stdout.on('data', (bytes: Buffer) => feed.push(bytes))
  shell.on('close', () => feed.end())
  t.after(() => shell.kill())
  return {
    ...feed.console,
    pid: shell.pid as number,
    write: (text: string) => {
      feed.push(Buffer.from(`# ${text}`))
      shell.stdin.write(text)
    },
  } as unknown as Guest
}

test('commands are judged by exit status and output', async (t) => {
  const guest = shellGuest(t)
  const ask = (run: string, expect: string, status: number, nth: number) =>
    checkCommand(guest, { run, expect, status }, nth, DEADLINE_MS)
  assert.equal(await ask('echo a; echo b', 'a\nb', 0, 0), undefined)
  assert.equal(await ask('printf half', 'half', 0, 1), undefined)
  assert.equal(await ask('false', '', 1, 2), undefined)
  assert.equal(
    await ask('echo x; (exit 3)', '', 0, 3),
    '"echo x; (exit 3)": expected exit status 0, found 3; it printed "x"',
  )
  // The words stand in what is typed, and must not be found there.
  assert.equal(
    await ask('echo "o"ne', '"o"ne', 0, 4),
    '"echo \\"o\\"ne": expected "\\"o\\"ne" in the output, found "one"',
  )
  assert.match((await ask('exit', '', 0, 5)) ?? '', /the console did not answer "exit" \(exited\)/)
})

test('a web server is judged by status and content, and may come up late', async (t) => {
  const port = await unusedPort()
  const server = createServer((asked, answer) => {
    answer.statusCode = asked.url === '/ok' ? 200 : 404
    answer.end('grüße\n')
  })
  t.after(() => server.close())
  const ask = (path: string, status: number, contains: string, timeoutMs = 300) =>
    checkHttp(port, { port: 80, path, status, contains }, timeoutMs, t.signal)
  assert.match((await ask('/ok', 200, '')) ?? '', /^port 80 \/ok: no answer \(.*ECONNREFUSED/)
  const late = ask('/ok', 200, 'grüße', DEADLINE_MS)
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  assert.equal(await late, undefined)
  assert.equal(await ask('/no', 404, ''), undefined)
  assert.equal(await ask('/no', 200, ''), 'port 80 /no: expected status 200, found 404')
  assert.match((await ask('/ok', 200, 'nothing')) ?? '', /expected "nothing" in the answer, found "gr/)
})

test('a console that shows why a guest gave up ends the waiting', async () => {
  const feed = consoleFeed()
  const waiting = feed.console.waitFor('ready', DEADLINE_MS, /cannot boot/)
  feed.push(Buffer.from('stage5: cannot boot: no ba'))
  await new Promise((later) => setTimeout(later, 5))
  feed.push(Buffer.from('se found\n'))
  assert.deepEqual(await waiting, { found: false, why: 'failed' })
  assert.deepEqual(feed.console.last(1), ['stage5: cannot boot: no base found'])
})
