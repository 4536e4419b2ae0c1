/** What a store promises when nothing goes wrong. */
import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { type Digest, digestOf } from '../../src/base/digest.ts'
import { type Disk, realDisk } from '../../src/host/disk.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { bodiesIn, openReader, openStore, type Store } from '../../src/store/store.ts'
import { PACKED_MAX } from '../../src/store/bodies.ts'
import { treeDigest } from '../../src/tree/text.ts'
import { treeOf } from '../../src/tree/tree.ts'
import { fileOf, ingest, problemsOf, someBytes, treeOfPackage, writeBody, wrongWith } from './workload.ts'

interface Place extends AsyncDisposable {
  readonly path: string
  readonly store: Store
  reopen(): Promise<Store>
}

async function place(): Promise<Place> {
  const directory = temporaryDirectory()
  const path = join(directory.path, 'store')
  let store = await openStore(path)
  return {
    path,
    get store() {
      return store
    },
    reopen: async () => {
      await store[Symbol.asyncDispose]()
      store = await openStore(path)
      return store
    },
    [Symbol.asyncDispose]: async () => {
      await store[Symbol.asyncDispose]()
      directory[Symbol.dispose]()
    },
  }
}

test('a store is private and says its version', async () => {
  await using here = await place()
  assert.equal(statSync(here.path).mode & 0o777, 0o700)
  assert.equal(statSync(here.store.path).mode & 0o777, 0o700)
  assert.equal(here.store.path, join(here.path, 'v1'))
  assert.ok(existsSync(here.store.downloads))
})

test('a store of a newer version is refused', async () => {
  using directory = temporaryDirectory()
  mkdirSync(join(directory.path, 'v2'))
  await assert.rejects(openStore(directory.path), {
    code: 'S5_STORE_VERSION',
    message: /version 1, found version 2/,
    hint: /STAGE5_STORE=/,
  })
})

test('what a commit waits for the disk with can be read here meanwhile, and nothing says that it is there', async () => {
  using directory = temporaryDirectory()
  const path = join(directory.path, 'store')
  let waits = Promise.withResolvers<void>()
  let asked = Promise.withResolvers<void>()
  const disk: Disk = {
    ...realDisk,
    sync: async (what, scope) => {
      asked.resolve()
      await waits.promise
      await realDisk.sync(what, scope)
    },
  }
  await using store = await openStore(path, { disk })
  const bodies = [Buffer.from('hello world'), Buffer.alloc(PACKED_MAX + 1000, 'abcdefg')]
  await using transaction = store.begin()
  const contents = bodies.map((body) => writeBody(transaction.bodies, body))
  const committed = transaction.commit()
  const readable = async (): Promise<void> => {
    for (const [at, content] of contents.entries()) {
      const body = bodies[at] as Buffer
      assert.deepEqual(Buffer.from(await store.read(content)), body)
      assert.deepEqual(Buffer.from((await store.readPart?.(content, 3, 6)) ?? []), body.subarray(3, 9))
    }
  }
  // Syncs come one after the other: of files, of the folder, and of the folder that holds it once it has its new name.
  let isDone = false
  void committed.then(() => (isDone = true))
  for (let rounds = 0; !isDone; rounds++) {
    await Promise.race([asked.promise, committed])
    if (isDone) break
    await readable()
    assert.ok(contents.every((content) => !store.has(content)))
    const pass = waits.resolve
    waits = Promise.withResolvers()
    asked = Promise.withResolvers()
    pass()
    assert.ok(rounds < 20)
  }
  await committed
  await readable()
  assert.ok(contents.every((content) => store.has(content)))
})

test('a part of a body is had before and after it is on the disk; more than there is, never', async () => {
  await using here = await place()
  const bodies = [Buffer.from('hello world'), Buffer.alloc(PACKED_MAX + 1000, 'abcdefg')]
  const contents = await Promise.all(bodies.map((body) => here.store.write(body)))
  for (const reopened of [false, true]) {
    const store = reopened ? await here.reopen() : here.store
    for (const [at, body] of bodies.entries()) {
      const content = contents[at] as Digest
      const part = await store.readPart?.(content, 3, 6)
      assert.deepEqual(Buffer.from(part ?? []), body.subarray(3, 9))
      await assert.rejects(async () => store.readPart?.(content, 3, body.length), {
        code: 'S5_STORE_DAMAGED',
        message: /cut short/,
      })
    }
  }
})

