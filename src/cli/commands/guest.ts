/** `stage5 guest …`: the guests of the groups, one at a time; updates of many are rollouts. */
import { createReadStream, existsSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { printable, Stage5Error } from '../../base/errors.ts'
import type { Json } from '../../base/json.ts'
import { consoleFeed } from '../../deploy/console.ts'
import type { Templates } from '../../deploy/drivers/data.ts'
import { startedOf } from '../../deploy/drivers/keeper.ts'
import { connectUnix } from '../../deploy/qmp.ts'
import { shadowWords } from '../../fleet/shadow.ts'
import type { Group } from '../../resolve/group.ts'
import { type Command, type Result, textOption, type Words } from '../command.ts'
import { loadGroups } from '../groups.ts'
import { guestShadows, rebaseGuest, resetPath } from '../guest-shadows.ts'
import {
  createGuest,
  driverOf,
  findGroup,
  findGuest,
  type FoundGuest,
  generationFor,
  growArea,
  guestsOf,
  mustRead,
  observe,
  retireGuest,
} from '../guests.ts'
import { parseBytes } from '../quantities.ts'
import { columns } from '../../base/columns.ts'
import { mebibytes } from '../render/progress.ts'
import { hiddenFrom } from '../shadow-gate.ts'
import { shownPath, type World } from '../world.ts'

type Action = (world: World, groups: readonly Group[], words: Words) => Promise<Result>

export const guest: Command = {
  name: 'guest',
  summary: 'look at the guests of the groups; start, stop and grow single ones',
  arguments: [
    {
      name: '<action>',
      description: 'list, show, create, start, stop, console, log, status, rebase, reset, grow or retire',
    },
    { name: '[names...]', description: 'guests; for grow: guest, area and size; for reset: guest and path' },
  ],
  options: [
    { flags: '--groups <dir>', description: 'folder of the groups (default: groups)' },
    { flags: '--group <name>', description: 'list, create: the guests of this group' },
    {
      flags: '--generation <gen>',
      description: 'start, create: this generation (default: what it had, else the newest of its line)',
    },
    {
      flags: '--to <gen>',
      description: 'status, rebase: the generation that is to come (default: the newest of its line)',
    },
  ],
  examples: [
    'stage5 guest list --group web',
    'stage5 guest status web-01 --to g8',
    'stage5 guest rebase web-01 --to g8',
    'stage5 guest reset web-01 /etc/nginx/nginx.conf',
    'stage5 guest create --group web',
    'stage5 guest start web-01',
    'stage5 guest console web-01',
    'stage5 guest grow web-01 www 2G',
  ],
  run: async (world, words) => {
    const [name = ''] = words.arguments
    const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined
    if (!action)
      throw new Stage5Error(
        'S5_USAGE',
        `guest expects ${Object.keys(ACTIONS).join(', ')}, found ${JSON.stringify(name)}`,
        { hint: 'stage5 guest --help' },
      )
    return await action(world, await loadGroups(world, textOption(words, 'groups')), words)
  },
}

const ACTIONS: { readonly [name: string]: Action } = {
  list,
  show,
  create,
  start,
  stop,
  console: console_,
  log,
  status,
  rebase,
  reset,
  grow,
  retire,
}

/** Guests named on the line, or those of --group, or all. */
function chosen(world: World, groups: readonly Group[], words: Words): FoundGuest[] {
  const names = words.arguments.slice(1)
  const group = textOption(words, 'group')
  const within = group === undefined ? groups : [findGroup(groups, group)]
  return names.length === 0 ? guestsOf(world, within) : names.map((name) => findGuest(world, within, name))
}

function single(world: World, groups: readonly Group[], words: Words, more: number): FoundGuest {
  const [action, name, ...rest] = words.arguments
  if (name === undefined || rest.length !== more)
    throw new Stage5Error('S5_USAGE', `guest ${action} expects ${EXPECTED[more]}`, {
      hint: 'stage5 guest --help',
    })
  return findGuest(world, groups, name)
}

const EXPECTED = ['one guest', 'a guest and a path', 'a guest, an area and a size']

async function list(world: World, groups: readonly Group[], words: Words): Promise<Result> {
  const found = chosen(world, groups, words)
  const rows = await Promise.all(
    found.map((one) => world.limit(async () => ({ one, seen: await observe(world, one) }))),
  )
  const table = rows.map(({ one: { guest, group }, seen }) => [
    guest.name,
    group.name,
    seen.power,
    seen.pointer === 'trial' ? `trial, ${seen.triesLeft} left` : '',
    seen.health,
    seen.detail,
  ])
  return {
    data: rows.map(({ one, seen }) => ({ name: one.guest.name, group: one.group.name, ...seen })),
    text: columns([['guest', 'group', 'power', 'trial', 'health', ''], ...table]),
  }
}

async function show(world: World, groups: readonly Group[], words: Words): Promise<Result> {
  const found = single(world, groups, words, 0)
  const { guest, group, folder } = found
  const seen = await observe(world, found)
  const disks: { [name: string]: Json } = {}
  const shown: string[] = []
  for (const name of await disksOf(folder.file('data'))) {
    const { size, blocks } = await stat(folder.file('data', name))
    disks[name] = { size, used: blocks * 512 }
    shown.push(`${name} ${mebibytes(size)}, ${mebibytes(blocks * 512)} on disk`)
  }
  const pointers = { good: folder.pointer('good'), trial: folder.pointer('trial') }
  const id = folder.read('machine-id')
  const copy = folder.read('before/tag')
  const rows = [
    ['group', `${group.name} (${group.line}, ${group.driver.kind})`],
    ['power', `${seen.power}${seen.bootId === '' ? '' : `, start ${seen.bootId}`}`],
    ['health', `${seen.health}: ${seen.detail}`],
    ['good', pointers.good || 'none'],
    ['trial', pointers.trial === '' ? 'none' : `${pointers.trial}, ${seen.triesLeft} starts left`],
    ['token', `${seen.token}`],
    ['machine-id', id || 'not made yet'],
    ['folder', existsSync(folder.path) ? shownPath(folder.path) : 'not made yet'],
    ...shown.map((line) => ['data', line]),
    ...(copy === '' ? [] : [['copy', `${copy}: its data from before that, until the rollout has ended`]]),
    ...Object.entries(guest.values).map(([key, value]) => [`{${key}}`, value]),
  ]
  return {
    data: {
      name: guest.name,
      group: group.name,
      ...seen,
      ...pointers,
      machineId: id,
      disks,
      ...(copy !== '' && { snapshot: copy }),
      values: guest.values,
    },
    text: columns(rows),
  }
}

async function disksOf(path: string): Promise<string[]> {
  const names = await readdir(path).catch(() => [] as string[])
  return names.filter((name) => !name.startsWith('.')).sort((a, b) => (a < b ? -1 : 1))
}

async function create(world: World, groups: readonly Group[], words: Words): Promise<Result> {
  const named = textOption(words, 'generation')
  const found = chosen(world, groups, words)
  const generations = new Map<Group, Awaited<ReturnType<typeof generationFor>>>()
  for (const { group } of found)
    if (!generations.has(group) && (group.driver.kind === 'qemu' || group.driver.kind === 'libvirt'))
      generations.set(group, await generationFor(world, group, named))
  const templates: Templates = new Map()
  await Promise.all(
    found.map((one) => world.limit(() => createGuest(world, one, generations.get(one.group), templates))),
  )
  return {
    data: { guests: found.map(({ guest: { name } }) => name) },
    text: `${found.length} guests have their machine-id and data disks\n`,
  }
}

/** By hand: what is started is the good one from now on, without a trial. */
async function start(world: World, groups: readonly Group[], words: Words): Promise<Result> {
  const found = single(world, groups, words, 0)
  const { guest, group, folder } = found
  const driver = driverOf(world, found)
  const named = textOption(words, 'generation')
  const fresh = named !== undefined || folder.pointer('good') === ''
  const generation = fresh ? await generationFor(world, group, named) : undefined
  if (generation) {
    await mustRead(world, found, generation)
    // Told and not held: whoever names a generation has decided.
    const { warnings, problems, resets } = await hiddenFrom(world, group, guest, generation)
    for (const message of [...warnings, ...problems, ...resets])
      world.report({ kind: 'warning', code: 'rollout.hidden', message })
    await driver.prepare(guest, generation, world.signal)
  }
  const { token } = await driver.status(guest, world.signal)
  await driver.rollback(guest, generation, token, world.signal)
  const seen = await driver.status(guest, world.signal)
  return {
    data: { name: guest.name, ...seen },
    text: `${guest.name}: ${seen.power}, ${seen.detail}\n`,
    exitCode: seen.power === 'off' ? 1 : 0,
  }
}

async function stop(world: World, groups: readonly Group[], words: Words): Promise<Result> {
  const found = single(world, groups, words, 0)
  await driverOf(world, found).stop(found.guest, world.signal)
  return { data: { name: found.guest.name, power: 'off' }, text: `${found.guest.name}: off\n` }
}

/** Our terminal is the guest's console until Ctrl-] or the guest's end. */
async function console_(world: World, groups: readonly Group[], words: Words): Promise<Result> {
  const {
    guest: { name },
    folder,
  } = single(world, groups, words, 0)
  const path = folder.file('run', 'console.sock')
  if (!startedOf(folder) || !existsSync(path))
    throw new Stage5Error('S5_GUEST_OFF', `${name} has no console now`, {
      hint: startedOf(folder) ? `stage5 guest log ${name}` : `stage5 guest start ${name}`,
    })
  const socket = connectUnix(path)
  const { stdin, stdout } = process
  const isTerminal = stdin.isTTY === true
  if (isTerminal) {
    process.stderr.write(`console of ${name}; Ctrl-] leaves it\n`)
    stdin.setRawMode(true)
  }
  const leave = (): void => void socket.end()
  world.signal.addEventListener('abort', leave, { once: true })
  stdin.on('data', (bytes: Buffer) => {
    if (isTerminal && bytes.includes(0x1d)) leave()
    else socket.write(bytes)
  })
  stdin.on('end', leave)
  socket.on('data', (bytes: Buffer) => void stdout.write(bytes))
  try {
    await new Promise<void>((ended) => {
      socket.once('close', ended)
      socket.once('error', () => ended())
    })
  } finally {
    world.signal.removeEventListener('abort', leave)
    if (isTerminal) stdin.setRawMode(false)
    stdin.pause()
    socket.destroy()
  }
  return { data: { name }, text: '' }
}

/** What the console showed since the last start. */
async function log(world: World, groups: readonly Group[], words: Words): Promise<Result> {
  const {
    guest: { name },
    folder,
  } = single(world, groups, words, 0)
  const path = folder.file('run', 'console.log')
  if (!existsSync(path))
    throw new Stage5Error('S5_GUEST_OFF', `${name} has not been started here`, {
      hint: `stage5 guest start ${name}`,
    })
  const feed = consoleFeed()
  for await (const bytes of createReadStream(path)) feed.push(bytes as Buffer)
  feed.end()
  let text = ''
  for await (const line of feed.console.lines()) text += `${line}\n`
  return { data: { name, text }, text }
}

async function grow(world: World, groups: readonly Group[], words: Words): Promise<Result> {
  const found = single(world, groups, words, 2)
  const [, name, area = '', size = ''] = words.arguments
  const { before, after } = await growArea(world, found, area, parseBytes('grow', size))
  return {
    data: { name: name ?? '', area, before, after },
    text: `${name}: ${area} ${mebibytes(before)} → ${mebibytes(after)}\n`,
  }
}

async function retire(world: World, groups: readonly Group[], words: Words): Promise<Result> {
  const found = single(world, groups, words, 0)
  const kept = await retireGuest(world, found)
  return {
    data: { name: found.guest.name, kept },
    text: `${found.guest.name}: off; its data is kept in ${shownPath(kept)}. Take it out of groups/${found.group.name}.yaml too\n`,
  }
}

/** What its overlays hide of the base that it runs and of the one to come. */
async function status(world: World, groups: readonly Group[], words: Words): Promise<Result> {
  const found = single(world, groups, words, 0)
  const { before, after, areas, running } = await guestShadows(world, found, textOption(words, 'to'))
  const shadows = areas.flatMap((area) => area.shadows.map((shadow) => ({ area: area.name, ...shadow })))
  const { name } = found.guest
  const head =
    areas.length === 0
      ? `${name} runs ${before.name} and has no overlay: nothing can hide its base`
      : `${name} runs ${before.name}; ${shadows.length} names hide something of it or of ${after.name}`
  const late =
    running && areas.some(({ layer }) => !layer.isLive)
      ? ' (it is running: what it wrote last may be missing)'
      : ''
  return {
    data: {
      name,
      before: before.name,
      after: after.name,
      running,
      shadows: shadows.map((one) => ({
        ...one,
        path: `/${printable(one.path)}`,
        below: one.below.map((path) => `/${printable(path)}`),
        text: shadowWords(one),
      })),
    },
    text: `${head}${late}\n${columns(shadows.map((one) => [`/${printable(one.path)}`, one.area, shadowWords(one)]))}`,
  }
}

async function rebase(world: World, groups: readonly Group[], words: Words): Promise<Result> {
  const found = single(world, groups, words, 0)
  const { reset: gone, beside, left } = await rebaseGuest(world, found, textOption(words, 'to'))
  const lines = [
    ...gone.map((path) => `reset  /${printable(path)}\n`),
    ...beside.map((path) => `new    /${printable(path)}\n`),
    ...left.map((one) => `left   /${printable(one.path)}: ${shadowWords(one)}\n`),
  ]
  const count = `${gone.length} reset, ${beside.length} kept with the new default beside them, ${left.length} left to you`
  return {
    data: {
      name: found.guest.name,
      reset: gone.map((path) => `/${printable(path)}`),
      beside: beside.map((path) => `/${printable(path)}`),
      left: left.map(({ path }) => `/${printable(path)}`),
    },
    text: `${lines.join('')}${found.guest.name}: ${count}\n`,
    exitCode: left.length > 0 ? 1 : 0,
  }
}

async function reset(world: World, groups: readonly Group[], words: Words): Promise<Result> {
  const found = single(world, groups, words, 1)
  const gone = await resetPath(world, found, words.arguments[2] ?? '')
  const paths = gone.map((path) => `/${printable(path)}`)
  return {
    data: { name: found.guest.name, reset: paths },
    text: `${paths.map((path) => `reset  ${path}\n`).join('')}`,
  }
}
