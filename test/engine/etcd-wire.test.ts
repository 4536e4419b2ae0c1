import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { it } from 'node:test'
import { openCalls } from '../../src/engine/etcd-calls.ts'
import {
  decodeError,
  decodeEvents,
  encodeText,
  rangeRequest,
  txnRequest,
  watchRequest,
} from '../../src/engine/etcd-wire.ts'
import { parseEngineAddress } from '../../src/engine/open.ts'
import { freePort } from '../helpers/fe-etcd.ts'

it('writes a compare with the target and the revision that etcd reads', () => {
  const compares = [
    { key: '/a', target: 'mod', equal: 7n },
    { key: '/b', target: 'create', equal: 9_007_199_254_740_993n },
    { key: '/c', target: 'mod', equal: 0n },
  ] as const
  assert.deepEqual(JSON.parse(txnRequest('/p', compares, [])), {
    compare: [
      { key: 'L3AvYQ==', result: 'EQUAL', target: 'MOD', mod_revision: '7' },
      { key: 'L3AvYg==', result: 'EQUAL', target: 'CREATE', create_revision: '9007199254740993' },
      { key: 'L3AvYw==', result: 'EQUAL', target: 'MOD', mod_revision: '0' },
    ],
    success: [],
  })
})

it('writes puts, deletes, ranges and watches', () => {
  const operations = [
    { kind: 'put', key: 'k', value: 'é', lease: '12' },
    { kind: 'put', key: 'l', value: '' },
    { kind: 'delete', key: 'm' },
  ] as const
  assert.deepEqual((JSON.parse(txnRequest('', [], operations)) as { success: unknown }).success, [
    { request_put: { key: 'aw==', value: 'w6k=', lease: '12' } },
    { request_put: { key: 'bA==', value: '' } },
    { request_delete_range: { key: 'bQ==' } },
  ])
  assert.deepEqual(JSON.parse(rangeRequest('/a/', 10, '/a/b', 5n)), {
    key: encodeText('/a/b\0'),
    range_end: encodeText('/a0'),
    revision: '5',
    limit: '10',
  })
  assert.deepEqual(JSON.parse(rangeRequest('', 1)), { key: 'AA==', range_end: 'AA==', limit: '1' })
  assert.deepEqual(JSON.parse(watchRequest('/a/', 4n)), {
    create_request: {
      key: encodeText('/a/'),
      range_end: encodeText('/a0'),
      start_revision: '5',
      progress_notify: true,
    },
  })
})

it('reads events by revision, with what the gateway leaves out', () => {
  const kv = (key: string, revision: string, value?: string) => ({
    key: encodeText(key),
    mod_revision: revision,
    ...(value !== undefined && { value: encodeText(value) }),
  })
  const events = [
    { kv: kv('/p/b', '5', 'x') },
    { type: 'DELETE' as const, kv: kv('/p/a', '5') },
    { type: 'PUT' as const, kv: kv('/p/b', '6') },
  ]
  assert.deepEqual(decodeEvents('/p', { events }), [
    {
      revision: 5n,
      changes: [
        { key: '/a', modRevision: 5n },
        { key: '/b', modRevision: 5n, value: 'x' },
      ],
    },
    { revision: 6n, changes: [{ key: '/b', modRevision: 6n, value: '' }] },
  ])
})

it('reads errors in the forms of 3.4, of 3.6, of a stream and of a proxy', () => {
  const { raw } = String
  assert.deepEqual(
    decodeError(400, '{"error":"etcdserver: too many","message":"etcdserver: too many","code":3}'),
    {
      code: 3,
      message: 'etcdserver: too many',
    },
  )
  assert.deepEqual(decodeError(503, '{"code":14,"message":"no leader","details":[]}'), {
    code: 14,
    message: 'no leader',
  })
  assert.deepEqual(
    decodeError(
      200,
      raw`{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"Service Unavailable"}}`,
    ),
    { code: 14, message: 'etcdserver: no leader' },
  )
  assert.deepEqual(decodeError(502, '<html>'), { code: 14, message: 'status 502' })
  assert.deepEqual(decodeError(418, ''), { code: 2, message: 'status 418' })
})

