import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, it } from 'node:test'
import { isNetworkFileSystem, openSqliteEngine } from '../../src/engine/sqlite.ts'
import { openTables } from '../../src/engine/sqlite-tables.ts'

const directory = mkdtempSync(join(tmpdir(), 'fe-sqlite-'))
after(() => rmSync(directory, { recursive: true, force: true }))
let files = 0
const fresh = (): string => join(directory, `${++files}.db`)

it('loses no acknowledged write when writers are killed', async () => {
  const path = fresh()
  const acknowledged: [key: string, revision: bigint][] = []
  for (let round = 0; round < 5; round++) {
    const script = resolve(import.meta.dirname, '../helpers/fe-writer.ts')
    const child = spawn(process.execPath, [script, `sqlite:${path}`, `/k/${round}/`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let said = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text
      if (said.split('\n').length > 20 + round * 17) child.kill('SIGKILL')
    })
    await once(child, 'close')
    // A last line without its end was cut by the kill.
    for (const line of said.split('\n').slice(0, -1)) {
      const [key = '', revision = ''] = line.split(' ')
      acknowledged.push([key, BigInt(revision)])
    }
  }
  assert.ok(acknowledged.length > 100)
  await using engine = await openSqliteEngine(path)
  const { values, revision } = await engine.list('/k/')
  const kept = new Map(values.map(({ key, modRevision }) => [key, modRevision]))
  for (const [key, at] of acknowledged) assert.equal(kept.get(key), at, key)
  assert.equal(new Set(kept.values()).size, values.length)
  const integrity = new DatabaseSync(path).prepare('PRAGMA integrity_check').get()
  assert.deepEqual({ ...integrity }, { integrity_check: 'ok' })
  let seen = 0
  for await (const set of engine.watch('', 0n, new AbortController().signal)) {
    assert.equal(set.revision, BigInt(++seen))
    if (set.revision === revision) break
  }
})

it('goes on counting the time of leases when their holder is gone, and anew when the machine was', () => {
  const path = fresh()
  let ms = 1000
  const boot = (bootId: string) => openTables(path, { bootId, ms: () => ms })
  const ask = (tables: ReturnType<typeof boot>, key: string): number => {
    const [listed] = tables.batch([{ kind: 'list', prefix: key }]) as unknown as [{ values: unknown[] }]
    return listed.values.length
  }
  const first = boot('one')
  const [lease] = first.batch([{ kind: 'grant', seconds: 10 }]) as [string]
  first.batch([
    { kind: 'transact', compares: [], operations: [{ kind: 'put', key: '/d', value: '', lease }] },
  ])
  first[Symbol.dispose]()
  ms += 9999
  const second = boot('one')
  assert.equal(ask(second, '/d'), 1)
  assert.equal(second.hasNews(), false)
  ms += 1
  assert.equal(second.hasNews(), true)
  assert.equal(ask(second, '/d'), 0)
  const [other] = second.batch([{ kind: 'grant', seconds: 10 }]) as [string]
  assert.notEqual(other, lease)
  second.batch([
    { kind: 'transact', compares: [], operations: [{ kind: 'put', key: '/d', value: '', lease: other }] },
  ])
  second[Symbol.dispose]()
  // The clock of another start of the machine says nothing about the lease: it has its whole time from here.
  for (const [bootId, now] of [
    ['two', 5_000_000],
    ['two', 100],
  ] as const) {
    ms = now
    const third = boot(bootId)
    assert.equal(ask(third, '/d'), 1)
    ms += 9999
    assert.equal(ask(third, '/d'), 1)
    third[Symbol.dispose]()
  }
  const last = boot('two')
  ms += 1
  assert.equal(ask(last, '/d'), 0)
  last[Symbol.dispose]()
})

it('forgets old history by itself, and says so', () => {
  const tables = openTables(fresh(), { bootId: '', ms: () => 0 }, 500)
  for (let at = 0; at < 2000; at++)
    tables.batch([
      { kind: 'transact', compares: [], operations: [{ kind: 'put', key: '/k', value: `${at}` }] },
    ])
  const changes = (after: bigint) =>
    tables.batch([{ kind: 'changes', prefix: '', after }])[0] as unknown as {
      compacted: boolean
      sets: unknown[]
    }
  assert.equal(changes(1498n).compacted, true)
  assert.equal(changes(1499n).compacted, false)
  assert.equal(changes(1499n).sets.length, 501)
  tables[Symbol.dispose]()
})

it('undoes the whole batch when one of it fails', () => {
  const tables = openTables(fresh(), { bootId: '', ms: () => 0 })
  const put = (key: string) =>
    ({ kind: 'transact', compares: [], operations: [{ kind: 'put', key, value: '' }] }) as const
  tables.batch([put('/a')])
  const broken = { kind: 'list', prefix: 1 as unknown as string } as const
  assert.throws(() => tables.batch([put('/b'), broken]))
  const [, listed] = tables.batch([put('/c'), { kind: 'list', prefix: '/' }]) as unknown as [
    unknown,
    { values: { key: string; modRevision: bigint }[] },
  ]
  assert.deepEqual(
    listed.values.map(({ key, modRevision }) => [key, modRevision]),
    [
      ['/a', 1n],
      ['/c', 2n],
    ],
  )
  tables[Symbol.dispose]()
})

it('sees what another process writes', async () => {
  const path = fresh()
  await using engine = await openSqliteEngine(path)
  const { revision } = await engine.list('')
  const script = resolve(import.meta.dirname, '../helpers/fe-writer.ts')
  const child = spawn(process.execPath, [script, `sqlite:${path}`, '/other/'], { stdio: 'ignore' })
  let seen = 0
  for await (const set of engine.watch('/other/', revision, new AbortController().signal)) {
    assert.equal(set.revision, revision + BigInt(++seen))
    if (seen === 50) break
  }
  child.kill('SIGKILL')
  await once(child, 'close')
})

it('refuses files that are no store of a fleet and leaves them as they are', async () => {
  const foreign = fresh()
  const database = new DatabaseSync(foreign)
  database.exec('CREATE TABLE mine (x)')
  database.close()
  const text = fresh()
  writeFileSync(text, 'not a database, '.repeat(100))
  const newer = fresh()
  await (await openSqliteEngine(newer))[Symbol.asyncDispose]()
  const next = new DatabaseSync(newer)
  next.exec('PRAGMA user_version = 99')
  next.close()
  for (const path of [foreign, text, newer]) {
    const bytes = readFileSync(path)
    await assert.rejects(openSqliteEngine(path), { code: 'S5_ENGINE_OTHER' }, path)
    assert.deepEqual(readFileSync(path), bytes)
  }
  await assert.rejects(openSqliteEngine(join(text, 'below.db')), { code: 'S5_DISK_FAILED' })
  chmodSync(text, 0o600)
})

it('knows file systems that other machines can reach', () => {
  for (const type of [0x6969, 0xff534d42, -0x00acb2be, 0x00c36400])
    assert.equal(isNetworkFileSystem(type), true)
  for (const type of [0xef53, 0x58465342, 0x9123683e, 0x01021994])
    assert.equal(isNetworkFileSystem(type), false)
})
