/** `stage5 rollout plan` and `start`: who would move when, and the document that makes it so. */
import { userInfo } from 'node:os'
import { Stage5Error } from '../base/errors.ts'
import type { Json } from '../base/json.ts'
import { barrierOf, dataSchemasOf, snapshotFor } from '../fleet/data-schema.ts'
import { ACTIVE, KEYS, type RolloutDocument } from '../fleet/documents.ts'
import { documentOf, some } from '../fleet/progress.ts'
import type { Documents } from '../fleet/read.ts'
import { budgetOf, planWaves, rankOf } from '../fleet/waves.ts'
import type { Group } from '../resolve/group.ts'
import { type Result, textOption, type Words } from './command.ts'
import { findGeneration, type Generation, generationWord } from './generations.ts'
import { hiddenChanges } from './guest-shadows.ts'
import { chosenGroups, driverGenerations, type Fleet } from './rollout-world.ts'
import type { World } from './world.ts'

interface Wanted {
  readonly groups: readonly Group[]
  readonly generation: Generation
  readonly rollout: RolloutDocument
}

async function wanted(
  world: World,
  words: Words,
  fleet: Fleet,
  documents: Documents,
  names: readonly string[],
): Promise<Wanted> {
  if (names.length === 0)
    throw new Stage5Error('S5_USAGE', 'name the groups, or a line to update every group that runs it', {
      hint: `groups: ${[...fleet.groups.keys()].join(', ')}`,
    })
  const groups = chosenGroups(fleet.groups, names)
  const lines = [...new Set(groups.map(({ line }) => line))]
  const [line] = lines
  if (line === undefined || lines.length > 1)
    throw new Stage5Error('S5_USAGE', `these groups run different lines: ${lines.join(', ')}`, {
      hint: 'start a rollout for each',
    })
  const to = textOption(words, 'to')
  const generation = await findGeneration(world, generationWord(line, to))
  const number = 1 + Math.max(0, ...[...documents.rollouts.values()].map(({ document }) => document.number))
  return {
    groups,
    generation,
    rollout: {
      id: `r${number}`,
      number,
      line,
      from: mostCommon(groups, documents),
      to: generation.name,
      groups: groups.map(({ name }) => name),
      state: 'prefetch',
      resume: '',
      pausedBy: '',
      wave: 0,
      approvals: [],
      reason: '',
      createdBy: userName(),
      ...(words.options['irreversible'] === true && { irreversible: true as const }),
      epoch: '',
    },
  }
}

function mostCommon(groups: readonly Group[], documents: Documents): string {
  const goods = groups.flatMap(({ guests }) => guests.map(({ name }) => documentOf(documents, name).good))
  const counts = [...Map.groupBy(goods.filter(Boolean), (good) => good)].sort(
    (a, b) => b[1].length - a[1].length,
  )
  return counts[0]?.[0] ?? ''
}

export function userName(): string {
  try {
    return userInfo().username
  } catch {
    return 'unknown'
  }
}

export async function planRollout(
  world: World,
  words: Words,
  fleet: Fleet,
  names: readonly string[],
): Promise<Result> {
  const { documents } = await fleet.read()
  const { groups, rollout, generation } = await wanted(world, words, fleet, documents, names)
  const waves = planWaves(rollout.id, groups)
  const already = groups.flatMap((group) =>
    group.guests.filter(({ name }) => documentOf(documents, name).good === rollout.to),
  )
  const steps = waves.map(({ name, upTo }, at) => {
    const added = groups.flatMap((group) => {
      const before = at === 0 ? 0 : (waves[at - 1]?.upTo.get(group.name) ?? 0)
      const guests = rankOf(rollout.id, group).slice(before, upTo.get(group.name) ?? 0)
      return guests.length > 0 ? [{ group: group.name, guests }] : []
    })
    return { name, guests: added.reduce((sum, { guests }) => sum + guests.length, 0), groups: added }
  })
  const away = groups.map((group) => ({
    group: group.name,
    guests: group.guests.length,
    budget: budgetOf(group),
  }))
  const hidden = await hiddenChanges(world, groups, generation)
  const schemas = dataSchemasOf(await driverGenerations(world))
  const copied = copies(schemas, groups, rollout, documents)
  const found = [
    ...whyNot(groups, generation),
    ...unfitGuests(schemas, groups, rollout, documents),
    ...hidden.problems.map((text): Problem => ({ text })),
  ]
  const problems = found.map(({ text }) => text)
  const lines = [
    `${rollout.from === '' ? '' : `${rollout.from} → `}${rollout.line}/${rollout.to} (${generation.version})`,
    '',
    ...away.map(({ group, guests, budget }) => `${group}: ${guests} guests, at most ${budget} away at once`),
    '',
    ...steps
      .filter(({ guests }) => guests > 0)
      .map(
        ({ name, guests, groups: of }) =>
          `${name.padEnd(10)}${String(guests).padStart(6)}  ${of.map((one) => `${one.group}: ${some(one.guests)}`).join('; ')}`,
      ),
    ...(already.length > 0 ? ['', `${already.length} run it already`] : []),
    ...(hidden.warnings.length > 0 ? ['', ...hidden.warnings.map((text) => `hidden: ${text}`)] : []),
    ...(hidden.resets.length > 0 ? ['', ...hidden.resets.map((text) => `resets: ${text}`)] : []),
    ...(copied.length > 0 ? ['', ...copied.map((text) => `copies data: ${text}`)] : []),
    ...found.map(({ text, hint }) => `\ncannot begin: ${text}${hint === undefined ? '' : `\n  ${hint}`}`),
  ]
  return {
    data: {
      rollout: rollout as unknown as Json,
      waves: steps,
      groups: away,
      already: already.map(({ name }) => name),
      problems,
      ...(hidden.warnings.length > 0 && { hidden: hidden.warnings }),
      ...(hidden.resets.length > 0 && { resets: hidden.resets }),
      ...(copied.length > 0 && { copies: copied }),
    },
    text: `${lines.join('\n')}\n`,
    exitCode: problems.length > 0 ? 1 : 0,
  }
}

