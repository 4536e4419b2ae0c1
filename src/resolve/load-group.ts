/** Groups: every problem with its file and line, and every guest in one group only. */
import { decodeDocument, invalid, type Place } from '../base/shape.ts'
import { Stage5Error } from '../base/errors.ts'
import type { Group } from './group.ts'
import { decodeGroup, decodeGuests, MOST_GUESTS, type PlacedGuest, settleGuests } from './shape-group.ts'
import { readYaml } from './shape-yaml.ts'

/** Runs the source command of a group. @returns its standard output */
type RunSource = (argv: readonly string[], file: string) => Promise<Uint8Array>

interface GroupDocument {
  /** As people see it: `groups/web.yaml`. The group is called as the file. */
  readonly file: string
  readonly bytes: Uint8Array
}

/**
 * Groups in the order of their names.
 * @throws S5_PROFILE_INVALID; S5_GUEST_TWICE when two groups name one guest; what `run` throws
 */
export async function readGroups(
  documents: readonly GroupDocument[],
  run: RunSource,
): Promise<readonly Group[]> {
  const owners = new Map<string, { readonly file: string; readonly at: Place }>()
  const groups: Group[] = []
  for (const { file, bytes } of documents.toSorted((a, b) => (a.file < b.file ? -1 : 1))) {
    const { group, placed } = await readGroup(file, bytes, run)
    for (const { spec, at } of placed) {
      const other = owners.get(spec.name)
      if (other) throw twice(spec.name, other, { file, at })
      owners.set(spec.name, { file, at })
    }
    groups.push(group)
  }
  return groups
}

async function readGroup(
  file: string,
  bytes: Uint8Array,
  run: RunSource,
): Promise<{ group: Group; placed: readonly PlacedGuest[] }> {
  const name = file.replace(/^.*\//, '').replace(/\.yaml$/, '')
  if (!/^[a-z0-9][a-z0-9.-]*$/.test(name))
    throw invalid(file, [
      {
        line: 1,
        column: 1,
        message: `expected a file name of a-z 0-9 . and -, found ${JSON.stringify(name)}`,
      },
    ])
  const node = readYaml(bytes, file)
  const draft = decodeDocument(file, (to) => decodeGroup(name, node, to))
  if (!draft) throw new Error(`${file}: nothing was decoded and nothing reported`)
  const { source, sourceAt } = draft
  const listed = source.length === 0 ? draft.guests : fromSource(await run(source, file), source)
  const placed = source.length === 0 ? listed : listed.map(({ spec }) => ({ spec, at: sourceAt }))
  if (placed.length > MOST_GUESTS)
    throw invalid(file, [{ ...sourceAt, message: `expected at most ${MOST_GUESTS} guests` }])
  const guests = decodeDocument(file, (to) => settleGuests(draft, placed, to))
  return { group: { ...draft.group, guests }, placed }
}

/** A name on each line (`#` begins a comment), or one JSON list. */
function fromSource(output: Uint8Array, argv: readonly string[]): readonly PlacedGuest[] {
  const file = `output of ${argv.join(' ')}`
  const text = new TextDecoder().decode(output)
  if (/^\s*\[/.test(text)) {
    const node = readYaml(output, file)
    return decodeDocument(file, (to) => decodeGuests(node, to))
  }
  const items = text.split('\n').flatMap((raw, at) => {
    const value = raw.replace(/#.*/, '').trim()
    return value === '' ? [] : [{ kind: 'scalar', value, text: value, line: at + 1, column: 1 } as const]
  })
  return decodeDocument(file, (to) => decodeGuests({ kind: 'list', items, line: 1, column: 1 }, to))
}

function twice(
  guest: string,
  ...places: readonly { readonly file: string; readonly at: Place }[]
): Stage5Error {
  const [first, second] = places.map(({ file, at }) => `${file}:${at.line}:${at.column}`)
  return new Stage5Error(
    'S5_GUEST_TWICE',
    `${second}: the guest ${guest} is in another group too: ${first}`,
    {
      hint: 'take it out of one of them',
      data: { guest, places: [first as string, second as string] },
    },
  )
}
