/** The keys of `groups/*.yaml`: one table that decodes them and describes them as JSON Schema. */
import {
  boolean,
  bytes,
  type Decoder,
  duration,
  integer,
  list,
  type MapSource,
  object,
  oneOf,
  optional,
  type Place,
  record,
  refined,
  required,
  type Schema,
  type Shape,
  shortOrLong,
  type Source,
  string,
} from '../base/shape.ts'
import { FORWARD_EXPECTED, parseForward } from './forward.ts'
import type { Group, GuestSpec, HealthCheck, Quantity, Window } from './group.ts'
import { driver } from './shape-driver.ts'
import { absolutePath, formatNumber, line, profileName, text, word } from './shape-words.ts'
import { expandNames, fillTemplate, guestValues } from './template.ts'

/** Guests that one group may have; a guess, ten times what a fleet is tested with. */
export const MOST_GUESTS = 1_000_000

/** A guest with the place that names it. */
export interface PlacedGuest {
  readonly spec: GuestSpec
  readonly at: Place
}

interface GroupDraft {
  readonly group: Omit<Group, 'guests'>
  readonly guests: readonly PlacedGuest[]
  /** Command whose output lists further guests, and where it stands. */
  readonly source: readonly string[]
  readonly sourceAt: Place
  readonly values: Readonly<Record<string, string>>
  readonly node: MapSource
}

const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/

function quantity(least: number): Shape<Quantity> {
  const expected = `a number such as ${Math.max(1, least)}, or a share such as 10%`
  const pattern = /^(?:([0-9]{1,7})|([0-9]{1,3})%)$/
  return {
    expected,
    schema: { type: ['integer', 'string'], pattern: pattern.source },
    decode(node, to) {
      const found = node.kind === 'scalar' ? pattern.exec(node.text) : null
      const count = Number(found?.[1] ?? Number.NaN)
      const percent = Number(found?.[2] ?? Number.NaN)
      if (count >= least) return { count }
      if (percent >= Math.min(1, least) && percent <= 100) return { percent }
      return to.report(node, `expected ${expected}, found ${shown(node)}`)
    },
  }
}

function shown(node: Source): string {
  return node.kind === 'scalar' ? JSON.stringify(node.text) : `a ${node.kind}`
}

const values = record(word('the name of a value'), string({ plain: true, empty: true }))

function guests(): Shape<readonly PlacedGuest[]> {
  const name = line('the name of a guest, or a pattern such as web-{01..12}')
  const long = object('a guest such as {name: web-1, canary: true}', {
    name: required(name, 'Name, or a pattern such as web-{01..12}.'),
    canary: optional(boolean(), false, 'Goes into the first wave.'),
    values: optional(values, new Map<string, string>(), 'Values for templates; never secrets.'),
  })
  const named = refined(name, (text) => ({ name: text, canary: false, values: new Map<string, string>() }))
  return refined(shortOrLong(named, long), ({ name: pattern, canary, values: own }, node, to) => {
    const names = expandNames(pattern, MOST_GUESTS)
    if (!names) return to.report(node, `${pattern} stands for more than ${MOST_GUESTS} guests`)
    const bad = names.find((each) => !NAME.test(each) || each.length > 200)
    if (bad !== undefined || names.length === 0)
      return to.report(
        node,
        `expected a name of letters, digits, . and -, found ${JSON.stringify(bad ?? pattern)}`,
      )
    const at = { line: node.line, column: node.column }
    return names.map((each) => ({
      spec: { name: each, canary, values: Object.fromEntries(own) },
      at,
    }))
  })
}

const NO_ONE: readonly string[] = []

interface Everyone {
  readonly listed: readonly PlacedGuest[]
  readonly source: readonly string[]
}

