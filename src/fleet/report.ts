/** A fleet as one static page: no script, nothing from elsewhere, readable when a thousand guests are in it. */
import type { RolloutDocument } from './documents.ts'
import { STYLE } from './report-style.ts'
import type { FleetStatus, GroupStatus, GuestStatus, RolloutStatus, WaveStatus } from './status.ts'

/** What differs between where guests come from and where they go. */
export interface ReportChanges {
  readonly from: string
  readonly to: string
  readonly packages: readonly {
    readonly name: string
    /** '' is absent. */
    readonly before: string
    readonly after: string
  }[]
  /** Why there is no list; '' when there is one. */
  readonly unknown: string
}

interface ReportInput {
  readonly status: FleetStatus
  readonly changes?: ReportChanges
  /** As it shall be shown. */
  readonly madeAt: string
  readonly storeId: string
}

type Tone = 'done' | 'move' | 'fail' | 'wait'
const TONES: readonly { readonly tone: Tone; readonly label: string }[] = [
  { tone: 'done', label: 'updated' },
  { tone: 'move', label: 'on the way' },
  { tone: 'fail', label: 'failed' },
  { tone: 'wait', label: 'waiting' },
]

export function renderReport({ status, changes, madeAt, storeId }: ReportInput): string {
  const { shown, groups, rollouts } = status
  const title = shown ? `Rollout ${shown.rollout.id}: ${shown.rollout.to}` : 'Fleet'
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${text(title)}</title>
<style>${STYLE}</style>
</head>
<body><main>
${shown ? head(shown, groups) : '<h1>Fleet</h1><p class="soft">No rollout yet.</p>'}
${
  shown
    ? `<h2>Waves</h2>\n<div class="waves">${shown.waves
        .filter(({ guests }) => guests > 0)
        .map((wave) => waveCard(wave))
        .join('')}</div>`
    : ''
}
${changes ? changed(changes) : ''}
<h2>Groups</h2>
${groups.map((group) => groupCard(group, shown)).join('\n')}
${rollouts.length > 1 ? earlier(rollouts) : ''}
<footer class="soft">Made ${text(madeAt)} by stage5 from the store <code>${text(storeId)}</code>.</footer>
</main></body>
</html>
`
}

function head({ rollout, waves }: RolloutStatus, groups: readonly GroupStatus[]): string {
  const guests = groups.flatMap((group) => group.guests.filter(({ wave }) => wave >= 0))
  const { label, tone } = stateOf(rollout)
  const wave = waves[rollout.wave]
  const isStopped = ['rolling-back', 'rolled-back', 'aborted', 'paused', 'superseded'].includes(rollout.state)
  const stop =
    isStopped && rollout.reason !== ''
      ? `<div class="card stop${rollout.state === 'paused' ? ' hold' : ''}"><b>${
          rollout.state === 'paused' ? 'Paused' : 'Stopped'
        } in ${text(wave?.name ?? '')}</b>${text(rollout.reason)}</div>`
      : rollout.reason === '' || rollout.state === 'completed'
        ? ''
        : `<p class="soft">${text(rollout.reason)}</p>`
  return `<div class="top"><div>
<h1>${text(rollout.line)} to <span class="mono">${text(rollout.to)}</span></h1>
<p class="soft">Rollout ${text(rollout.id)}${rollout.from === '' ? '' : ` from <span class="mono">${text(rollout.from)}</span>`}, ${groups.length} ${plural(groups.length, 'group')}, ${guests.length} ${plural(guests.length, 'guest')}, started by ${text(rollout.createdBy)}</p>
</div><span class="pill big ${tone}">${text(label)}</span></div>
<div class="card">${bar(guests)}${legend(guests, isEnded(rollout))}</div>
${stop}`
}

function stateOf({ state }: RolloutDocument): { readonly label: string; readonly tone: string } {
  switch (state) {
    case 'completed':
      return { label: 'completed', tone: 'done' }
    case 'rolled-back':
      return { label: 'rolled back', tone: 'fail' }
    case 'rolling-back':
      return { label: 'rolling back', tone: 'fail' }
    case 'aborted':
    case 'superseded':
      return { label: state, tone: 'fail' }
    case 'paused':
      return { label: 'paused', tone: 'hold' }
    case 'draft':
    case 'prefetch':
    case 'wave':
    case 'soak':
      return { label: state === 'soak' ? 'soaking' : state === 'wave' ? 'in progress' : state, tone: 'move' }
  }
}

function waveCard({ name, guests, done, failed, moving, state }: WaveStatus): string {
  const waiting = guests - done - failed - moving
  const parts = [
    part('done', done),
    part('move', moving),
    part('fail', failed),
    part('wait', Math.max(0, waiting)),
  ].join('')
  const says = [
    ...(done > 0 ? [`${done} updated`] : []),
    ...(moving > 0 ? [`${moving} on the way`] : []),
    ...(failed > 0 ? [`${failed} failed`] : []),
  ]
  const tone = state === 'stopped' ? 'bad' : state === 'not reached' ? '' : state
  const idle = { over: 'nothing to do', runs: 'begins', soaks: 'soaks', waits: 'waits' }
  const nothing = state === 'stopped' || state === 'not reached' ? state : idle[state]
  return `<div class="card wave ${tone}"><div class="soft">${text(name)}</div><div class="n">${guests}</div><div class="bar">${parts}</div><div class="soft">${says.join(', ') || nothing}</div></div>`
}

function changed({ from, to, packages, unknown }: ReportChanges): string {
  const title = `<h2>What changes: <span class="mono">${text(from)}</span> → <span class="mono">${text(to)}</span></h2>`
  if (unknown !== '') return `${title}\n<p class="soft">${text(unknown)}</p>`
  if (packages.length === 0) return `${title}\n<p class="soft">No package differs.</p>`
  const rows = packages.map(
    ({ name, before, after }) =>
      `<tr><td class="mono">${text(name)}</td><td class="mono">${text(before || '—')}</td><td class="mono">${text(after || 'removed')}</td></tr>`,
  )
  const table = `<table class="changes"><tr><th>package</th><th>before</th><th>after</th></tr>${rows.join('')}</table>`
  return packages.length <= 12
    ? `${title}\n<div class="card">${table}</div>`
    : `${title}\n<details class="card group"><summary><b>${packages.length} packages</b></summary><div class="in">${table}</div></details>`
}

function groupCard(group: GroupStatus, shown: RolloutStatus | undefined): string {
  const { name, line, guests, versions, budget, held } = group
  const failed = guests.some((guest) => toneOf(guest) === 'fail')
  const isMoving = guests.some(({ state }) => state !== 'steady')
  const shares = versions
    .map(({ generation, guests: count }) =>
      generation === ''
        ? `${count} not yet seen`
        : `${count} on <span class="mono">${text(shortName(generation))}</span>`,
    )
    .join(', ')
  const isOpen = (failed || isMoving) && guests.length <= 24
  const rows = [...guests].sort((a, b) => weight(a) - weight(b)).map((guest) => guestRow(guest, shown))
  return `<details class="card group"${isOpen ? ' open' : ''}><summary>
<span><b>${text(name)}</b> <span class="soft">${text(line)}</span></span>${bar(guests)}
<span class="soft right">${shares || 'no guests'}</span></summary>
<div class="in"><p class="soft" style="padding:10px 0">${guests.length} ${plural(guests.length, 'guest')}, ${held.length} of ${budget} away</p>
<table><tr><th>guest</th><th>state</th><th class="opt">runs</th><th class="opt">wave</th><th>why</th></tr>
${rows.join('\n')}
</table></div></details>`
}

function guestRow(guest: GuestStatus, shown: RolloutStatus | undefined): string {
  const { name, state, good, wave, why } = guest
  const tone = toneOf(guest)
  const idle = shown && !isEnded(shown.rollout) ? 'waiting' : 'untouched'
  const label =
    tone === 'fail' && state === 'steady'
      ? 'failed'
      : tone === 'done'
        ? 'updated'
        : state === 'steady'
          ? idle
          : state
  const waveName = wave < 0 ? '' : (shown?.waves[wave]?.name ?? '')
  return `<tr><td class="mono">${text(name)}</td><td><span class="dot ${tone}"></span>${text(label)}</td><td class="mono opt">${text(shortName(good))}</td><td class="opt">${text(waveName)}</td><td>${text(why)}</td></tr>`
}

/** Failed first, then those on the way: what somebody opens a group for. */
function weight(guest: GuestStatus): number {
  return ['fail', 'move', 'wait', 'done'].indexOf(toneOf(guest))
}

function toneOf({ standing, state }: GuestStatus): Tone {
  if (standing === 'failed' || standing === 'skipped' || state === 'lost' || state === 'degraded')
    return 'fail'
  if (standing === 'moving' || state !== 'steady') return 'move'
  return standing === 'done' ? 'done' : 'wait'
}

function bar(guests: readonly GuestStatus[]): string {
  const count = (tone: Tone): number => guests.filter((guest) => toneOf(guest) === tone).length
  return `<div class="bar">${TONES.map(({ tone }) => part(tone, count(tone))).join('')}</div>`
}

function part(tone: Tone, count: number): string {
  return count > 0 ? `<i class="${tone}" style="flex:${count}" title="${count}"></i>` : ''
}

/** Nobody is going to be updated any more. */
function isEnded({ state }: RolloutDocument): boolean {
  return ['completed', 'rolling-back', 'rolled-back', 'aborted', 'superseded'].includes(state)
}

function legend(guests: readonly GuestStatus[], ended: boolean): string {
  const items = TONES.flatMap(({ tone, label }) => {
    const count = guests.filter((guest) => toneOf(guest) === tone).length
    return count > 0
      ? [
          `<span><span class="dot ${tone}"></span><b>${count}</b> ${ended && tone === 'wait' ? 'untouched' : label}</span>`,
        ]
      : []
  })
  return `<div class="legend">${items.join('')}</div>`
}

function earlier(rollouts: readonly RolloutDocument[]): string {
  const rows = rollouts.slice(0, 20).map((rollout) => {
    const { label, tone } = stateOf(rollout)
    return `<tr><td>${text(rollout.id)}</td><td><span class="pill ${tone}">${text(label)}</span></td><td>${text(rollout.line)}</td><td class="mono">${text(shortName(rollout.to))}</td><td>${text(rollout.reason)}</td></tr>`
  })
  return `<h2>Rollouts</h2>\n<div class="card"><table><tr><th>id</th><th>state</th><th>line</th><th>to</th><th>reason</th></tr>${rows.join('')}</table></div>`
}

/** `g7-0123456789ab` → `g7`: the number says it where there is one line. */
function shortName(generation: string): string {
  return generation === '' ? '—' : generation.replace(/-[0-9a-f]{12}$/, '')
}

function plural(count: number, word: string): string {
  return count === 1 ? word : `${word}s`
}

function text(value: string): string {
  return value.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`)
}
