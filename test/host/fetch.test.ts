import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawnSync } from 'node:child_process'
import { test, type TestContext } from 'node:test'
import { pathToFileURL } from 'node:url'
import type { Stage5Error } from '../../src/base/errors.ts'
import type { Event } from '../../src/base/events.ts'
import {
  openFetcher,
  type Fetcher,
  type FetcherOptions,
  type FetchFileOptions,
} from '../../src/host/fetch.ts'
import { redactUrl, redirectTarget, retryAfterSeconds } from '../../src/host/http.ts'
import { chunked, cutAfter, hang, LAST_MODIFIED, openSite, plain, status, type Site } from './site.ts'

const signal = new AbortController().signal
const BODY = randomBytes(300_000)
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

interface Bench {
  readonly site: Site
  readonly folder: string
  readonly events: Event[]
  readonly target: string
  open(options?: Partial<FetcherOptions>): Fetcher
  /** Fetches `/file` with its size and sum. */
  fetch(options?: Partial<FetchFileOptions>, fetcher?: Fetcher): Promise<string>
}

async function bench(t: TestContext): Promise<Bench> {
  const site = await openSite()
  const folder = mkdtempSync(join(tmpdir(), 'stage5-fetch-'))
  const events: Event[] = []
  const opened: Fetcher[] = []
  t.after(async () => {
    await site[Symbol.asyncDispose]()
    await Promise.all(opened.map((fetcher) => fetcher.close()))
    rmSync(folder, { recursive: true })
  })
  site.files.set('/file', BODY)
  const target = join(folder, 'sub', 'target')
  const open = (options: Partial<FetcherOptions> = {}): Fetcher => {
    const fetcher = openFetcher({
      offline: false,
      report: (event) => events.push(event),
      retryDelayMs: 5,
      ...options,
    })
    opened.push(fetcher)
    return fetcher
  }
  const usual = { name: 'file', size: BODY.length, sums: { sha256: sha256(BODY) }, maxSize: 1e9, signal }
  let first: Fetcher | undefined
  return {
    site,
    folder,
    events,
    target,
    open,
    fetch: (options, fetcher = (first ??= open())) =>
      fetcher.fetchFile(`${site.url}/file`, target, { ...usual, ...options }),
  }
}

function failure(code: string, more: (error: Stage5Error) => void = () => {}): (error: unknown) => boolean {
  return (error) => {
    assert.equal((error as Stage5Error).code, code, String(error))
    more(error as Stage5Error)
    return true
  }
}

const startOf = (range: string | undefined): number | undefined =>
  range === undefined ? undefined : Number(/^bytes=(\d+)-$/.exec(range)?.[1])

/** Names in the folder of the target: nothing but it may be left. */
const left = (bench: Bench): string[] =>
  existsSync(join(bench.folder, 'sub')) ? readdirSync(join(bench.folder, 'sub')) : []

test('a file is fetched, checked, dated, and not asked for again', async (t) => {
  const b = await bench(t)
  assert.equal(await b.fetch(), b.target)
  assert.deepEqual(readFileSync(b.target), BODY)
  assert.equal(statSync(b.target).mtimeMs, Date.parse(LAST_MODIFIED))
  assert.equal(await b.fetch(), b.target)
  assert.equal(b.site.requests.length, 1)
  assert.deepEqual(left(b), ['target'])
  const last = b.events.at(-1)
  assert.deepEqual(last, {
    kind: 'download.progress',
    name: 'file',
    received: BODY.length,
    total: BODY.length,
  })
})

test('one target asked for twice at once is fetched once', async (t) => {
  const b = await bench(t)
  await Promise.all([b.fetch(), b.fetch(), b.fetch()])
  assert.equal(b.site.requests.length, 1)
})

test('a damaged target is fetched again', async (t) => {
  const b = await bench(t)
  await b.fetch()
  const bytes = Buffer.from(BODY)
  bytes[1000] = (bytes[1000] as number) ^ 1
  writeFileSync(b.target, bytes)
  await b.fetch()
  assert.deepEqual(readFileSync(b.target), BODY)
})

test('a cut transfer goes on where it stopped', async (t) => {
  const b = await bench(t)
  b.site.next('/file', cutAfter(100_000), cutAfter(50_000))
  await b.fetch()
  assert.deepEqual(readFileSync(b.target), BODY)
  const [none, first = 0, second = 0] = b.site.requests.map(({ headers }) => headers.range).map(startOf)
  assert.deepEqual([none, b.site.requests.length], [undefined, 3])
  assert.ok(first > 0 && first <= 100_000 && second > first, `${first} ${second}`)
})