/** One guest, a list of guests, or `{source: [command]}`. */
function everyone(): Shape<Everyone> {
  const several = refined(list(guests()), (found): Everyone => ({ listed: found.flat(), source: NO_ONE }))
  const source = refined(
    object('guests such as {source: [./guests.sh]}', {
      source: required(
        list(line('a program or one of its arguments')),
        'Program whose output has a guest on each line, or JSON: a list of names and of maps as here.',
      ),
    }),
    ({ source: argv }, node, to): Everyone | undefined =>
      argv.length === 0
        ? to.report(node, 'expected a program, found an empty list')
        : { listed: [], source: argv },
  )
  const one = refined(guests(), (found): Everyone => ({ listed: found, source: NO_ONE }))
  return shortOrLong(
    one,
    shortOrLong(several, source, (node) => node.kind === 'list'),
  )
}

function health(): Shape<HealthCheck> {
  const check = object('a check such as {http: "http://127.0.0.1:{http}/"} or {tcp: "127.0.0.1:22"}', {
    http: optional(line('an address'), undefined, 'Address that must answer; a template.'),
    status: optional(integer(100, 599), 200, 'HTTP: the status that is expected.'),
    contains: optional(text('text'), '', 'HTTP: what the answer must contain.'),
    tcp: optional(
      string({ pattern: /^[^\s:]+:[^\s:]+$/, expected: 'HOST:PORT' }),
      undefined,
      'HOST:PORT that must accept a connection; a template.',
    ),
    command: optional(
      list(line('a program or one of its arguments')),
      undefined,
      'Program that must end with 0; templates.',
    ),
    console: optional(line('text'), undefined, 'Text that the console must have shown since the start.'),
    systemd: optional(
      shortOrLong(
        refined(line('a state'), (state) => [state]),
        list(line('a state')),
      ),
      undefined,
      'States that `systemctl is-system-running` may say, such as running.',
    ),
    timeout: optional(duration(), 5, 'How long one try may take.'),
  })
  return refined(check, (value, node, to): HealthCheck | undefined => {
    const kinds = (['http', 'tcp', 'command', 'console', 'systemd'] as const).filter(
      (kind) => value[kind] !== undefined,
    )
    if (kinds.length !== 1)
      return to.report(
        node,
        `expected exactly one of http, tcp, command, console or systemd, found ${kinds.join(' and ') || 'none'}`,
      )
    const timeoutMs = value.timeout * 1000
    if (value.http !== undefined)
      return { kind: 'http', url: value.http, status: value.status, contains: value.contains, timeoutMs }
    if (value.tcp !== undefined) return { kind: 'tcp', address: value.tcp, timeoutMs }
    if (value.console !== undefined) return { kind: 'console', text: value.console, timeoutMs }
    if (value.systemd !== undefined) return { kind: 'systemd', states: value.systemd, timeoutMs }
    const command = value.command ?? []
    if (command.length === 0) return to.report(node, 'expected a program, found an empty list')
    return { kind: 'command', command, timeoutMs }
  })
}

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const

function time(): Shape<number> {
  const expected = 'a time such as 02:30 (UTC)'
  return refined(
    string({ pattern: /^(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)$/, expected }),
    (written) => Number(written.slice(0, 2)) * 60 + Number(written.slice(3)),
  )
}

/** One that ends before it begins goes over midnight: then it is two. */
function window(): Shape<readonly Window[]> {
  const shape = object('a window such as {days: [tue, thu], from: "02:00", to: "04:30"}', {
    days: optional(list(oneOf(...DAYS), String), [...DAYS], 'Days on which it begins; default: all.'),
    from: required(time(), 'When it begins, UTC.'),
    to: required(time(), 'When it ends, UTC; before `from` means the next day.'),
  })
  return refined(shape, ({ days, from, to: end }, node, to) => {
    if (from === end) return to.report(node, 'expected a window that ends at another time than it begins')
    const numbers = days.map((day) => DAYS.indexOf(day)).sort((a, b) => a - b)
    if (from < end) return [{ days: numbers, fromMinute: from, toMinute: end }]
    const next = numbers.map((day) => (day + 1) % 7).sort((a, b) => a - b)
    const first = { days: numbers, fromMinute: from, toMinute: 1440 }
    return end === 0 ? [first] : [first, { days: next, fromMinute: 0, toMinute: end }]
  })
}

