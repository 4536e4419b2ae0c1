/** A fleet under a controller that is called by hand, one pass after the other. */
import assert from 'node:assert/strict'
import { type Findings, historyChecker } from '../../src/fleet/checker.ts'
import type { DataSchemas } from '../../src/fleet/data-schema.ts'
import { KEYS } from '../../src/fleet/documents.ts'
import { reconcile } from '../../src/fleet/reconcile.ts'
import type { Action, Decision, View } from '../../src/fleet/view.ts'
import type { Group } from '../../src/resolve/group.ts'
import { act, apply, rollout, type Toy, toyStore } from './fr-fleet.ts'
import { type Fault, generationsOf, makeTruth, type Truth } from './fr-truth.ts'

export const MANIFESTS: ReadonlyMap<string, string> = new Map(
  [...generationsOf('g1-old', 'g2-new', 'g3-newer')].map(([name, { manifest }]) => [name, manifest]),
)

export interface SceneToy extends Toy {
  applied(view: View, decision: Decision): readonly Action[]
  done(truth: Truth, action: Action): void
}

export interface Scene {
  readonly toy: SceneToy
  readonly truth: Truth
  readonly groups: Map<string, Group>
  /** One pass of a controller that lives, and a quarter of a second. */
  readonly pass: (extra?: Partial<View>) => void
  /** Passes until the rollout is in this state. */
  readonly until: (state: string, extra?: Partial<View>, most?: number, id?: string) => void
  readonly clock: { ms: number }
}

export interface SceneOptions {
  /** What generations say of guests' data, and do with it. */
  readonly dataSchemas?: DataSchemas
  /** Default: each action is done once. */
  readonly obey?: typeof act
}

export function scene(
  groups: readonly Group[],
  faultOf: (guest: string, generation: string) => Fault,
  { dataSchemas, obey = act }: SceneOptions = {},
): Scene {
  const byName = new Map(groups.map((one) => [one.name, one]))
  const clock = { ms: 1 }
  const guests = Object.fromEntries(groups.flatMap((one) => one.guests.map(({ name }) => [name, one.name])))
  const truth = makeTruth({
    guests,
    good: 'g1-old',
    manifests: MANIFESTS,
    faultOf,
    now: () => clock.ms,
    bootMs: 500,
    ...(dataSchemas && { dataSchemas }),
  })
  // A new map each time: what was derived from the configuration must not outlive it.
  const store = toyStore(
    () => new Map(byName),
    truth,
    () => clock.ms,
  )
  const toy: SceneToy = {
    ...store,
    applied: (view, decision) => apply(store, view, decision),
    done: (of, action) => act(of, store, action),
  }
  toy.put(KEYS.rollout('r1'), rollout([...byName.keys()]))
  const pass = (extra?: Partial<View>): void => {
    const view = toy.view({ ...(dataSchemas && { dataSchemas }), ...extra })
    for (const action of apply(toy, view, reconcile(view))) obey(truth, toy, action)
    clock.ms += 250
    toy.expire()
  }
  return {
    toy,
    truth,
    groups: byName,
    clock,
    pass,
    until: (state, extra, most = 2000, id = 'r1') => {
      for (let left = most; toy.rolloutNow(id).state !== state; left--) {
        if (left === 0) assert.fail(`expected ${state}, still ${JSON.stringify(toy.rolloutNow(id))}`)
        pass(extra)
      }
    },
  }
}

export function findings(toy: Toy, isOver = true): Findings {
  const checker = historyChecker()
  for (const line of toy.history) checker.line(JSON.stringify(line))
  return checker.end(isOver)
}