test('what is written is there at once, and after reopening', async () => {
  await using here = await place()
  const content = await here.store.write(Buffer.from('hello'))
  assert.equal(content, digestOf('hello'))
  assert.equal(here.store.has(content), true)
  assert.equal(Buffer.from(await here.store.read(content)).toString(), 'hello')
  const store = await here.reopen()
  assert.equal(Buffer.from(await store.read(content)).toString(), 'hello')
  assert.equal(store.has(digestOf('other')), false)
  await assert.rejects(store.read(digestOf('other')), { code: 'S5_STORE_DAMAGED', message: /missing/ })
})

test('bodies of every size come back, however they are cut', async () => {
  await using here = await place()
  const sizes = fc.oneof(
    fc.nat(200),
    fc.integer({ min: PACKED_MAX - 2, max: PACKED_MAX + 2 }),
    fc.nat(300_000),
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(sizes, fc.integer({ min: 1, max: 70_000 })), { maxLength: 8 }),
      async (bodies) => {
        await using transaction = here.store.begin()
        const made = bodies.map(([size, step], at) => {
          const bytes = someBytes(`${at} ${size}`, size)
          return { bytes, content: writeBody(transaction.bodies, bytes, step) }
        })
        await transaction.commit()
        for (const { bytes, content } of made) {
          assert.equal(content, digestOf(bytes))
          assert.ok(bytes.equals(await here.store.read(content)))
        }
      },
    ),
    { numRuns: 40 },
  )
  assert.deepEqual(await problemsOf(here.store), [])
})

test('the caller may reuse the buffer that it wrote', async () => {
  await using here = await place()
  await using transaction = here.store.begin()
  const contents: Digest[] = []
  const buffer = Buffer.alloc(100)
  for (let at = 0; at < 3; at++) {
    buffer.fill(at)
    contents.push(
      writeBody(transaction.bodies, buffer, 60),
      writeBody(transaction.bodies, buffer.subarray(1)),
    )
  }
  await transaction.commit()
  for (const [at, content] of contents.entries()) {
    const expected = Buffer.alloc(at % 2 === 0 ? 100 : 99, at >> 1)
    assert.deepEqual(Buffer.from(await here.store.read(content)), expected)
  }
})

test('a body that is not as long as it said is a bug, and is not kept', async () => {
  await using here = await place()
  await using transaction = here.store.begin()
  for (const size of [10, 100_000]) {
    const short = transaction.bodies.open(size)
    short.write(Buffer.alloc(size - 1))
    assert.throws(() => short.close(), RangeError)
    assert.throws(() => short.write(Buffer.alloc(2)), RangeError)
    short.abort()
  }
  await transaction.commit()
  assert.equal(here.store.stats().objects, 0)
})

test('nothing of a transaction is visible before commit, nor after abort', async () => {
  await using here = await place()
  const bytes = someBytes('x', 50_000)
  {
    await using transaction = here.store.begin()
    writeBody(transaction.bodies, bytes)
    assert.equal(here.store.has(digestOf(bytes)), false)
  }
  assert.equal(here.store.has(digestOf(bytes)), false)
  assert.deepEqual(readdirSync(join(here.store.path, 'staging')), [])
  assert.equal((await here.reopen()).has(digestOf(bytes)), false)
})

test('equal bytes are stored once: in one transaction, across writers and across transactions', async () => {
  await using here = await place()
  const small = someBytes('small', 300)
  const large = someBytes('large', 100_000)
  await using first = here.store.begin()
  const writer = bodiesIn(first.directory, here.store.has)
  for (const bodies of [first.bodies, writer, first.bodies])
    for (const bytes of [small, large]) writeBody(bodies, bytes)
  first.add(writer.list())
  writer[Symbol.dispose]()
  await first.commit()
  await using second = here.store.begin()
  writeBody(second.bodies, large)
  await second.commit()
  const { objects, objectBytes, segments } = here.store.stats()
  assert.deepEqual({ objects, objectBytes, segments }, { objects: 2, objectBytes: 100_300, segments: 1 })
  const [segment] = readdirSync(join(here.store.path, 'segments'))
  const files = readdirSync(join(here.store.path, 'segments', segment as string))
  assert.equal(files.filter((name) => name !== 'index' && !name.endsWith('.pack')).length, 1)
})