const timeouts = object('timeouts such as {boot: 90s}', {
  boot: optional(duration(), 120, 'How long a guest may take to come up healthy.'),
  recover: optional(duration(), 300, 'How long it may take to come back on the old generation.'),
  tries: optional(integer(1, 20), 3, 'Starts of a new generation before it falls back.'),
})

const group = object('a map with the keys of a group', {
  stage5: optional(formatNumber(), 1, 'Format of this file.'),
  description: optional(text('a sentence'), '', 'What the guests are for.'),
  profile: required(profileName(), 'The profile that they run, with @variant.'),
  guests: required(everyone(), 'Names, patterns such as web-{01..12}, or {source: [command]}.'),
  values: optional(
    values,
    new Map<string, string>(),
    'Values for the templates of every guest, such as http: "{index+8080}"; a guest may have its own.',
  ),
  driver: required(driver(), 'What runs the guests, with its options.'),
  templates: optional(
    record(
      oneOf('hostname', 'network', 'machine-id', 'ssh-host-keys'),
      string({ expected: 'a template', plain: true }),
    ),
    new Map<string, string>(),
    'What each guest gets: hostname (default: its name); network: dhcp, or words such as "ip=10.0.0.{index}/24 gateway=10.0.0.1 dns=10.0.0.1"; machine-id (default: minted once); ssh-host-keys: make.',
  ),
  secrets: optional(
    record(absolutePath(), line('a file (absolute, or relative to the project)')),
    new Map<string, string>(),
    'Files of the host, as templates, by their path in the guest: they reach it with its start and stand in no image.',
  ),
  data: optional(
    record(word('the name of a data area'), bytes()),
    new Map<string, number>(),
    'Sizes of data areas that differ from the profile, by name.',
  ),
  waves: optional(list(quantity(1)), [], 'How many are updated at a time; default: 1, 10%, 40%, 100%.'),
  maxUnavailable: optional(quantity(1), { percent: 10 }, 'How many may be away at once; default: 10%.'),
  minAvailable: optional(quantity(0), { count: 0 }, 'How many must stay.'),
  allowedFailures: optional(quantity(0), { percent: 2 }, 'Failed guests that a wave forgives; default: 2%.'),
  health: optional(list(health()), [], 'What must hold for a guest to count as healthy.'),
  soak: optional(duration(), 60, 'How long a wave must stay healthy before the next.'),
  timeouts: optional(timeouts, undefined, 'How long things may take.'),
  windows: optional(list(window()), [], 'When guests may be restarted; default: always.'),
  approvers: optional(
    list(word('the name of a key'), String),
    [],
    'Keys of those who may approve a wave; none: nobody needs to.',
  ),
  require: optional(oneOf('built', 'booted'), 'built', 'booted: only generations with a signed boot record.'),
  trustSteadyState: optional(
    boolean(),
    false,
    'FleetLock: believe a guest that says it is steady, without looking.',
  ),
  shadows: optional(
    oneOf('warn', 'hold', 'reset-unmodified'),
    'warn',
    'When the overlay of a guest hides what the next base changes: warn, or hold the rollout until `stage5 guest rebase` or `reset` has decided; reset-unmodified: reset what was only touched while the guest is off, and hold for anything else.',
  ),
})

