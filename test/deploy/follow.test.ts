/** A fleet that is followed by watching is the fleet that a list shows, through lost watches and compacted histories. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Stage5Error } from '../../src/base/errors.ts'
import { followFleet } from '../../src/deploy/follow.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { openSqliteEngine } from '../../src/engine/sqlite.ts'
import { KEYS, PREFIX } from '../../src/fleet/documents.ts'
import { documentReader } from '../../src/fleet/read.ts'

async function withEngine(run: (engine: Engine, other: Engine) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'fr2-follow-'))
  try {
    await using engine = await openSqliteEngine(join(directory, 'fleet.db'))
    await using other = await openSqliteEngine(join(directory, 'fleet.db'))
    await run(engine, other)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

const put = (key: string, value: string) => ({ kind: 'put', key, value }) as const

test('writes of another process, deletes and timers that end are seen without listing again', async () => {
  await withEngine(async (engine, other) => {
    let lists = 0
    const stop = new AbortController()
    const following = followFleet({
      engine: {
        watch: (...words) => engine.watch(...words),
        list: (prefix) => {
          lists++
          return engine.list(prefix)
        },
      },
      prefix: PREFIX,
      signal: stop.signal,
      ring: () => undefined,
      listMs: 600_000,
    })
    await following.turn()
    let revision = 0n
    for (let at = 0; at < 100; at++) {
      const guest = `g${(at * 7) % 23}`
      const lease = at % 20 === 3 ? await other.grantLease(1) : undefined
      const operations =
        at % 5 === 4
          ? [{ kind: 'delete' as const, key: KEYS.guest(guest) }, put(KEYS.group('a'), `{"seq":${at}}`)]
          : [
              put(KEYS.guest(guest), `{"token":${at}}`),
              { ...put(KEYS.deadline(guest), ''), ...(lease !== undefined && { lease }) },
            ]
      revision = (await (at % 2 ? engine : other).transact([], operations)).revision
      if (at % 17 === 0) {
        await following.reach(revision, 60_000)
        assert.deepEqual(await following.turn(), documentReader()((await engine.list(PREFIX)).values))
      }
    }
    const lease = await other.grantLease(1)
    ;({ revision } = await other.transact([], [{ ...put(KEYS.deadline('z'), ''), lease }]))
    await following.reach(revision, 60_000)
    // The lease ends by itself: the store says so.
    while ((await following.turn()).deadlines.has('z')) await new Promise((done) => setTimeout(done, 50))
    assert.equal(lists, 1)
    stop.abort()
    await following.end()
  })
})

test('documents stay as they are until the next turn', async () => {
  await withEngine(async (engine) => {
    const stop = new AbortController()
    const rung = Promise.withResolvers<void>()
    const following = followFleet({
      engine,
      prefix: PREFIX,
      signal: stop.signal,
      ring: rung.resolve,
      listMs: 600_000,
    })
    const documents = await following.turn()
    const { revision } = await engine.transact([], [put(KEYS.guest('a'), '{}')])
    await Promise.all([rung.promise, following.reach(revision, 60_000)])
    assert.equal(documents.guests.has('a'), false)
    assert.equal((await following.turn()).guests.has('a'), true)
    stop.abort()
    await following.end()
  })
})

test('a watch that is silent, breaks off or cannot go on is followed by a list', async () => {
  await withEngine(async (engine) => {
    const stop = new AbortController()
    const lives: string[] = []
    const following = followFleet({
      engine: {
        list: (prefix) => engine.list(prefix),
        watch: async function* (_prefix, _revision, signal) {
          lives.push('begun')
          yield* []
          if (lives.length === 1) throw new Stage5Error('S5_ENGINE_COMPACTED', 'too long ago')
          if (lives.length === 2) return
          await new Promise((done) => signal.addEventListener('abort', done))
        },
      },
      prefix: PREFIX,
      signal: stop.signal,
      ring: () => undefined,
      listMs: 600_000,
    })
    for (const guest of ['compacted', 'ended', 'silent', 'refused']) {
      const { revision } = await engine.transact([], [put(KEYS.guest(guest), '{}')])
      if (guest === 'silent') await following.reach(revision, 20)
      if (guest === 'refused') following.doubt()
      assert.ok((await following.turn()).guests.has(guest), guest)
      await new Promise((done) => setImmediate(done))
    }
    assert.equal(lives.length, 4)
    stop.abort()
    await following.end()
  })
})

test('an error that is no passing failure ends it', async () => {
  await withEngine(async (engine) => {
    const rung = Promise.withResolvers<void>()
    const following = followFleet({
      engine: {
        list: (prefix) => engine.list(prefix),
        watch: async function* () {
          yield* []
          throw new TypeError('a bug')
        },
      },
      prefix: PREFIX,
      signal: new AbortController().signal,
      ring: rung.resolve,
      listMs: 600_000,
    })
    await following.turn()
    await rung.promise
    await assert.rejects(following.turn(), /a bug/)
  })
})