/** Why a rollout cannot begin. */
interface Problem {
  readonly text: string
  /** Absent: the plan says more. */
  readonly hint?: string
}

function whyNot(groups: readonly Group[], generation: Generation): Problem[] {
  const problems: Problem[] = []
  const { line, seq } = generation
  const others = groups.filter(({ driver }) => driver.kind !== 'pull').map(({ name }) => name)
  for (const { name, driver } of groups)
    if (driver.kind === 'pull')
      problems.push({
        text: `the guests of ${name} update themselves (driver: pull): a rollout cannot move them, a channel does`,
        hint:
          `${others.length > 0 ? `stage5 rollout start ${others.join(' ')}; ` : ''}stage5 publish ${line}/g${seq} --to PLACE, ` +
          `then stage5 channel ${line}/g${seq} --to PLACE --group ${name}`,
      })
  const empty = groups.filter(({ guests }) => guests.length === 0)
  if (empty.length === groups.length) problems.push({ text: 'no group has a guest' })
  for (const group of groups)
    if (group.guests.length > 0 && budgetOf(group) === 0)
      problems.push({
        text: `${group.name}: minAvailable leaves none of its ${group.guests.length} guests that may be away`,
      })
  const strict = groups.filter(({ require }) => require === 'booted').map(({ name }) => name)
  const gate = bootedWhy(generation)
  if (strict.length > 0 && gate !== '') problems.push({ text: `${strict.join(', ')}: ${gate}` })
  return problems
}

/** Guests whose data the generation, or the one that they would go back to, cannot read. */
function unfitGuests(
  schemas: ReturnType<typeof dataSchemasOf>,
  groups: readonly Group[],
  rollout: RolloutDocument,
  documents: Documents,
): Problem[] {
  if (schemas.size === 0) return []
  return groups.flatMap((group): Problem[] => {
    const unfit = group.guests.flatMap(({ name }) => {
      const problem = barrierOf(documentOf(documents, name), rollout, group, schemas)
      return problem ? [{ name, ...problem }] : []
    })
    const [first] = unfit
    if (!first) return []
    const more = unfit.length > 1 ? ` (and ${unfit.length - 1} more)` : ''
    const hint = first.isWayBack
      ? 'go by a generation that reads both; or keep copies of the data, and add --irreversible'
      : `stage5 generations ${group.line}, then --to one that reads it`
    return [{ text: `${group.name}: ${first.name}${more}: ${first.text}`, hint }]
  })
}

/** Guests whose data is copied before they are switched, as lines. */
function copies(
  schemas: ReturnType<typeof dataSchemasOf>,
  groups: readonly Group[],
  rollout: RolloutDocument,
  documents: Documents,
): string[] {
  return groups.flatMap((group) => {
    const names = group.guests
      .map(({ name }) => name)
      .filter((name) => snapshotFor(documentOf(documents, name), rollout, group, schemas))
    return names.length > 0 ? [`${group.name}: ${some(names)}`] : []
  })
}

/** '' when a signed boot record of it is good. */
export function bootedWhy({ line, name, booted }: Pick<Generation, 'line' | 'name' | 'booted'>): string {
  if (booted?.ok) return ''
  return booted
    ? `the boot record of ${line}/${name} is not good: ${booted.record}`
    : `${line}/${name} has no signed boot record: stage5 test ${line} --sign KEY`
}

/** @returns the rollout that begins; what was at work in its groups is superseded in the same transaction */
export async function startRollout(
  world: World,
  words: Words,
  fleet: Fleet,
  names: readonly string[],
): Promise<RolloutDocument> {
  for (;;) {
    const { documents } = await fleet.read()
    const { groups, rollout, generation } = await wanted(world, words, fleet, documents, names)
    const hidden = await hiddenChanges(world, groups, generation)
    const [problem] = [
      ...whyNot(groups, generation),
      ...unfitGuests(dataSchemasOf(await driverGenerations(world)), groups, rollout, documents),
      ...hidden.problems.map((text): Problem => ({ text })),
    ]
    for (const message of hidden.warnings) world.report({ kind: 'warning', code: 'rollout.hidden', message })
    if (problem !== undefined)
      throw new Stage5Error('S5_ROLLOUT_REFUSED', problem.text, {
        hint: problem.hint ?? `stage5 rollout plan ${names.join(' ')}`,
      })
    const old = [...documents.rollouts.values()].filter(
      ({ document }) =>
        ACTIVE.has(document.state) && document.groups.some((name) => rollout.groups.includes(name)),
    )
    const key = KEYS.rollout(rollout.id)
    const { ok } = await fleet.engine.transact(
      [
        { key, target: 'create', equal: 0n },
        ...old.map(({ document, revision }) => ({
          key: KEYS.rollout(document.id),
          target: 'mod' as const,
          equal: revision,
        })),
      ],
      [
        { kind: 'put', key, value: JSON.stringify(rollout) },
        ...old.map(({ document }) => ({
          kind: 'put' as const,
          key: KEYS.rollout(document.id),
          value: JSON.stringify({
            ...document,
            state: 'superseded',
            resume: '',
            pausedBy: '',
            reason: `by ${rollout.id}`,
            epoch: '',
          } satisfies RolloutDocument),
        })),
      ],
    )
    if (ok) return rollout
    world.signal.throwIfAborted()
  }
}
