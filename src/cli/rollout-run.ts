/** `stage5 rollout run`: the controller of a fleet as a process, and the recorder of its history. */
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import { resolve } from 'node:path'
import pLimit from 'p-limit'
import { isStage5Error } from '../base/errors.ts'
import { runController } from '../deploy/controller.ts'
import type { Engine } from '../engine/engine.ts'
import { ACTIVE, PREFIX, type RolloutDocument } from '../fleet/documents.ts'
import { groupsLine, type HistoryLine, printHistoryLine } from '../fleet/history.ts'
import { printProgress } from '../fleet/status-text.ts'
import { statusOf } from '../fleet/status.ts'
import { monotonicMs } from '../host/clock.ts'
import { driverGuest } from '../resolve/template.ts'
import type { Group } from '../resolve/group.ts'
import { type Words, textOption } from './command.ts'
import { generationsOf } from './generations.ts'
import { bootedWhy } from './rollout-start.ts'
import { approvalCheck } from './rollout-steer.ts'
import { driverGenerations, type Fleet, liveGroups, statusView } from './rollout-world.ts'
import { gatedDriver } from './shadow-gate.ts'
import type { World } from './world.ts'

/** Calls to drivers at a time: each may start a process. */
const CALLS = 16
const POLL_MS = 1000
const OBSERVE_MS = 10_000
const LEASE_SECONDS = 15
const KEYS_MS = 2000

/** Until interrupted; with `until`, until that rollout has ended. */
export async function runFleet(world: World, words: Words, fleet: Fleet, until?: string): Promise<void> {
  const groups = liveGroups(world, words)
  const approvers = async () => [...(await groups()).values()].flatMap((group) => group.approvers)
  let isApproved = await approvalCheck(world, await approvers())
  let readAt = monotonicMs()
  let gates = new Map<string, string>()
  let pinned = new Set<string>()
  let told = ''
  const stop = new AbortController()
  const history = textOption(words, 'history')
  const recorder =
    history === undefined
      ? undefined
      : record(
          fleet.engine,
          resolve(world.directory, history),
          groups,
          AbortSignal.any([world.signal, stop.signal]),
        )
  try {
    await Promise.race([
      runController({
        engine: fleet.engine,
        groups,
        generations: async () => {
          // Keys that come or go while a rollout waits for them count from then on.
          if (monotonicMs() - readAt > KEYS_MS) {
            isApproved = await approvalCheck(world, await approvers())
            readAt = monotonicMs()
          }
          const all = await generationsOf(world)
          gates = new Map(all.map((one) => [one.name, bootedWhy(one)]))
          pinned = new Set(all.filter((one) => one.pinned).map(({ name }) => name))
          return await driverGenerations(world)
        },
        openDriver: (group) => gatedDriver(world, group),
        guestOf: (group, name) => driverGuest(group, specOf(group, name)),
        isPinned: (name) => pinned.has(name),
        bootedGate: (name) => gates.get(name) ?? `generation ${name} is not known here`,
        isApproved: (...words) => isApproved(...words),
        limit: pLimit(CALLS),
        ttlSeconds: LEASE_SECONDS,
        pollMs: POLL_MS,
        observeMs: OBSERVE_MS,
        signal: world.signal,
        ...(until !== undefined && { isDone: ({ rollouts }) => isEnded(rollouts.get(until)?.document) }),
        onPass: ({ view }) => {
          const line = printProgress(statusOf(statusView(view.groups, view), until))
          if (line !== told) world.report({ kind: 'rollout.moved', rollout: until ?? '', text: line })
          told = line
        },
      }),
      // A history that cannot be written ends the controller: what is not recorded is not proven.
      ...(recorder ? [recorder] : []),
    ])
  } finally {
    stop.abort()
    await recorder?.catch(() => undefined)
  }
}

/** Nothing is under way any more: at an end that stays one, or stopped by a person. */
function isEnded(rollout: RolloutDocument | undefined): boolean {
  return (
    !rollout || !ACTIVE.has(rollout.state) || (rollout.state === 'paused' && rollout.pausedBy === 'operator')
  )
}

function specOf(group: Group, name: string): Group['guests'][number] {
  const found = group.guests.find((guest) => guest.name === name)
  if (!found) throw new Error(`${name} is not in ${group.name}`)
  return found
}

/** Appends every revision to a file; one that was begun goes on where it ended. */
async function record(
  engine: Engine,
  path: string,
  groups: () => Promise<ReadonlyMap<string, Group>>,
  signal: AbortSignal,
): Promise<void> {
  const file = openSync(path, 'a')
  const write = (line: HistoryLine): void => void writeSync(file, printHistoryLine(line))
  try {
    let revision = lastRevision(path)
    if (revision === undefined) {
      const snapshot = await engine.list(PREFIX)
      revision = snapshot.revision
      const state = snapshot.values.map(({ key, value, createRevision }) => ({
        key,
        value,
        created: String(createRevision),
      }))
      write({ history: 1, storeId: engine.storeId, revision: String(revision), state })
    }
    let configured = ''
    for await (const { revision: at, changes } of engine.watch(PREFIX, revision, signal)) {
      const line = printHistoryLine(groupsLine((await groups()).values()))
      if (line !== configured) writeSync(file, line)
      configured = line
      write({
        revision: String(at),
        changes: changes.map(({ key, value }) => ({ key, ...(value !== undefined && { value }) })),
      })
    }
  } catch (error) {
    if (!signal.aborted || isStage5Error(error)) throw error
  } finally {
    fsyncSync(file)
    closeSync(file)
  }
}

function lastRevision(path: string): bigint | undefined {
  const lines = readFileSync(path, 'utf8').split('\n')
  for (const line of lines.reverse()) {
    const found = /"revision":"(\d+)"/.exec(line)?.[1]
    if (found !== undefined) return BigInt(found)
  }
  return undefined
}