test('a server that ignores ranges sends it from the start', async (t) => {
  const b = await bench(t)
  b.site.next('/file', cutAfter(100_000), plain)
  await b.fetch()
  assert.deepEqual(readFileSync(b.target), BODY)
})

test('a server that sends another range than asked for is not believed', async (t) => {
  const b = await bench(t)
  b.site.next('/file', cutAfter(100_000), (_request, response, body = new Uint8Array()) => {
    response
      .writeHead(206, {
        'content-range': `bytes 5-${body.length - 1}/${body.length}`,
        'content-length': body.length - 5,
      })
      .end(body.subarray(5))
  })
  await b.fetch()
  assert.deepEqual(readFileSync(b.target), BODY)
})

test('progress starts the count of attempts anew, a standstill ends it', async (t) => {
  const b = await bench(t)
  b.site.next('/file', cutAfter(70_000), cutAfter(70_000), cutAfter(70_000), cutAfter(70_000))
  await b.fetch({}, b.open({ attempts: 2 }))
  assert.equal(b.site.requests.length, 5)
  rmSync(b.target)
  b.site.always('/file', cutAfter(0))
  await assert.rejects(
    b.fetch({}, b.open({ attempts: 3 })),
    failure('S5_FETCH_FAILED', (error) => assert.match(error.message, /after 3 attempts$/)),
  )
  assert.equal(b.site.requests.length, 8)
  assert.deepEqual(left(b), [])
})

test('what one process began another goes on with', async (t) => {
  const b = await bench(t)
  b.site.always('/file', cutAfter(70_000))
  const program = `
    import { openFetcher } from ${JSON.stringify(new URL('../../src/host/fetch.ts', import.meta.url).href)}
    const fetcher = openFetcher({ offline: false, report: () => {}, retryDelayMs: 1, attempts: 1 })
    await fetcher.fetchFile(process.argv[1], process.argv[2], { name: 'file', size: ${BODY.length},
      sums: { sha256: '${sha256(BODY)}' }, maxSize: 1e9, signal: new AbortController().signal }).catch(() => {})
  `
  const { promise, resolve } = Promise.withResolvers<void>()
  const { spawn } = await import('node:child_process')
  spawn(process.execPath, ['--input-type=module', '-e', program, `${b.site.url}/file`, b.target]).on(
    'exit',
    () => resolve(),
  )
  await promise
  assert.equal(left(b).length, 1)
  assert.match(left(b)[0] as string, /^target\.\d+-[0-9a-f]{8}\.partial$/)
  const asked = b.site.requests.length
  b.site.always('/file', (request, response, body = new Uint8Array()) => {
    const from = startOf(request.headers.range) ?? 0
    assert.ok(from > 0 && from <= 70_000)
    const range = `bytes ${from}-${body.length - 1}/${body.length}`
    response.writeHead(206, { 'content-range': range }).end(body.subarray(from))
  })
  await b.fetch()
  assert.equal(b.site.requests.length, asked + 1)
  assert.deepEqual(readFileSync(b.target), BODY)
  assert.deepEqual(left(b), ['target'])
})

test('leftovers of another content are found out and fetched from the start', async (t) => {
  const b = await bench(t)
  await b.fetch()
  rmSync(b.target)
  const gone = spawnSync('true').pid
  writeFileSync(`${b.target}.${gone}-00000000.partial`, randomBytes(1000))
  await b.fetch()
  assert.deepEqual(readFileSync(b.target), BODY)
  assert.deepEqual(
    b.site.requests.map(({ headers }) => headers.range),
    [undefined, 'bytes=1000-', undefined],
  )
})

test('a leftover of a process that lives is not touched', async (t) => {
  const b = await bench(t)
  await b.fetch()
  rmSync(b.target)
  writeFileSync(`${b.target}.1-00000000.partial`, BODY.subarray(0, 1000))
  await b.fetch()
  assert.equal(b.site.requests.at(-1)?.headers.range, undefined)
  assert.equal(left(b).length, 2)
})

test('503 is asked again, Retry-After is honoured up to a minute', async (t) => {
  const b = await bench(t)
  b.site.next('/file', status(503), status(429, { 'retry-after': '1' }))
  const start = performance.now()
  await b.fetch()
  assert.ok(performance.now() - start >= 990)
  rmSync(b.target)
  b.site.next('/file', status(503, { 'retry-after': '3600' }))
  await assert.rejects(
    b.fetch(),
    failure('S5_FETCH_FAILED', (error) => assert.equal(error.data['status'], 503)),
  )
  assert.equal(b.site.requests.length, 4)
})

