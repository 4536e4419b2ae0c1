/** `stage5 trust`: who may sign what a project publishes. */
import { resolve } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { LIFETIMES, nextMetadata, nextRoot } from '../../fleet/publication.ts'
import { now } from '../../host/clock.ts'
import { type Command, listOption, type Result, textOption, type Words } from '../command.ts'
import { writeAgent } from '../pull-agent.ts'
import { keepRoot, openPlace, putMetadata, published, rootFile, signersOf } from '../trust.ts'
import { lifetimesOf, PLACE, VALID } from '../trust-options.ts'
import { shownPath, type World } from '../world.ts'

export const trust: Command = {
  name: 'trust',
  summary:
    'say who may sign what is published (init, rotate), sign it anew before it expires (refresh), show it, or give it to guests (agent)',
  arguments: [{ name: '<action>', description: 'init, rotate, refresh, show or agent' }],
  options: [
    PLACE,
    {
      flags: '--root <key>',
      description: 'init, rotate: a key of the root from now on; repeatable',
      many: true,
    },
    { flags: '--threshold <n>', description: 'how many root keys must sign (default: more than half)' },
    { flags: '--old-root <key>', description: 'rotate: a key of the root so far; repeatable', many: true },
    { flags: '--release <key>', description: 'key of the generations (default: release)' },
    { flags: '--online <key>', description: 'key of snapshot, timestamp and channels (default: online)' },
    VALID,
    { flags: '--out <dir>', description: 'agent: folder to write, for `stage5 pack`' },
    { flags: '--url <address>', description: 'agent: where guests find what is published' },
    { flags: '--line <line>', description: 'agent: the line that they follow' },
    {
      flags: '--state <dir>',
      description: 'agent: folder of the guest that outlives its base (default: /data/pull)',
    },
    { flags: '--report <address>', description: 'agent: where guests say where they stand (NAME is added)' },
  ],
  examples: [
    'stage5 trust init --to site --root root1 --root root2 --root root3 --threshold 2',
    'stage5 trust rotate --to site --old-root root1 --old-root root2 --root root2 --root root4 --online online2',
    'stage5 trust refresh --to site',
    'stage5 trust show --to site',
    'stage5 trust agent --out apps/pull --url http://10.0.0.1:8470 --line www-nginx',
  ],
  run: async (world, words) => {
    const [action = ''] = words.arguments
    if (action === 'init' || action === 'rotate') return await sign(world, words, action)
    if (action === 'refresh') return await refresh(world, words)
    if (action === 'show') return await show(world, words)
    if (action === 'agent') return await agent(world, words)
    throw new Stage5Error(
      'S5_USAGE',
      `expected init, rotate, refresh, show or agent, found ${JSON.stringify(action)}`,
    )
  },
}

async function signers(world: World, words: Words) {
  const [release, online] = await Promise.all([
    signersOf(world, [textOption(words, 'release') ?? 'release']),
    signersOf(world, [textOption(words, 'online') ?? 'online']),
  ])
  return { release, online }
}

