/** The file server: ranges, validators, and names that lead nowhere. */
import assert from 'node:assert/strict'
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFileServer } from '../../src/host/file-server.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'

interface Said {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
}

/** The path goes over the wire as it is: no client tidies it. */
function ask(
  address: string,
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
  body = '',
): Promise<Said> {
  const { hostname, port } = new URL(address)
  return new Promise((done, failed) => {
    const asking = request({ hostname, port, path, headers, method }, (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('end', () =>
        done({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: Buffer.concat(parts).toString(),
        }),
      )
    })
    asking.on('error', failed)
    asking.end(body)
  })
}

test('ranges: a part, the end, what is not there; HEAD has no body', async () => {
  using folder = temporaryDirectory()
  writeFileSync(join(folder.path, 'ten'), '0123456789')
  writeFileSync(join(folder.path, 'none'), '')
  await using server = await openFileServer({ directory: folder.path, host: '127.0.0.1', port: 0 })
  const part = async (range: string): Promise<readonly unknown[]> => {
    const { status, headers, text } = await ask(server.address, '/ten', { range })
    return [status, text, headers['content-range']]
  }
  assert.deepEqual(await part('bytes=2-4'), [206, '234', 'bytes 2-4/10'])
  assert.deepEqual(await part('bytes=8-99'), [206, '89', 'bytes 8-9/10'])
  assert.deepEqual(await part('bytes=7-'), [206, '789', 'bytes 7-9/10'])
  assert.deepEqual(await part('bytes=-3'), [206, '789', 'bytes 7-9/10'])
  assert.deepEqual(await part('bytes=10-'), [416, '', 'bytes */10'])
  assert.deepEqual(await part('bytes=-0'), [416, '', 'bytes */10'])
  for (const whole of ['bytes=4-2', 'bytes=0-1,3-4', 'lines=1-2', 'bytes=-'])
    assert.deepEqual(await part(whole), [200, '0123456789', undefined], whole)
  const head = await ask(server.address, '/ten', {}, 'HEAD')
  assert.deepEqual([head.status, head.text, head.headers['content-length']], [200, '', '10'])
  assert.deepEqual((await ask(server.address, '/none')).status, 200)
  assert.equal((await ask(server.address, '/none', { range: 'bytes=0-' })).status, 416)
})

test('validators: an unchanged file is not sent again, another one is', async () => {
  using folder = temporaryDirectory()
  const path = join(folder.path, 'a.json')
  writeFileSync(path, '{}')
  await using server = await openFileServer({ directory: folder.path, host: '127.0.0.1', port: 0 })
  const first = await ask(server.address, '/a.json')
  const etag = String(first.headers['etag'])
  assert.equal(first.headers['content-type'], 'application/json')
  const same = await ask(server.address, '/a.json', { 'if-none-match': `"x", W/${etag}` })
  assert.deepEqual([same.status, same.text], [304, ''])
  assert.equal((await ask(server.address, '/a.json', { range: 'bytes=0-0', 'if-range': etag })).status, 206)
  writeFileSync(`${path}.new`, '[]')
  renameSync(`${path}.new`, path)
  const other = await ask(server.address, '/a.json', { 'if-none-match': etag })
  assert.deepEqual([other.status, other.text], [200, '[]'])
  assert.equal((await ask(server.address, '/a.json', { range: 'bytes=0-0', 'if-range': etag })).status, 200)
})

test('nothing outside of the folder is there, nor what begins with a dot, nor folders', async () => {
  using folder = temporaryDirectory()
  const site = join(folder.path, 'site')
  mkdirSync(join(site, 'sub'), { recursive: true })
  writeFileSync(join(folder.path, 'secret'), 's')
  writeFileSync(join(site, '.hidden'), 's')
  writeFileSync(join(site, 'sub', 'open'), 'o')
  symlinkSync('../secret', join(site, 'out'))
  symlinkSync('sub/open', join(site, 'in'))
  await using server = await openFileServer({ directory: site, host: '127.0.0.1', port: 0 })
  for (const path of [
    '/../secret',
    '/%2e%2e/secret',
    '/sub/..%2f..%2fsecret',
    '/sub/../../secret',
    '/out',
    '/.hidden',
    '/',
    '/sub',
    '/sub/',
    '//sub/open',
    '/%00',
    '/%ff',
    '/..%5csecret',
  ])
    assert.deepEqual([path, (await ask(server.address, path)).status], [path, 404])
  assert.equal((await ask(server.address, '/in')).text, 'o')
  assert.equal((await ask(server.address, '/sub/open?x=1')).text, 'o')
  assert.equal((await ask(server.address, '/in', {}, 'DELETE')).status, 405)
  assert.equal((await ask(server.address, '/reports/web-1', {}, 'POST', '{}')).status, 405)
})

test('reports of guests are taken by name and bounded', async () => {
  using folder = temporaryDirectory()
  const told: string[][] = []
  const report = async (guest: string, text: string): Promise<void> => void told.push([guest, text])
  await using server = await openFileServer({ directory: folder.path, host: '127.0.0.1', port: 0, report })
  assert.equal((await ask(server.address, '/reports/web-1', {}, 'POST', '{"a":1}')).status, 204)
  assert.equal((await ask(server.address, '/reports/..', {}, 'POST', 'x')).status, 404)
  assert.equal((await ask(server.address, '/reports/a%2fb', {}, 'POST', 'x')).status, 404)
  assert.equal((await ask(server.address, '/reports/web-1', {}, 'POST', 'x'.repeat(9000))).status, 413)
  assert.deepEqual(told, [['web-1', '{"a":1}']])
})

test('a folder or an address that is not there', async () => {
  await assert.rejects(
    openFileServer({ directory: '/nowhere/x', host: '127.0.0.1', port: 0 }),
    /S5_FILE_MISSING|no folder/,
  )
  using folder = temporaryDirectory()
  await using first = await openFileServer({ directory: folder.path, host: '127.0.0.1', port: 0 })
  const port = Number(new URL(first.address).port)
  await assert.rejects(openFileServer({ directory: folder.path, host: '127.0.0.1', port }), /cannot listen/)
})