test('a worker writes into the transaction of another thread and reads what is published', async () => {
  await using here = await place()
  await ingest(here.store, 'base')
  const { Worker } = await import('node:worker_threads')
  const module = new URL('../../src/store/store.ts', import.meta.url).href
  const code = `const { parentPort, workerData } = require('node:worker_threads')
    void import(${JSON.stringify(module)}).then(({ bodiesIn, openReader }) => {
      const reader = openReader(workerData.path)
      const bodies = bodiesIn(workerData.directory, reader.has)
      for (const size of [5, 20_000]) { const body = bodies.open(size); body.write(new Uint8Array(size)); body.close() }
      const known = reader.readSync(workerData.known)
      parentPort.postMessage({ list: bodies.list(), length: known.length })
    })`
  await using transaction = here.store.begin()
  const known = digestOf(someBytes('base 500', 500))
  const worker = new Worker(code, {
    eval: true,
    workerData: { path: here.store.path, directory: transaction.directory, known },
  })
  const answer = await new Promise<{ list: Parameters<typeof transaction.add>[0]; length: number }>(
    (done, fail) => worker.once('message', done).once('error', fail),
  )
  assert.equal(answer.length, 500)
  transaction.add(answer.list)
  await transaction.commit()
  for (const size of [5, 20_000])
    assert.deepEqual(await here.store.read(digestOf(new Uint8Array(size))), Buffer.alloc(size))
})

test('records hold odd names, hard links, devices and binary attributes', async () => {
  await using here = await place()
  const content = await here.store.write(Buffer.from('x'))
  const inode = {
    ...fileOf(content, 1),
    xattrs: [['security.capability', '\x01\x00\x00\x02\xff\n'] as const],
  }
  const tree = treeOf([
    { path: 'a\xff b\n\\c', owner: 'odd \xe9 name', inode },
    { path: 'hard', owner: 'two', inode },
    {
      path: 'dev/null',
      owner: 'two',
      inode: { type: 'char', mode: 0o666, uid: 0, gid: 0, mtime: -1, major: 1, minor: 3 },
    },
    {
      path: 'link',
      owner: 'two',
      inode: { type: 'symlink', mode: 0o777, uid: 0, gid: 0, mtime: 0, target: '\xfe' },
    },
  ])
  const control = { postinst: '#!/bin/sh\n\x00\xff' }
  const removed = [{ path: 'usr/share/man/\xff', owner: 'two', rule: 'man', size: 3, target: 'x' }]
  const key = digestOf('key')
  await here.store.setUnpacked(key, { tree, control })
  await here.store.memo.set(key, { tree, removed })
  const digest = await here.store.saveTree(tree)
  assert.equal(digest, treeDigest(tree))
  const store = await here.reopen()
  assert.deepEqual(await store.unpacked(key), { tree, control })
  assert.deepEqual(await store.memo.get(key), { tree, removed })
  assert.deepEqual(await store.loadTree(digest), tree)
  assert.equal(await store.unpacked(digestOf('other')), undefined)
  assert.equal(await store.memo.get(digestOf('other')), undefined)
  await assert.rejects(store.loadTree(digestOf('other')), { code: 'S5_STORE_DAMAGED' })
})

test('a record whose contents are gone is a miss', async () => {
  await using here = await place()
  const key = digestOf('key')
  const tree = treeOf([{ path: 'a', owner: 'x', inode: fileOf(digestOf('nowhere'), 3) }])
  await here.store.setUnpacked(key, { tree, control: {} })
  assert.equal(await here.store.unpacked(key), undefined)
  await assert.rejects(here.store.loadTree(treeDigest(tree)), { code: 'S5_STORE_DAMAGED' })
})