async function sign(world: World, words: Words, action: 'init' | 'rotate'): Promise<Result> {
  const root = await signersOf(world, listOption(words, 'root'))
  if (root.length === 0)
    throw new Stage5Error('S5_USAGE', `trust ${action} needs --root KEY`, { hint: 'stage5 key new root1' })
  const given = textOption(words, 'threshold') ?? String(Math.floor(root.length / 2) + 1)
  const own = await signers(world, words)
  const wish = {
    ...{ root, threshold: Number(given) },
    release: own.release.map((one) => one.public),
    online: own.online.map((one) => one.public),
  }
  const seconds = Math.floor(now() / 1000)
  const lifetimes = lifetimesOf(words, LIFETIMES)
  await using place = await openPlace(world, textOption(words, 'to'))
  const known = action === 'rotate' ? await published(world, place) : undefined
  if (action === 'init' && (await place.read('metadata/1.root.json')) !== undefined)
    throw new Stage5Error('S5_PUBLISH_REFUSED', `${place.name} has a root already`, {
      hint: 'stage5 trust rotate signs the next one',
    })
  const before = known && { root: known.root, signers: await signersOf(world, listOption(words, 'oldRoot')) }
  const next = nextRoot(wish, before, seconds, lifetimes)
  // Signed before anything is written: the rest must be possible, or the new root would lock its publisher out.
  const trusted = known ? { ...known, root: next.root } : { root: next.root }
  const rest = nextMetadata(trusted, { delegate: wish.online }, own, seconds, lifetimes)
  await place.put(`metadata/${next.name}`, next.bytes)
  await keepRoot(world, next.bytes)
  await putMetadata(place, rest)
  await place.commit(world.signal)
  const { version, roles, expires } = next.root
  return {
    data: { place: place.name, version, expires, root: rootFile(world), keys: roles.root.keyids.length },
    text: `${shownPath(rootFile(world))}: root ${version} until ${expires.slice(0, 10)}, signed by ${roles.root.threshold} of ${roles.root.keyids.length}; guests need it\n`,
  }
}

async function refresh(world: World, words: Words): Promise<Result> {
  const online = await signersOf(world, [textOption(words, 'online') ?? 'online'])
  await using place = await openPlace(world, textOption(words, 'to'))
  const trusted = await published(world, place)
  const release = textOption(words, 'release')
  const own = { online, release: release === undefined ? [] : await signersOf(world, [release]) }
  const next = nextMetadata(trusted, {}, own, Math.floor(now() / 1000), lifetimesOf(words, LIFETIMES))
  await putMetadata(place, next)
  await place.commit(world.signal)
  const { version = 0, expires = '' } = next.trusted.timestamp ?? {}
  const files = next.files.map(({ name }) => name)
  return {
    data: { place: place.name, version, expires, files },
    text: `${place.name}: timestamp ${version} until ${expires} (${files.join(', ')})\n`,
  }
}

async function show(world: World, words: Words): Promise<Result> {
  await using place = await openPlace(world, textOption(words, 'to'))
  const trusted = await published(world, place)
  const seconds = now() / 1000
  const rows = (['root', 'targets', 'channels', 'snapshot', 'timestamp'] as const).flatMap((role) => {
    const found = trusted[role]
    return found ? [{ role, version: found.version, expires: found.expires }] : []
  })
  const isOver = (expires: string): boolean => Date.parse(expires) / 1000 <= seconds
  const names = [
    ...Object.keys(trusted.targets?.targets ?? {}),
    ...Object.keys(trusted.channels?.targets ?? {}),
  ]
  const lines = rows.map(
    ({ role, version, expires }) =>
      `${role.padEnd(10)} ${String(version).padStart(4)}  until ${expires}${isOver(expires) ? '  EXPIRED' : ''}`,
  )
  return {
    data: { place: place.name, metadata: rows, signed: names.sort() },
    text: `${[...lines, ...names.sort().map((name) => `  ${name}`)].join('\n')}\n`,
    exitCode: rows.some(({ expires }) => isOver(expires)) ? 1 : 0,
  }
}

async function agent(world: World, words: Words): Promise<Result> {
  const [out, url, line] = ['out', 'url', 'line'].map((name) => textOption(words, name))
  if (out === undefined || url === undefined || line === undefined)
    throw new Stage5Error('S5_USAGE', 'trust agent needs --out DIR, --url ADDRESS and --line LINE')
  const folder = resolve(world.directory, out)
  const files = await writeAgent(world, folder, {
    ...{ url, line, state: textOption(words, 'state') ?? '/data/pull' },
    ...{ report: textOption(words, 'report'), built: Math.floor(now() / 1000) },
  })
  return {
    data: { directory: folder, files: [...files] },
    text: `${shownPath(folder)}: ${files.join(', ')}\nstage5 pack ${shownPath(folder)} --name stage5/pull --version 1.0.0 --depends deb:signify-openbsd\n`,
  }
}