it('reads addresses of engines', () => {
  assert.deepEqual(parseEngineAddress('sqlite:a/b.db', '/p'), { kind: 'sqlite', path: '/p/a/b.db' })
  assert.deepEqual(parseEngineAddress('sqlite:///a/b.db', '/p'), { kind: 'sqlite', path: '/a/b.db' })
  const endpointsOf = (address: string): unknown => {
    const parsed = parseEngineAddress(address, '/p')
    return parsed.kind === 'etcd' && [parsed.options.endpoints, parsed.options.prefix]
  }
  assert.deepEqual(endpointsOf('etcd://h1:2379,10.0.0.2,[::1]:1/web/'), [
    ['http://h1:2379', 'http://10.0.0.2:2379', 'http://[::1]:1'],
    '/web',
  ])
  assert.deepEqual(endpointsOf('etcds://h1'), [['https://h1:2379'], ''])
  const bad = [
    '',
    'h1',
    'sqlite:',
    'sqlite://host/x',
    'etcd://',
    'etcd://a,,b',
    'etcd://u:p@a',
    'etcd://a:port',
    'redis://a',
    'etcd://a?x=1',
  ]
  for (const address of bad)
    assert.throws(() => parseEngineAddress(address, '/p'), { code: 'S5_USAGE' }, address)
  assert.throws(
    () => parseEngineAddress('etcd://u:secret@a', '/p'),
    (error: Error) => !error.message.includes('secret'),
  )
  assert.throws(() => parseEngineAddress('etcds://a?ca=none.pem', '/p'), { code: 'S5_FILE_MISSING' })
})

/** A server that does to connections what networks do. */
async function serve(act: Parameters<typeof createServer>[1]): Promise<{ url: string; server: Server }> {
  const server = createServer(act as never).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { url: `http://127.0.0.1:${(server.address() as { port: number }).port}`, server }
}

it('sends a write once: what was sent and not answered is unknown, what could not be sent goes to the next member', async () => {
  let requests = 0
  const breaking = await serve((request: import('node:http').IncomingMessage) => {
    requests++
    request.socket.destroy()
  })
  const good = await serve((_request: unknown, response: import('node:http').ServerResponse) =>
    response.end('{"header":{"cluster_id":"1","revision":"3"},"succeeded":true}'),
  )
  const refusing = `http://127.0.0.1:${await freePort()}`
  const unknown = openCalls({ endpoints: [breaking.url, good.url] })
  await assert.rejects(
    unknown.once('/v3/kv/txn', '{}'),
    (error: { code: string; data: { unsent: boolean } }) => {
      assert.deepEqual([error.code, error.data.unsent], ['S5_ENGINE_UNAVAILABLE', false])
      return true
    },
  )
  assert.equal(requests, 1)
  assert.deepEqual(await unknown.once('/v3/kv/txn', '{}'), {
    header: { cluster_id: '1', revision: '3' },
    succeeded: true,
  })
  const unsent = openCalls({ endpoints: [refusing, good.url] })
  assert.equal((await unsent.once<{ succeeded: boolean }>('/v3/kv/txn', '{}')).succeeded, true)
  const nobody = openCalls({ endpoints: [refusing], patienceMs: 200 })
  await assert.rejects(
    nobody.patiently('/v3/kv/range', '{}'),
    (error: { data: { unsent: boolean } }) => error.data.unsent,
  )
  await Promise.all([unknown, unsent, nobody].map((calls) => calls.close()))
  for (const { server } of [breaking, good]) server.close()
})

it('gives up on a member that does not answer, and refuses another cluster behind a known address', async () => {
  const silent = await serve(() => {})
  let cluster = '1'
  const changing = await serve((_request: unknown, response: import('node:http').ServerResponse) =>
    response.end(`{"header":{"cluster_id":"${cluster}","revision":"3"}}`),
  )
  const calls = openCalls({ endpoints: [silent.url, changing.url], deadlineMs: 200 })
  await assert.rejects(calls.once('/v3/kv/txn', '{}'), { code: 'S5_ENGINE_UNAVAILABLE' })
  await calls.patiently('/v3/kv/range', '{}')
  cluster = '2'
  await assert.rejects(calls.patiently('/v3/kv/range', '{}'), { code: 'S5_ENGINE_OTHER' })
  await calls.close()
  silent.server.closeAllConnections()
  for (const { server } of [silent, changing]) server.close()
})