test('a tree that was saved through another store since this one looked is found, with its contents', async () => {
  await using here = await place()
  assert.equal(here.store.has(digestOf('nothing')), false)
  await using other = await openStore(here.path)
  const content = await other.write(Buffer.from('abc'))
  const tree = treeOf([{ path: 'a', owner: 'x', inode: fileOf(content, 3) }])
  const digest = await other.saveTree(tree)
  await assert.rejects(here.store.loadTree(digest), { code: 'S5_STORE_DAMAGED' })
  await other.flush()
  assert.deepEqual(await here.store.loadTree(digest), tree)
  assert.equal(Buffer.from(await here.store.read(content)).toString(), 'abc')
})

test('blocks are there at once, and for others after flush', async () => {
  await using here = await place()
  const block = someBytes('block', 2_000_000)
  assert.equal(here.store.blocks.get('zstd 15 a 0'), undefined)
  here.store.blocks.put('zstd 15 a 0', block)
  here.store.blocks.put('zstd 15 a 1', Buffer.from('tail'))
  assert.ok(block.equals(here.store.blocks.get('zstd 15 a 0') as Uint8Array))
  assert.equal(Buffer.from(here.store.blocks.get('zstd 15 a 1') as Uint8Array).toString(), 'tail')
  const flushed = here.store.blocks.flush()
  assert.ok(block.equals(here.store.blocks.get('zstd 15 a 0') as Uint8Array))
  await flushed
  await using other = await openStore(here.path)
  assert.ok(block.equals(other.blocks.get('zstd 15 a 0') as Uint8Array))
  assert.equal(other.blocks.get('zstd 15 a 2'), undefined)
})

test('records that are set together share one segment', async () => {
  await using here = await place()
  const seeds = Array.from({ length: 20 }, (_, at) => `package-${at}`)
  await Promise.all(
    seeds.map((seed) => here.store.setUnpacked(digestOf(seed), { tree: treeOf([]), control: { seed } })),
  )
  assert.equal(here.store.stats().segments, 1)
  assert.deepEqual((await here.store.unpacked(digestOf('package-7')))?.control, { seed: 'package-7' })
})

test('refs keep any name, can be moved and removed', async () => {
  await using here = await place()
  const [one, two] = [digestOf('1'), digestOf('2')]
  for (const name of ['generation/www/7', '..', 'ä b%2F']) await here.store.setRef(name, one)
  await here.store.setRef('..', two)
  await here.store.setRef('gone', one)
  await here.store.setRef('gone', undefined)
  const expected = [
    ['..', two],
    ['generation/www/7', one],
    ['ä b%2F', one],
  ]
  assert.deepEqual(Object.fromEntries(await here.store.refs()), Object.fromEntries(expected) as unknown)
  assert.deepEqual(readdirSync(here.path), ['v1'])
})

test('collect frees what no record needs and nothing else', async () => {
  await using here = await place()
  await ingest(here.store, 'kept')
  const [lostSmall, lostLarge] = [someBytes('lost', 100), someBytes('lost', 100_000)]
  await using transaction = here.store.begin()
  for (const bytes of [lostSmall, lostLarge]) writeBody(transaction.bodies, bytes)
  await transaction.commit()
  const generated = await here.store.write(Buffer.from('generated, never recorded'))
  assert.deepEqual(await here.store.collect({ dryRun: true }), { objects: 3, bytes: 100_125 })
  assert.equal(here.store.has(generated), true)
  assert.deepEqual(await here.store.collect(), { objects: 3, bytes: 100_125 })
  assert.equal(here.store.has(digestOf(lostLarge)), false)
  assert.equal(await wrongWith(here.store, 'kept'), undefined)
  assert.deepEqual(await here.store.collect(), { objects: 0, bytes: 0 })
  assert.equal(await wrongWith(await here.reopen(), 'kept'), undefined)
})

