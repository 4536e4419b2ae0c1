/** What every engine promises, run against each. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import { KEYS } from '../../src/fleet/documents.ts'
import { type ChangeSet, type Compare, type Engine, STORE_ID_KEY } from '../../src/engine/engine.ts'
import { openEngine } from '../../src/engine/open.ts'
import { type Cluster, startCluster } from '../helpers/fe-etcd.ts'

interface Subject {
  readonly name: string
  /** Why it cannot run here; '' when it can. */
  readonly missing: string
  start(): Promise<{ address: string; otherAddress: string; stop(): Promise<void> }>
}

const hasEtcd = spawnSync('etcd', ['--version']).status === 0

const SUBJECTS: readonly Subject[] = [
  {
    name: 'sqlite',
    missing: '',
    start: async () => {
      const directory = mkdtempSync(join(tmpdir(), 'fe-contract-'))
      return {
        address: `sqlite:${directory}/fleet.db`,
        otherAddress: `sqlite:${directory}/other.db`,
        stop: async () => rmSync(directory, { recursive: true, force: true }),
      }
    },
  },
  {
    name: 'etcd',
    missing: hasEtcd ? '' : 'needs etcd',
    start: async () => {
      const cluster: Cluster = await startCluster(1)
      return {
        address: `${cluster.address}/fleet`,
        otherAddress: `${cluster.address}/other`,
        stop: async () => await cluster[Symbol.asyncDispose](),
      }
    },
  },
]

const never = new AbortController().signal
const put = (key: string, value: string, lease?: string) =>
  ({ kind: 'put', key, value, ...(lease !== undefined && { lease }) }) as const
const gone = (key: string) => ({ kind: 'delete', key }) as const
const mod = (key: string, equal: bigint): Compare => ({ key, target: 'mod', equal })
const create = (key: string, equal: bigint): Compare => ({ key, target: 'create', equal })

async function value(engine: Engine, key: string): Promise<string | undefined> {
  return (await engine.list(key)).values.find((one) => one.key === key)?.value
}

/** The first change that `wanted` accepts, after `revision`. */
async function firstChange(
  engine: Engine,
  prefix: string,
  revision: bigint,
  wanted: (set: ChangeSet) => boolean,
): Promise<ChangeSet> {
  for await (const set of engine.watch(prefix, revision, never)) if (wanted(set)) return set
  throw new Error('the watch ended')
}

