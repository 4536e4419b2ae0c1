/** Reports of fleets that were really led there by the pure machine, for looking at them. */
import { KEYS } from '../../src/fleet/documents.ts'
import { reconcile } from '../../src/fleet/reconcile.ts'
import { renderReport, type ReportChanges } from '../../src/fleet/report.ts'
import { type FleetStatus, statusOf } from '../../src/fleet/status.ts'
import { act, apply, group, rollout, toyStore } from './fr-fleet.ts'
import { type Fault, generationsOf, makeTruth } from './fr-truth.ts'

export interface Led {
  readonly status: FleetStatus
  readonly html: string
}

const CHANGES: ReportChanges = {
  from: 'g1-old',
  to: 'g2-new',
  unknown: '',
  packages: [
    { name: 'libssl3', before: '3.0.15-1~deb12u1', after: '3.0.16-1~deb12u1' },
    { name: 'nginx', before: '1.22.1-9', after: '1.22.1-9+deb12u1' },
    { name: 'tzdata-legacy', before: '', after: '2025a-0+deb12u1' },
    { name: 'libpcre3', before: '2:8.39-15', after: '' },
  ],
}

/** Leads `groups` groups of `size` guests for so many passes. */
export function lead(groups: number, size: number, passes: number, faultOf: (guest: string) => Fault): Led {
  const made = Array.from({ length: groups }, (_, at) =>
    group(`group-${String(at + 1).padStart(2, '0')}`, size),
  )
  const byName = new Map(made.map((one) => [one.name, one]))
  const clock = { ms: 1 }
  const guests = Object.fromEntries(made.flatMap((one) => one.guests.map(({ name }) => [name, one.name])))
  const manifests = new Map(
    [...generationsOf('g1-old', 'g2-new')].map(([name, { manifest }]) => [name, manifest]),
  )
  const truth = makeTruth({
    guests,
    good: 'g1-old',
    manifests,
    faultOf: (guest, generation) => (generation === 'g2-new' ? faultOf(guest) : 'none'),
    now: () => clock.ms,
    bootMs: 500,
  })
  const toy = toyStore(
    () => byName,
    truth,
    () => clock.ms,
  )
  toy.put(KEYS.rollout('r1'), rollout([...byName.keys()]))
  for (let left = passes; left > 0; left--) {
    const view = toy.view()
    for (const action of apply(toy, view, reconcile(view))) act(truth, toy, action)
    clock.ms += 250
    toy.expire()
  }
  const status = statusOf(toy.view(), 'r1')
  return {
    status,
    html: renderReport({
      status,
      changes: CHANGES,
      madeAt: '2026-11-21 08:00 UTC',
      storeId: '0b6f <&> store',
    }),
  }
}