test('404 and 403 are not asked again', async (t) => {
  const b = await bench(t)
  for (const code of [404, 403]) {
    b.site.always('/file', status(code))
    await assert.rejects(
      b.fetch(),
      failure('S5_FETCH_FAILED', (error) => assert.equal(error.data['status'], code)),
    )
  }
  assert.equal(b.site.requests.length, 2)
})

test('a wrong digest is refused with both values and leaves nothing', async (t) => {
  const b = await bench(t)
  await assert.rejects(
    b.fetch({ sums: { sha256: '0'.repeat(64) } }),
    failure('S5_DIGEST_MISMATCH', ({ message, data }) => {
      assert.equal(data['reason'], 'digest')
      assert.match(message, /expected sha256 0{64}, found [0-9a-f]{64}$/)
    }),
  )
  assert.deepEqual(left(b), [])
})

test('weak sums are checked where there is no better one', async (t) => {
  const b = await bench(t)
  const md5 = createHash('md5').update(BODY).digest('hex')
  const sha1 = createHash('sha1').update(BODY).digest('hex')
  await b.fetch({ sums: { md5, sha1 } })
  rmSync(b.target)
  await assert.rejects(b.fetch({ sums: { md5, sha1: '0'.repeat(40) } }), failure('S5_DIGEST_MISMATCH'))
  await assert.rejects(b.fetch({ sums: { md5: '0'.repeat(32), sha1 } }), failure('S5_DIGEST_MISMATCH'))
})

test('an announced length that is wrong is refused before a byte is taken', async (t) => {
  const b = await bench(t)
  await assert.rejects(
    b.fetch({ size: BODY.length + 1 }),
    failure('S5_DIGEST_MISMATCH', ({ data }) => assert.equal(data['reason'], 'size')),
  )
  await assert.rejects(b.fetch({ size: BODY.length - 1 }), failure('S5_DIGEST_MISMATCH'))
  assert.deepEqual(b.events, [])
})

test('an unannounced length is stopped at the size, or found too short', async (t) => {
  const b = await bench(t)
  b.site.always('/file', chunked(Buffer.concat([BODY, BODY])))
  await assert.rejects(
    b.fetch(),
    failure('S5_FETCH_TOO_LARGE', ({ data }) => assert.equal(data['expected'], BODY.length)),
  )
  b.site.always('/file', chunked(BODY.subarray(0, 1000)))
  await assert.rejects(
    b.fetch(),
    failure('S5_DIGEST_MISMATCH', ({ data }) =>
      assert.deepEqual([data['reason'], data['actual']], ['size', 1000]),
    ),
  )
  assert.deepEqual(left(b), [])
})

test('without a size the limit stops the transfer', async (t) => {
  const b = await bench(t)
  const fetcher = b.open()
  const url = `${b.site.url}/file`
  const options = { name: 'file', maxSize: BODY.length - 1, signal }
  await assert.rejects(fetcher.fetchFile(url, b.target, options), failure('S5_FETCH_TOO_LARGE'))
  await assert.rejects(fetcher.fetchBytes(url, options), failure('S5_FETCH_TOO_LARGE'))
  b.site.always('/file', chunked(BODY))
  await assert.rejects(fetcher.fetchBytes(url, options), failure('S5_FETCH_TOO_LARGE'))
  const answer = await fetcher.fetchBytes(url, { ...options, maxSize: BODY.length })
  assert.ok(answer !== 'unchanged')
  assert.deepEqual(Buffer.from(answer.bytes), BODY)
})

test('a silent connection counts as broken', async (t) => {
  const b = await bench(t)
  b.site.next('/file', hang)
  await b.fetch({}, b.open({ idleTimeoutMs: 200 }))
  assert.equal(b.site.requests.length, 2)
  assert.deepEqual(readFileSync(b.target), BODY)
})

test('redirects are followed, but not for ever and not to files', async (t) => {
  const b = await bench(t)
  b.site.files.set('/other', BODY)
  b.site.next('/file', status(302, { location: '/other' }))
  await b.fetch()
  assert.deepEqual(readFileSync(b.target), BODY)
  rmSync(b.target)
  b.site.always('/file', status(301, { location: '/file' }))
  await assert.rejects(
    b.fetch(),
    failure('S5_FETCH_FAILED', ({ message }) => assert.match(message, /more than 8 redirects/)),
  )
  assert.equal(b.site.requests.length, 2 + 9)
  b.site.always('/file', status(302, { location: 'file:///etc/passwd' }))
  await assert.rejects(
    b.fetch(),
    failure('S5_FETCH_FAILED', ({ message }) => assert.match(message, /redirected to file:/)),
  )
})