for (const subject of SUBJECTS)
  describe(`engine ${subject.name}`, { skip: subject.missing || false }, () => {
    let started: Awaited<ReturnType<Subject['start']>>
    let engine: Engine
    before(async () => {
      started = await subject.start()
      engine = await openEngine(started.address)
    })
    after(async () => {
      await engine[Symbol.asyncDispose]()
      await started.stop()
    })

    it('has one id for all who open it, and another store has another', async () => {
      await using second = await openEngine(started.address, { storeId: engine.storeId })
      assert.equal(second.storeId, engine.storeId)
      assert.equal(await value(engine, STORE_ID_KEY), engine.storeId)
      assert.equal(STORE_ID_KEY, KEYS.store)
      await assert.rejects(openEngine(started.otherAddress, { storeId: engine.storeId }), {
        code: 'S5_ENGINE_OTHER',
      })
    })

    it('makes one id when several open a new store at once', async () => {
      const opened = await Promise.all(Array.from({ length: 6 }, () => openEngine(started.otherAddress)))
      assert.equal(new Set(opened.map(({ storeId }) => storeId)).size, 1)
      await Promise.all(opened.map((one) => one[Symbol.asyncDispose]()))
    })

    it('does all operations when all compares hold, else none', async () => {
      const first = await engine.transact(
        [create('/cas/a', 0n), mod('/cas/b', 0n)],
        [put('/cas/a', '1'), put('/cas/b', '1')],
      )
      assert.equal(first.ok, true)
      const second = await engine.transact(
        [mod('/cas/a', first.revision), mod('/cas/b', first.revision)],
        [put('/cas/a', '2')],
      )
      assert.deepEqual(second, { ok: true, revision: first.revision + 1n })
      for (const compares of [
        [mod('/cas/a', first.revision), mod('/cas/b', first.revision)],
        [mod('/cas/a', second.revision), mod('/cas/b', second.revision)],
        [mod('/cas/a', second.revision), create('/cas/b', 0n)],
        [create('/cas/a', second.revision)],
        [mod('/cas/none', first.revision)],
      ]) {
        const { ok, revision } = await engine.transact(compares, [put('/cas/a', '3'), gone('/cas/b')])
        assert.deepEqual({ ok, revision }, { ok: false, revision: second.revision })
      }
      const held = await engine.transact(
        [create('/cas/a', first.revision), mod('/cas/a', second.revision)],
        [gone('/cas/b'), put('/cas/c', '')],
      )
      assert.equal(held.ok, true)
      assert.deepEqual(await engine.list('/cas/'), {
        revision: held.revision,
        values: [
          { key: '/cas/a', value: '2', modRevision: second.revision, createRevision: first.revision },
          { key: '/cas/c', value: '', modRevision: held.revision, createRevision: held.revision },
        ],
      })
    })

    it('makes a key anew with a new create revision, and deleting nothing changes nothing', async () => {
      const one = await engine.transact([], [put('/anew', '1')])
      await engine.transact([], [gone('/anew')])
      const nothing = await engine.transact([], [gone('/anew')])
      assert.deepEqual(nothing, { ok: true, revision: one.revision + 1n })
      const two = await engine.transact([create('/anew', 0n)], [put('/anew', '2')])
      assert.deepEqual((await engine.list('/anew')).values, [
        { key: '/anew', value: '2', modRevision: two.revision, createRevision: two.revision },
      ])
      assert.equal((await engine.transact([create('/anew', one.revision)], [gone('/anew')])).ok, false)
    })

    it('lists a prefix in the order of bytes, and nothing beside it', async () => {
      const keys = [
        '/order/',
        '/order/%',
        '/order/A',
        '/order/_',
        '/order/a',
        '/order/é',
        '/order/€',
        '/order/😀',
      ]
      const beside = ['/orde', '/order', '/order0', '/order.']
      await engine.transact(
        [],
        [...keys.toReversed(), ...beside].map((key) => put(key, `v ${key}`)),
      )
      const { values } = await engine.list('/order/')
      assert.deepEqual(
        values.map((one) => [one.key, one.value]),
        keys.map((key) => [key, `v ${key}`]),
      )
      assert.ok((await engine.list('')).values.length > keys.length + beside.length)
      assert.deepEqual((await engine.list('/order/😁')).values, [])
    })

    it('refuses what no engine could do', async () => {
      const many = Array.from({ length: engine.maxOperations + 1 }, (_, at) => put(`/many/${at}`, ''))
      await assert.rejects(engine.transact([], many), RangeError)
      await assert.rejects(engine.transact([], [put('/twice', '1'), gone('/twice')]), RangeError)
      await assert.rejects(engine.transact([], [put('', '1')]), RangeError)
      await assert.rejects(engine.transact([], [put('/large', 'x'.repeat(2_000_000))]), RangeError)
      await assert.rejects(engine.grantLease(0), RangeError)
      const { ok } = await engine.transact([], many.slice(1))
      assert.equal(ok, true)
      assert.equal((await engine.list('/many/')).values.length, engine.maxOperations)
      await engine.transact([], [put('/large', 'ü'.repeat(600_000))])
      assert.equal((await value(engine, '/large'))?.length, 600_000)
    })

    it('does what a map would do', async () => {
      const key = fc.constantFrom('/map/a', '/map/b', '/map/c', '/map/é')
      const step = fc.record({
        compare: fc.array(fc.record({ key, target: fc.constantFrom('mod', 'create'), age: fc.nat(3) }), {
          maxLength: 2,
        }),
        operations: fc.uniqueArray(fc.record({ key, value: fc.option(fc.string({ unit: 'grapheme' })) }), {
          selector: (one) => one.key,
          maxLength: 3,
        }),
      })
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
          const before0 = (await engine.list('/map/')).values
          await engine.transact(
            [],
            before0.map((one) => gone(one.key)),
          )
          const start = (await engine.list('/map/')).revision
          const model = new Map<string, { value: string; mod: bigint; create: bigint }>()
          const history: (readonly [bigint, string, string | undefined])[] = []
          let revision = start
          for (const { compare, operations } of steps) {
            // Age 0 is what is there, others are older; so most compares of one kind hold and of the other do not.
            const compares = compare.map(({ key: at, target, age }) => ({
              key: at,
              target: target as 'mod' | 'create',
              equal: age === 3 ? 0n : (model.get(at)?.[target as 'mod' | 'create'] ?? 0n) - BigInt(age),
            }))
            const holds = compares.every((one) => (model.get(one.key)?.[one.target] ?? 0n) === one.equal)
            const effective = operations.filter((one) => one.value !== null || model.has(one.key))
            if (holds && effective.length > 0) {
              revision++
              for (const one of effective.toSorted((a, b) => (a.key < b.key ? -1 : 1))) {
                const create0 = model.get(one.key)?.create ?? revision
                if (one.value === null) model.delete(one.key)
                else model.set(one.key, { value: one.value, mod: revision, create: create0 })
                history.push([revision, one.key, one.value ?? undefined])
              }
            }
            const answer = await engine.transact(
              compares,
              operations.map((one) => (one.value === null ? gone(one.key) : put(one.key, one.value))),
            )
            assert.deepEqual(answer, { ok: holds, revision })
          }
          const { values } = await engine.list('/map/')
          assert.deepEqual(
            values.map((one) => [one.key, one.value, one.modRevision, one.createRevision]),
            [...model]
              .toSorted(([a], [b]) => (a < b ? -1 : 1))
              .map(([at, one]) => [at, one.value, one.mod, one.create]),
          )
          if (history.length === 0) return
          const seen: (readonly [bigint, string, string | undefined])[] = []
          await firstChange(engine, '/map/', start, ({ revision: at, changes }) => {
            seen.push(...changes.map((one) => [at, one.key, one.value] as const))
            return at === revision
          })
          assert.deepEqual(seen, history)
        }),
        { numRuns: 40, seed: 6 },
      )
    })

    it('gives a watch every change after its revision, once and in order, while others write', async () => {
      await using other = await openEngine(started.address)
      const start = (await engine.list('/w/')).revision
      const written: bigint[] = []
      const write = async (through: Engine, name: string): Promise<void> => {
        for (let at = 0; at < 100; at++) {
          const { revision } = await through.transact(
            [],
            [put(`/w/${name}`, `${at}`), put(`/beside/${name}`, '')],
          )
          written.push(revision)
        }
      }
      const readFrom = async (from: bigint): Promise<bigint[]> => {
        const seen: bigint[] = []
        await firstChange(other, '/w/', from, ({ revision, changes }) => {
          assert.deepEqual(
            changes.map(({ modRevision }) => modRevision),
            [revision],
          )
          seen.push(revision)
          return changes[0]?.key === '/w/end'
        })
        return seen
      }
      const during = [readFrom(start), readFrom(start + 30n)]
      await Promise.all([write(engine, 'a'), write(engine, 'b'), write(other, 'c'), write(other, 'd')])
      written.push((await engine.transact([], [put('/w/end', '')])).revision)
      const all = written.toSorted(byRevision)
      assert.equal(new Set(all).size, 401)
      assert.deepEqual(await during[0], all)
      assert.deepEqual(
        await during[1],
        all.filter((revision) => revision > start + 30n),
      )
      assert.deepEqual(await readFrom(start), all)
    })

    it('ends a watch quietly when it is aborted, and when the engine is disposed of', async () => {
      const other = await openEngine(started.address)
      const aborted = new AbortController()
      const { revision } = await other.list('/quiet')
      const count = async (signal: AbortSignal): Promise<number> => {
        let sets = 0
        for await (const { changes } of other.watch('/quiet', revision, signal)) sets += changes.length
        return sets
      }
      const watches = [count(aborted.signal), count(never)]
      await other.transact([], [put('/quiet/none', '')])
      aborted.abort()
      assert.ok(((await watches[0]) as number) <= 1)
      await other[Symbol.asyncDispose]()
      assert.ok(((await watches[1]) as number) <= 1)
      await assert.rejects(other.list('/quiet'))
    })

    it('deletes the keys of a lease that ends or is revoked, and keeps those of one that is renewed', async () => {
      const [short, kept, revoked] = [
        await engine.grantLease(2),
        await engine.grantLease(6),
        await engine.grantLease(600),
      ]
      const { revision } = await engine.transact(
        [],
        [put('/l/short', '1', short), put('/l/kept', '1', kept), put('/l/revoked', '1', revoked)],
      )
      await engine.transact([], [put('/l/short2', '1', short)])
      await engine.revokeLease(revoked)
      const renewals: boolean[] = []
      const timer = setInterval(() => void engine.renewLease(kept).then((ok) => renewals.push(ok)), 500)
      const deleted = await firstChange(engine, '/l/', revision, ({ changes }) =>
        changes.some(({ key, value: now }) => key === '/l/short' && now === undefined),
      )
      assert.deepEqual(
        deleted.changes.map(({ key, value: now }) => [key, now]),
        [
          ['/l/short', undefined],
          ['/l/short2', undefined],
        ],
      )
      clearInterval(timer)
      assert.deepEqual(
        (await engine.list('/l/')).values.map(({ key }) => key),
        ['/l/kept'],
      )
      assert.ok(renewals.every(Boolean))
      assert.equal(await engine.renewLease(short), false)
      assert.equal(await engine.renewLease(revoked), false)
      await engine.revokeLease(revoked)
      const late = await engine.transact([], [put('/l/late', '', short)])
      assert.equal(late.ok, false)
      assert.equal(await value(engine, '/l/late'), undefined)
    })

    it('takes a key from its lease when it is put without one', async () => {
      const lease = await engine.grantLease(600)
      await engine.transact([], [put('/own', '1', lease)])
      await engine.transact([], [put('/own', '2')])
      await engine.revokeLease(lease)
      assert.equal(await value(engine, '/own'), '2')
    })

    it('lets one lead at a time, and the fence of a former leader never holds again', async () => {
      await using other = await openEngine(started.address)
      const first = await engine.lead('/leader/x', 5, never)
      const waiting = new AbortController()
      const given = other.lead('/leader/x', 5, waiting.signal)
      waiting.abort(new Error('enough'))
      await assert.rejects(given, /enough/)
      const next = other.lead('/leader/x', 5, never)
      const fence = (epoch: bigint) => create('/leader/x', epoch)
      assert.equal((await engine.transact([fence(first.epoch)], [put('/led', '1')])).ok, true)
      assert.equal(first.lost.aborted, false)
      await first.resign()
      const second = await next
      assert.equal(first.lost.aborted, true)
      assert.equal((first.lost.reason as { code: string }).code, 'S5_LEADER_LOST')
      assert.ok(second.epoch > first.epoch)
      assert.equal((await engine.transact([fence(first.epoch)], [put('/led', 'old')])).ok, false)
      assert.equal((await engine.transact([fence(second.epoch)], [put('/led', '2')])).ok, true)
      assert.equal(await value(engine, '/led'), '2')
      await second.resign()
    })

    it('tells a leader that its key is gone with its lease', async () => {
      await using other = await openEngine(started.address)
      const { lost, epoch } = await other.lead('/leader/y', 2, never)
      const lease = (await engine.list('/leader/y')).values[0]
      assert.equal(lease?.createRevision, epoch)
      // What a pause longer than the lease leaves behind: the lease ended, the renewal comes too late.
      const held = new Promise((done) => lost.addEventListener('abort', done, { once: true }))
      const blocked = performance.now() + 4500
      while (performance.now() < blocked);
      await held
      assert.equal((lost.reason as { code: string }).code, 'S5_LEADER_LOST')
    })

    it('refuses what a leader stopped between read and write still writes; without the fence it would apply', async () => {
      const outcome = async (how: 'fenced' | 'unfenced'): Promise<(string | undefined)[]> => {
        const [leader, target] = [`/stale/${how}/leader`, `/stale/${how}/target`]
        await engine.transact([], [put(target, 'old')])
        const script = resolve(import.meta.dirname, '../helpers/fe-stale-leader.ts')
        const child = spawn(process.execPath, [script, started.address, leader, target, how], {
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
        assert.equal((await lines.next()).value, 'read old')
        const second = await engine.lead(leader, 5, never)
        await engine.transact([create(second.key, second.epoch)], [put(target, 'new')])
        child.kill('SIGCONT')
        const said = (await lines.next()).value as string
        await second.resign()
        if (child.exitCode === null) await once(child, 'exit')
        return [said, await value(engine, target)]
      }
      const [fenced, unfenced] = await Promise.all([outcome('fenced'), outcome('unfenced')])
      assert.deepEqual(fenced, ['refused', 'new'])
      assert.deepEqual(unfenced, ['applied', 'stale'])
    })

    it('counts right when 64 write at once', async () => {
      const add = async (): Promise<void> => {
        for (;;) {
          const found = (await engine.list('/count')).values[0]
          const compare = mod('/count', found?.modRevision ?? 0n)
          const { ok } = await engine.transact([compare], [put('/count', `${Number(found?.value ?? 0) + 1}`)])
          if (ok) return
        }
      }
      await Promise.all(Array.from({ length: 64 }, add))
      assert.equal(await value(engine, '/count'), '64')
    })

    it('says that history was compacted, and watches on from what is kept', async () => {
      const revisions: bigint[] = []
      for (let at = 0; at < 5; at++)
        revisions.push((await engine.transact([], [put('/comp', `${at}`)])).revision)
      const [first = 0n, , third = 0n, , fifth = 0n] = revisions
      await engine.compact(third)
      await engine.compact(first)
      await assert.rejects(
        firstChange(engine, '/comp', first - 1n, () => true),
        { code: 'S5_ENGINE_COMPACTED' },
      )
      const seen: (string | undefined)[] = []
      await firstChange(engine, '/comp', third - 1n, ({ revision, changes }) => {
        seen.push(changes[0]?.value)
        return revision === fifth
      })
      assert.deepEqual(seen, ['2', '3', '4'])
      assert.equal(await value(engine, '/comp'), '4')
      await assert.rejects(engine.compact(fifth + 1000n), RangeError)
    })
  })

function byRevision(one: bigint, other: bigint): number {
  return one < other ? -1 : one > other ? 1 : 0
}
