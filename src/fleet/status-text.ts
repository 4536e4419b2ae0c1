/** The status of a fleet as text for a terminal. */
import { columns } from '../base/columns.ts'
import { some } from './progress.ts'
import type { FleetStatus, GroupStatus, GuestStatus, RolloutStatus, WaveStatus } from './status.ts'

const MOST_GUESTS = 12

/** One line: what a rollout does now. */
export function printProgress({ shown }: FleetStatus): string {
  if (!shown) return 'no rollout'
  const { rollout, waves } = shown
  const all = (count: (wave: WaveStatus) => number): number =>
    waves.reduce((sum, wave) => sum + count(wave), 0)
  const failed = all((wave) => wave.failed)
  const parts = [
    `${all((wave) => wave.done)} of ${all((wave) => wave.guests)} run ${rollout.to}`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(all((wave) => wave.moving) > 0 ? [`${all((wave) => wave.moving)} away`] : []),
    ...(rollout.reason === '' ? [] : [rollout.reason]),
  ]
  return `${rollout.id} ${headline(shown)}: ${parts.join(', ')}`
}

function headline({ rollout, waves }: RolloutStatus): string {
  const wave = waves[rollout.wave]?.name ?? ''
  if (rollout.state === 'wave') return wave
  if (rollout.state === 'soak') return `${wave} soaks`
  return rollout.state
}

export function printStatus(status: FleetStatus): string {
  const { shown, groups } = status
  const parts: string[] = []
  if (shown) {
    const { rollout, waves } = shown
    parts.push(
      `${printProgress(status)}\n` +
        `${rollout.from === '' ? '' : `${rollout.from} → `}${rollout.to}, ${rollout.line}, started by ${rollout.createdBy}\n`,
    )
    parts.push(
      columns(
        [
          ['wave', 'guests', 'done', 'failed', 'away', ''],
          ...waves
            .filter(({ guests }) => guests > 0)
            .map(({ name, guests, done, failed, moving, state }) => [
              name,
              String(guests),
              String(done),
              failed > 0 ? String(failed) : '',
              moving > 0 ? String(moving) : '',
              state,
            ]),
        ],
        'end',
      ),
    )
  } else
    parts.push(
      groups.length === 0
        ? 'no rollout yet, and no groups: write groups/NAME.yaml\n'
        : `no rollout yet: stage5 rollout plan ${groups[0]?.name} shows who would move when, start begins\n`,
    )
  for (const group of groups) parts.push(printGroup(group))
  return parts.join('\n')
}

function printGroup({ name, line, budget, held, versions, guests }: GroupStatus): string {
  const shares = versions.map(
    ({ generation, guests: count }) =>
      `${generation === '' ? `${count} without a generation` : `${count} on ${generation}`}`,
  )
  const head = `${name} (${line}): ${shares.join(', ') || 'no guests'}; ${held.length} of ${budget} away\n`
  const notable = guests.filter(isNotable)
  const waiting = Map.groupBy(
    guests.filter((guest) => !isNotable(guest) && guest.standing === 'open'),
    ({ why }) => why,
  )
  const rows = notable
    .slice(0, MOST_GUESTS)
    .map((guest) => [`  ${guest.name}`, guest.state, guest.good || '-', guest.why])
  const more = notable.length > MOST_GUESTS ? [`  and ${notable.length - MOST_GUESTS} more\n`] : []
  const waits = [...waiting].map(
    ([why, of]) => `  ${some(of.map((guest) => guest.name))}: ${why || 'not yet offered'}\n`,
  )
  return head + columns(rows, 'end') + more.join('') + waits.join('')
}

/** On the way, or failed: what somebody looks for. */
function isNotable({ state, standing }: GuestStatus): boolean {
  return state !== 'steady' || standing === 'failed' || standing === 'skipped'
}