test('user and password go to the server that was named, to no other, and into no message', async (t) => {
  const b = await bench(t)
  await using other = await openSite()
  other.files.set('/file', BODY)
  const url = `${b.site.url.replace('//', '//us%20er:pass@')}/file`
  const fetcher = b.open({ attempts: 1 })
  const options = { name: 'file', maxSize: 1e9, signal }
  b.site.next('/file', status(302, { location: `${other.url}/file` }))
  await fetcher.fetchBytes(url, options)
  assert.equal(
    b.site.requests[0]?.headers.authorization,
    `Basic ${Buffer.from('us er:pass').toString('base64')}`,
  )
  assert.equal(other.requests[0]?.headers.authorization, undefined)
  b.site.always('/file', status(500))
  await assert.rejects(
    fetcher.fetchBytes(`${url}?token=secret`, options),
    failure('S5_FETCH_FAILED', (error) => {
      assert.doesNotMatch(JSON.stringify([error.message, error.data, error.cause]), /pass|secret|us%20er/)
    }),
  )
})

test('conditional requests: bytes by validators, files by their date', async (t) => {
  const b = await bench(t)
  const fetcher = b.open()
  const url = `${b.site.url}/file`
  const options = { name: 'file', maxSize: 1e9, signal }
  const first = await fetcher.fetchBytes(url, options)
  assert.ok(first !== 'unchanged')
  assert.equal(await fetcher.fetchBytes(url, { ...options, unless: first.validators }), 'unchanged')
  await fetcher.fetchFile(url, b.target, { ...options, ifNewer: true })
  const before = statSync(b.target).ino
  await fetcher.fetchFile(url, b.target, { ...options, ifNewer: true })
  assert.equal(statSync(b.target).ino, before)
  assert.equal(b.site.requests.at(-1)?.headers['if-modified-since'], LAST_MODIFIED)
  b.site.files.set('/file', BODY.subarray(1))
  const changed = await fetcher.fetchBytes(url, { ...options, unless: first.validators })
  assert.ok(changed !== 'unchanged')
  assert.deepEqual(left(b), ['target'])
})

test('offline: what is there is used, the rest is named', async (t) => {
  const b = await bench(t)
  await assert.rejects(b.fetch({}, b.open({ offline: true })), failure('S5_OFFLINE'))
  await b.fetch()
  assert.equal(await b.fetch({}, b.open({ offline: true })), b.target)
  await assert.rejects(
    b.open({ offline: true }).fetchBytes(`${b.site.url}/file`, { name: 'f', maxSize: 1, signal }),
    failure('S5_OFFLINE'),
  )
  assert.equal(b.site.requests.length, 1)
})

test('file: addresses and plain paths are copied and checked, offline too', async (t) => {
  const b = await bench(t)
  const source = join(b.folder, 'a +~%b')
  writeFileSync(source, BODY)
  const fetcher = b.open({ offline: true })
  const options = { name: 'file', size: BODY.length, sums: { sha256: sha256(BODY) }, maxSize: 1e9, signal }
  await fetcher.fetchFile(pathToFileURL(source).href, b.target, options)
  assert.deepEqual(readFileSync(b.target), BODY)
  await fetcher.fetchFile(source, `${b.target}2`, options)
  await assert.rejects(
    fetcher.fetchFile(source, `${b.target}3`, { ...options, sums: { sha256: '1'.repeat(64) } }),
    failure('S5_DIGEST_MISMATCH'),
  )
  await assert.rejects(
    fetcher.fetchFile(`${source}-not`, `${b.target}3`, options),
    failure('S5_FETCH_FAILED', ({ data }) => assert.equal(data['status'], 404)),
  )
  const first = await fetcher.fetchBytes(source, options)
  assert.ok(first !== 'unchanged')
  assert.equal(await fetcher.fetchBytes(source, { ...options, unless: first.validators }), 'unchanged')
  assert.deepEqual(left(b).sort(), ['target', 'target2'])
})

test('an abort ends a transfer at once and is told as such', async (t) => {
  const b = await bench(t)
  const stop = new AbortController()
  b.site.always('/file', (request, response, body) => {
    hang(request, response, body)
    setTimeout(() => stop.abort(new Error('enough')), 20)
  })
  await assert.rejects(b.fetch({ signal: stop.signal }), /enough/)
  await assert.rejects(b.fetch({ signal: stop.signal }), /enough/)
  assert.equal(b.site.requests.length, 1)
})

