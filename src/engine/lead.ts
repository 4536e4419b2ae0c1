/**
 * Leadership over the primitives of any engine: a key that a lease holds.
 *
 * The lease only decides who may try; what makes two leaders harmless is the compare on the key's create revision that
 * each of their writes carries (etcd-io/etcd#11456: a lock without such a fence is none).
 */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { isStage5Error, Stage5Error } from '../base/errors.ts'
import { monotonicMs } from '../host/clock.ts'
import type { Engine, Leadership } from './engine.ts'

type Primitives = Pick<Engine, 'list' | 'transact' | 'watch' | 'grantLease' | 'renewLease' | 'revokeLease'>

const RETRY_MS = 200

export async function takeLead(
  engine: Primitives,
  key: string,
  ttlSeconds: number,
  signal: AbortSignal,
): Promise<Leadership> {
  const mine = JSON.stringify({ candidate: randomUUID(), host: hostname(), pid: process.pid })
  for (;;) {
    signal.throwIfAborted()
    try {
      await waitUntilFree(engine, key, signal)
      const leadership = await campaign(engine, key, mine, ttlSeconds)
      if (leadership) return leadership
    } catch (error) {
      signal.throwIfAborted()
      if (!isStage5Error(error, 'S5_ENGINE_UNAVAILABLE', 'S5_ENGINE_COMPACTED')) throw error
      await sleep(RETRY_MS * (1 + Math.random()), undefined, { signal }).catch(() => {})
    }
  }
}

async function waitUntilFree(engine: Primitives, key: string, signal: AbortSignal): Promise<void> {
  const { values, revision } = await engine.list(key)
  if (!values.some((one) => one.key === key)) return
  for await (const { changes } of engine.watch(key, revision, signal))
    if (changes.some((change) => change.key === key && change.value === undefined)) return
  signal.throwIfAborted()
}

/** One try. When the outcome of the write is unknown, the key itself says whose it is. */
async function campaign(
  engine: Primitives,
  key: string,
  mine: string,
  ttlSeconds: number,
): Promise<Leadership | undefined> {
  const since = monotonicMs()
  const lease = await engine.grantLease(ttlSeconds)
  let leads = false
  try {
    await engine
      .transact([{ key, target: 'create', equal: 0n }], [{ kind: 'put', key, value: mine, lease }])
      .catch(onlyUnknown)
    const holder = (await engine.list(key)).values.find((one) => one.key === key)
    leads = holder?.value === mine
    return holder && leads ? hold(engine, key, holder.createRevision, lease, ttlSeconds, since) : undefined
  } finally {
    if (!leads) await engine.revokeLease(lease).catch(onlyUnknown)
  }
}

function onlyUnknown(error: unknown): void {
  if (!isStage5Error(error, 'S5_ENGINE_UNAVAILABLE')) throw error
}

function hold(
  engine: Primitives,
  key: string,
  epoch: bigint,
  lease: string,
  ttlSeconds: number,
  since: number,
): Leadership {
  const ttlMs = ttlSeconds * 1000
  const lost = new AbortController()
  let isRenewing = false
  let until = since + ttlMs
  const end = (why: string): void => {
    clearInterval(renewals)
    clearInterval(guard)
    lost.abort(new Stage5Error('S5_LEADER_LOST', `${key}: ${why}`, { data: { key, epoch: String(epoch) } }))
  }
  const renew = async (): Promise<void> => {
    const asked = monotonicMs()
    try {
      if (await engine.renewLease(lease)) until = Math.max(until, asked + ttlMs)
      else end('its lease has ended')
    } catch (error) {
      // Tried again until the time is over; what is no passing failure ends it at once.
      if (!isStage5Error(error, 'S5_ENGINE_UNAVAILABLE'))
        end(error instanceof Error ? error.message : 'renewal failed')
    } finally {
      isRenewing = false
    }
  }
  const renewals = setInterval(() => {
    if (isRenewing) return
    isRenewing = true
    void renew()
  }, ttlMs / 3).unref()
  const guard = setInterval(
    () => {
      if (monotonicMs() >= until) end(`its lease of ${ttlSeconds} s was not renewed in time`)
    },
    Math.min(ttlMs / 10, 1000),
  ).unref()
  return {
    key,
    epoch,
    lost: lost.signal,
    resign: async () => {
      if (lost.signal.aborted) return
      end('resigned')
      await engine.revokeLease(lease).catch(onlyUnknown)
    },
  }
}
