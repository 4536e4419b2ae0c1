/**
 * What an update would change for the guests of a group: each generation that they run, compared with the one to come.
 *
 * What a guest runs is the `good` pointer of its folder; for guests that are kept elsewhere, what the fleet's engine has
 * of them; else the digest that the guest itself shows or reported.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Json } from '../base/json.ts'
import { PREFIX } from '../fleet/documents.ts'
import { documentOf, some } from '../fleet/progress.ts'
import { documentReader, type Documents } from '../fleet/read.ts'
import { type Result, textOption, type Words } from './command.ts'
import { compare, type Comparison } from './compare.ts'
import { findGeneration, type Generation, generationsOf, generationWord, isGone } from './generations.ts'
import { findGroup, type FoundGuest, guestsOf, observe } from './guests.ts'
import { comparisonJson, comparisonMarkdown, comparisonText } from './render/compare.ts'
import { groupsOf, USUAL_ENGINE } from './rollout-world.ts'
import { generationSide } from './sides.ts'
import { openPinnedEngine } from './store-pin.ts'
import type { World } from './world.ts'

interface Run {
  /** As it is named: of a generation that is forgotten here nothing else is known. */
  readonly name: string
  readonly guests: readonly string[]
  /** Absent when it, or its output folder, is gone. */
  readonly found?: Comparison
}

/** @throws S5_GROUP_UNKNOWN, S5_GENERATION_UNKNOWN when the line has no generation, S5_OUTPUT_MISSING */
export async function diffGroup(world: World, words: Words, name: string): Promise<Result> {
  const group = findGroup([...(await groupsOf(world, words)).values()], name)
  const after = await findGeneration(world, generationWord(group.line, textOption(words, 'to')))
  const known = await generationsOf(world)
  const running = await goodOf(world, words, guestsOf(world, [group]), known)
  const runs: Run[] = []
  const byName = Map.groupBy(group.guests, (guest) => running.get(guest.name) ?? '')
  const target = await generationSide(after)
  for (const [good, members] of byName) {
    if (good === '' || good === after.name) continue
    const guests = members.map((guest) => guest.name)
    const before = known.find((one) => one.name === good)
    if (!before || (await isGone(before))) runs.push({ name: good, guests })
    else {
      const found = await compare(await generationSide(before), target, await world.store())
      runs.push({ name: good, guests, found })
    }
  }
  const namesOf = (good: string): string[] => (byName.get(good) ?? []).map((guest) => guest.name)
  const told = { group: name, after, runs, already: namesOf(after.name), unknown: namesOf('') }
  return {
    data: asJson(told),
    text: words.options['markdown'] === true ? asMarkdown(told) : asText(told),
  }
}

/** Names of generations by guest; '' is unknown, or none yet. */
async function goodOf(
  world: World,
  words: Words,
  guests: readonly FoundGuest[],
  known: readonly Generation[],
): Promise<ReadonlyMap<string, string>> {
  const here = guests.map(({ folder }) => folder.pointer('good'))
  const hasEngine =
    words.options['engine'] !== undefined ||
    existsSync(join(world.directory, USUAL_ENGINE.slice('sqlite:'.length)))
  const documents = hasEngine && here.includes('') ? await documentsOf(world, words) : undefined
  return new Map(
    await Promise.all(
      guests.map(async (found, at): Promise<[string, string]> => {
        const { name } = found.guest
        const kept = here[at] || (documents ? documentOf(documents, name).good : '')
        if (kept !== '') return [name, kept]
        const { digest } = await world.limit(() => observe(world, found))
        return [name, known.find(({ manifest }) => manifest === digest)?.name ?? '']
      }),
    ),
  )
}

async function documentsOf(world: World, words: Words): Promise<Documents> {
  await using engine = await openPinnedEngine(world, textOption(words, 'engine') ?? USUAL_ENGINE)
  return documentReader()((await engine.list(PREFIX)).values)
}

interface Told {
  readonly group: string
  readonly after: Generation
  readonly runs: readonly Run[]
  readonly already: readonly string[]
  readonly unknown: readonly string[]
}

function asJson({ group, after, runs, already, unknown }: Told): Json {
  return {
    group,
    after: `${after.line}/${after.name}`,
    runs: runs.map(({ name, guests, found }) => ({
      generation: name,
      guests: [...guests],
      comparison: found ? comparisonJson(found) : null,
    })),
    already: [...already],
    unknown: [...unknown],
  }
}

const SHOWN = 10

function who(guests: readonly string[]): string {
  return `${guests.length} ${guests.length === 1 ? 'guest' : 'guests'}: ${some(guests, SHOWN)}`
}

const GONE = 'its output folder is gone, so nothing can be compared'

/** The guests that no comparison is about. */
function others({ after, already, unknown }: Told): string[] {
  return [
    ...(already.length > 0 ? [`already on ${after.name}, ${who(already)}`] : []),
    ...(unknown.length > 0 ? [`not known to run anything, ${who(unknown)}`] : []),
  ]
}

function asText(told: Told): string {
  const { group, after, runs } = told
  const parts = runs.map(({ name, guests, found }) => {
    const head = `${name} -> ${after.name}, ${who(guests)}`
    return `\n${head}\n${found ? comparisonText(found) : `${GONE}\n`}`
  })
  const rest = others(told).map((line) => `${line}\n`)
  return `${group}: ${after.line}/${after.name} (${after.version})\n${rest.join('')}${parts.join('')}`
}

function asMarkdown(told: Told): string {
  const { group, after, runs } = told
  const parts = runs.map(({ name, guests, found }) =>
    found
      ? `\n${comparisonMarkdown(found).replace('\n', `\n\n${who(guests)}.\n`)}`
      : `\n### ${name}\n\n${who(guests)}; ${GONE}.\n`,
  )
  const rest = others(told).map((line) => `\n${line}.\n`)
  return `## Group ${group}: ${after.line}/${after.name}\n${rest.join('')}${parts.join('')}`
}