test('collect keeps what lives in a segment with garbage, large files by link', async () => {
  await using here = await place()
  await using transaction = here.store.begin()
  const tree = treeOfPackage('kept')
  for (const size of [0, 10, 500, PACKED_MAX, PACKED_MAX + 1, 70_000])
    writeBody(transaction.bodies, someBytes(`kept ${size}`, size))
  writeBody(transaction.bodies, someBytes('lost', 100))
  await transaction.commit()
  const digest = await here.store.saveTree(tree)
  await here.store.setRef('r', digest)
  const large = digestOf(someBytes('kept 70000', 70_000))
  const { ino } = statSync(here.store.locate(large)?.path as string)
  assert.deepEqual(await here.store.collect(), { objects: 1, bytes: 100 })
  assert.equal(statSync(here.store.locate(large)?.path as string).ino, ino)
  assert.deepEqual(await here.store.loadTree(digest), tree)
  assert.deepEqual(await problemsOf(here.store), [])
  await here.store.setRef('r', undefined)
  assert.equal((await here.store.collect()).objects, 6)
  assert.deepEqual(here.store.stats(), {
    segments: 0,
    objects: 0,
    objectBytes: 0,
    records: 0,
    recordBytes: 0,
    blocks: 0,
    blockBytes: 0,
    links: 0,
  })
})

test('collect drops records that were not used for long, unless a ref needs them', async () => {
  await using here = await place()
  for (const seed of ['old', 'named', 'new']) {
    await ingest(here.store, seed)
    await here.store.setRef(
      seed,
      seed === 'named' ? await here.store.saveTree(treeOfPackage(seed)) : undefined,
    )
    if (seed === 'new') continue
    for (const name of readdirSync(join(here.store.path, 'segments')))
      utimesSync(join(here.store.path, 'segments', name), 1_000, 1_000)
  }
  const store = await here.reopen()
  const { objects } = await store.collect({ maxIdleMs: 3_600_000 })
  assert.equal(objects, 5)
  assert.equal(await wrongWith(store, 'old'), 'old is lost')
  assert.equal(await wrongWith(store, 'new'), undefined)
  assert.deepEqual(await store.loadTree(treeDigest(treeOfPackage('named'))), treeOfPackage('named'))
})

test('using a segment renews its time', async () => {
  await using here = await place()
  await ingest(here.store, 'old')
  for (const name of readdirSync(join(here.store.path, 'segments')))
    utimesSync(join(here.store.path, 'segments', name), 1_000, 1_000)
  let store = await here.reopen()
  assert.equal(await wrongWith(store, 'old'), undefined)
  store = await here.reopen()
  assert.equal((await store.collect({ maxIdleMs: 3_600_000 })).objects, 0)
})

test('collect obeys a limit of bytes, longest unused first', async () => {
  await using here = await place()
  for (const [at, seed] of ['a', 'b', 'c'].entries()) {
    const before = new Set(readdirSync(join(here.store.path, 'segments')))
    await ingest(here.store, seed)
    for (const name of readdirSync(join(here.store.path, 'segments')))
      if (!before.has(name)) utimesSync(join(here.store.path, 'segments', name), 1_000 + at, 1_000 + at)
  }
  const { objectBytes, recordBytes } = here.store.stats()
  await here.store.collect({ maxBytes: Math.floor(((objectBytes + recordBytes) * 2) / 3) + 100 })
  assert.equal(await wrongWith(here.store, 'a'), 'a is lost')
  for (const seed of ['b', 'c']) assert.equal(await wrongWith(here.store, seed), undefined)
})

test('collect is refused while others have the store open or a transaction is running', async () => {
  await using here = await place()
  {
    await using other = await openStore(here.path)
    await assert.rejects(here.store.collect({ waitMs: 50 }), { code: 'S5_LOCK_BUSY' })
    assert.deepEqual(await other.refs(), new Map())
  }
  {
    await using transaction = here.store.begin()
    assert.ok(existsSync(transaction.directory))
    await assert.rejects(here.store.collect(), RangeError)
  }
  await here.store.collect()
})

test('leftovers of a crash go when somebody is alone with the store', async () => {
  await using here = await place()
  const left = join(here.store.path, 'staging', '00000000-1-abc')
  mkdirSync(left)
  writeFileSync(join(left, 'half'), 'x')
  await here.reopen()
  assert.equal(existsSync(left), false)
  mkdirSync(left)
  {
    await using other = await openStore(here.path)
    assert.equal(existsSync(left), true)
    assert.equal(other.path, here.store.path)
  }
})