test('no more transfers at once than allowed', async (t) => {
  const b = await bench(t)
  let running = 0
  let most = 0
  for (let at = 0; at < 12; at++)
    b.site.always(`/n${at}`, (_request, response) => {
      most = Math.max(most, ++running)
      setTimeout(() => {
        running--
        response.end('x')
      }, 20)
    })
  const fetcher = b.open({ concurrency: 3 })
  await Promise.all(
    Array.from({ length: 12 }, (_, at) =>
      fetcher.fetchBytes(`${b.site.url}/n${at}`, { name: 'n', maxSize: 9, signal }),
    ),
  )
  assert.equal(most, 3)
})

test('a full disk is said, and leaves nothing', (t) => {
  if (process.getuid?.() !== 0) return t.skip('needs root to mount a tmpfs')
  const folder = mkdtempSync(join(tmpdir(), 'stage5-full-'))
  t.after(() => {
    spawnSync('umount', [folder])
    rmSync(folder, { recursive: true })
  })
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=100k', 'tmpfs', folder]).status !== 0)
    return t.skip('needs mount')
  const source = join(tmpdir(), `stage5-full-source-${process.pid}`)
  writeFileSync(source, BODY)
  t.after(() => rmSync(source))
  return assert
    .rejects(
      openFetcher({ offline: true, report: () => {} }).fetchFile(source, join(folder, 'x'), {
        name: 'x',
        maxSize: 1e9,
        signal,
      }),
      failure('S5_DISK_FULL'),
    )
    .then(() => assert.deepEqual(readdirSync(folder), []))
})

test('proxies of the environment are used, in both cases, but not where no_proxy says so', async (t) => {
  const asked: string[] = []
  const proxy = createServer((request, response) => {
    asked.push(request.url ?? '')
    response.end('through the proxy')
  })
  proxy.on('connect', (request, socket) => {
    asked.push(`connect ${request.url}`)
    const [host = '', port = ''] = (request.url ?? '').split(':')
    const onward = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      onward.pipe(socket).pipe(onward)
    })
  })
  await new Promise<void>((ready) => proxy.listen(0, '127.0.0.1', ready))
  const saved = { ...process.env }
  t.after(() => {
    process.env = saved
    proxy.closeAllConnections()
    proxy.close()
  })
  const address = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
  const ask = async (): Promise<string> => {
    const fetcher = openFetcher({ offline: false, report: () => {}, attempts: 1 })
    try {
      const answer = await fetcher.fetchBytes('http://archive.invalid/x', { name: 'x', maxSize: 100, signal })
      return answer === 'unchanged' ? '' : Buffer.from(answer.bytes).toString()
    } finally {
      await fetcher.close()
    }
  }
  for (const name of ['http_proxy', 'HTTP_PROXY']) {
    for (const other of ['http_proxy', 'HTTP_PROXY', 'no_proxy', 'NO_PROXY'])
      Reflect.deleteProperty(process.env, other)
    process.env[name] = address
    assert.equal(await ask(), 'through the proxy')
    for (const no of ['no_proxy', 'NO_PROXY']) {
      process.env[no] = 'archive.invalid'
      await assert.rejects(ask(), failure('S5_FETCH_FAILED'))
      Reflect.deleteProperty(process.env, no)
    }
  }
  assert.deepEqual(asked, ['http://archive.invalid/x', 'http://archive.invalid/x'])
})

test('addresses are shown without what is secret in them', () => {
  assert.equal(redactUrl('https://u:p@host:8/a/b?x=1#f'), 'https://***@host:8/a/b?***')
  assert.equal(redactUrl('http://host/a'), 'http://host/a')
  assert.equal(redactUrl('http://u:p@ho st/a?k=v'), 'http://***@ho st/a?***')
  assert.equal(redactUrl('/srv/archive'), '/srv/archive')
})

test('Retry-After is seconds or a date', () => {
  assert.equal(retryAfterSeconds('120', 0), 120)
  assert.equal(retryAfterSeconds('Thu, 01 Jan 1970 00:01:00 GMT', 30_500), 30)
  assert.equal(retryAfterSeconds('Thu, 01 Jan 1970 00:01:00 GMT', 90_000), 0)
  assert.equal(retryAfterSeconds('soon', 0), undefined)
  assert.equal(retryAfterSeconds(undefined, 0), undefined)
})

test('redirects do not leave https, nor the web', () => {
  const from = new URL('https://a.invalid/x/y')
  assert.equal(redirectTarget(from, '../z').href, 'https://a.invalid/z')
  assert.equal(redirectTarget(new URL('http://a.invalid'), 'https://b.invalid/').href, 'https://b.invalid/')
  for (const location of ['http://a.invalid/x/y', 'file:///x', 'ftp://a.invalid/', 'https://'])
    assert.throws(() => redirectTarget(from, location), failure('S5_FETCH_FAILED'))
})