/** What a group's document says by itself; guests of a source command are still missing. */
export function decodeGroup(name: string, node: Source, to: Decoder): GroupDraft | undefined {
  const found = group.decode(node, to)
  if (!found || node.kind !== 'map') return undefined
  const { guests: who, driver: by, timeouts: limits = { boot: 120, recover: 300, tries: 3 } } = found
  const sourceAt = node.members.find(({ key }) => key === 'guests')?.value ?? node
  return {
    group: {
      name,
      line: found.profile,
      driver: by,
      templates: Object.fromEntries(found.templates),
      secrets: Object.fromEntries(found.secrets),
      data: Object.fromEntries(found.data),
      waves: found.waves,
      maxUnavailable: found.maxUnavailable,
      minAvailable: found.minAvailable,
      allowedFailures: found.allowedFailures,
      health: found.health,
      soakSeconds: found.soak,
      bootSeconds: limits.boot,
      recoverSeconds: limits.recover,
      tries: limits.tries,
      windows: found.windows.flat(),
      approvers: found.approvers,
      require: found.require,
      trustSteadyState: found.trustSteadyState,
      ...(found.shadows !== 'warn' && { shadows: found.shadows }),
    },
    guests: who.listed,
    source: who.source,
    sourceAt: { line: sourceAt.line, column: sourceAt.column },
    values: Object.fromEntries(found.values),
    node,
  }
}

/** What a source command printed. */
export function decodeGuests(node: Source, to: Decoder): readonly PlacedGuest[] {
  return (list(guests()).decode(node, to) ?? []).flat()
}

/**
 * Guests with the values of their group filled in, each once; every template of the document is tried with every guest,
 * so that filling cannot fail later.
 */
export function settleGuests(
  { group: { name: group }, values: common, node }: GroupDraft,
  found: readonly PlacedGuest[],
  to: Decoder,
): readonly GuestSpec[] {
  const seen = new Set<string>()
  const blamed = new Set<Source>()
  const templates = node.members
    .filter(({ key }) => TEMPLATED.has(key))
    .flatMap(({ value }) => scalars(value))
  const forwards = new Set<Source>(forwardNodes(node))
  return found.map(({ spec, at }) => {
    if (seen.has(spec.name)) to.report(at, `${JSON.stringify(spec.name)} is listed twice`)
    seen.add(spec.name)
    const own = guestValues(group, spec)
    const made: { [key: string]: string } = {}
    for (const [key, template] of Object.entries(common)) {
      const result = fillTemplate(template, own)
      if ('text' in result) made[key] = result.text
      else to.report(at, `values of ${spec.name}: ${key}: ${result.problem}`)
    }
    const full: GuestSpec = { ...spec, values: { ...made, ...spec.values } }
    const known = guestValues(group, full)
    for (const scalar of templates) {
      const result = blamed.has(scalar) ? undefined : fillTemplate(scalar.text, { ...BUILT_IN, ...known })
      const problem =
        result && 'text' in result ? forwards.has(scalar) && forwardProblem(result.text) : result?.problem
      if (!problem) continue
      blamed.add(scalar)
      to.report(scalar, `for ${spec.name}: ${problem}`)
    }
    return full
  })
}

const TEMPLATED = new Set(['driver', 'templates', 'secrets', 'health'])
/** What drivers fill in themselves. */
const BUILT_IN = { root: '', hostname: '', network: '' } as const

function forwardNodes(node: MapSource): readonly Source[] {
  const of = (from: Source, name: string): Source | undefined =>
    from.kind === 'map' ? from.members.find(({ key }) => key === name)?.value : undefined
  const driver = of(node, 'driver')
  const forward = driver && of(driver, 'forward')
  return forward ? scalars(forward) : []
}

/** '' when a forward can be made as it says. */
function forwardProblem(text: string): string {
  return parseForward(text) ? '' : `expected ${FORWARD_EXPECTED}, found ${JSON.stringify(text)}`
}

function scalars(node: Source): (Source & { readonly text: string })[] {
  if (node.kind === 'scalar') return typeof node.value === 'string' ? [node] : []
  return node.kind === 'list'
    ? node.items.flatMap(scalars)
    : node.members.flatMap(({ value }) => scalars(value))
}

/** JSON Schema of `groups/*.yaml`. */
export function groupSchema(): Schema {
  return { $schema: 'http://json-schema.org/draft-07/schema#', title: 'stage5 group', ...group.schema }
}