test('verify finds each changed byte of a large object, of a pack, of a record and of an index, and who is hurt', async () => {
  await using here = await place()
  await ingest(here.store, 'shop')
  await here.store.setRef('generation/shop/1', await here.store.saveTree(treeOfPackage('shop')))
  await here.store.link(fileOf(digestOf(someBytes('shop 70000', 70_000)), 70_000))
  assert.deepEqual(await problemsOf(here.store), [])
  const users = new Set<string>()
  const segments = join(here.store.path, 'segments')
  for (const segment of readdirSync(segments))
    for (const name of readdirSync(join(segments, segment))) {
      const path = join(segments, segment, name)
      const { size, mode, atimeMs, mtimeMs } = statSync(path)
      chmodSync(path, 0o600)
      const { readFileSync } = await import('node:fs')
      const whole = readFileSync(path)
      const broken = Buffer.from(whole)
      const at = size >> 1
      broken[at] = (broken[at] as number) ^ 1
      for (const bytes of [broken, whole.subarray(0, size - 1)]) {
        writeFileSync(path, bytes)
        await using other = await openStore(here.path)
        const found = []
        for await (const problem of other.verify()) found.push(problem)
        assert.ok(found.length > 0, `a change in ${name} went unseen`)
        for (const { usedBy } of found) for (const user of usedBy) users.add(user)
      }
      writeFileSync(path, whole)
      chmodSync(path, mode)
      utimesSync(path, atimeMs / 1000, mtimeMs / 1000)
    }
  assert.deepEqual([...users].sort(), ['ref generation/shop/1', 'shop'])
  assert.deepEqual(await problemsOf(here.store), [])
})

test('a damaged object can be dropped; its package is a miss and can come again', async () => {
  await using here = await place()
  await ingest(here.store, 'shop')
  const content = digestOf(someBytes('shop 70000', 70_000))
  const path = here.store.locate(content)?.path as string
  chmodSync(path, 0o600)
  writeFileSync(path, 'short')
  const store = await here.reopen()
  await assert.rejects(store.read(content), { code: 'S5_STORE_DAMAGED', message: /cut short/ })
  await store.collect({ drop: new Set([content]) })
  assert.equal(await wrongWith(store, 'shop'), 'shop is lost')
  assert.deepEqual(await problemsOf(store), [])
  await ingest(store, 'shop')
  assert.equal(await wrongWith(store, 'shop'), undefined)
})

test('a reader finds objects that a collection has moved', async () => {
  await using here = await place()
  await ingest(here.store, 'kept')
  await using transaction = here.store.begin()
  const moved = [someBytes('moved', 50), someBytes('moved', 90_000), someBytes('lost', 70)]
  for (const bytes of moved) writeBody(transaction.bodies, bytes)
  await transaction.commit()
  const [small, large] = moved as [Buffer, Buffer, Buffer]
  const tree = treeOf([
    { path: 's', owner: '', inode: fileOf(digestOf(small), 50) },
    { path: 'l', owner: '', inode: fileOf(digestOf(large), 90_000) },
  ])
  await here.store.setRef('r', await here.store.saveTree(tree))
  using reader = openReader(here.store.path)
  assert.equal(reader.has(digestOf(small)), true)
  await here.store.collect()
  assert.ok(small.equals(reader.readSync(digestOf(small))))
  assert.ok(large.equals(reader.readSync(digestOf(large))))
})

test('a store that another process added to is seen at the next read', async () => {
  await using here = await place()
  await using other = await openStore(here.path)
  assert.equal(here.store.stats().objects, 0)
  const content = await other.write(Buffer.from('from the other'))
  await other.flush()
  assert.equal(Buffer.from(await here.store.read(content)).toString(), 'from the other')
})

test('a transaction of nothing but an empty body commits', async () => {
  await using here = await place()
  await using transaction = here.store.begin()
  const content = writeBody(transaction.bodies, Buffer.alloc(0))
  await transaction.commit()
  assert.equal((await (await here.reopen()).read(content)).length, 0)
})
