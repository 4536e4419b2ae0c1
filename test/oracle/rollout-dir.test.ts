/**
 * Rollouts of real guests that live in roots of their own: one that stops for ever, one that does not come back even from
 * there, and controllers that are killed while guests are on their way.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type GuestFolder, guestFolder } from '../../src/deploy/drivers/folder.ts'
import { startedOf } from '../../src/deploy/drivers/keeper.ts'
import { findTool } from '../../src/host/run.ts'
import { stage5 } from '../helpers/console.ts'
import { startsOf } from '../helpers/fd-bench-qemu.ts'
import { below, startPoll } from '../helpers/fdt-poll.ts'
import { freePort } from '../helpers/guest.ts'
import { packedProject, type Project } from '../helpers/project.ts'

const MAIN = resolve(import.meta.dirname, '../../src/main.js')
const PATIENCE_MS = 600_000

/** A guest stops itself on the bases that its own `hang` names. */
const START = `version=$(/bin/busybox cat /srv/www/version)
for one in $(/bin/busybox cat /srv/keep/hang 2>&1); do [ "$one" != "$version" ] || kill -STOP $$; done
exec /bin/busybox httpd -f -p 127.0.0.1:$1 -h /srv/www
`

const profile = (version: string): string => `version: "${version}"
data:
  - {name: keep, size: 8M, paths: [/srv/keep]}
  - {name: conf, size: 8M, paths: [/etc/conf], on: overlay}
files:
  - {path: /bin/busybox, from: ../tools/busybox, mode: 0755}
  - {path: /srv/start, from: ../tools/start}
  - {path: /srv/www/version, content: "${version}\\n"}
  - {path: /etc/conf/plain, content: "${version}\\n"}
`

const missing =
  process.getuid?.() !== 0
    ? 'root'
    : ['busybox', 'getfattr', 'setfattr'].find((name) => findTool(name) === undefined)

let project: Project | undefined
before(async () => {
  if (missing !== undefined) return
  project = await packedProject()
  const here = project.directory
  for (const name of ['groups', 'tools']) mkdirSync(join(here, name))
  copyFileSync(findTool('busybox') as string, join(here, 'tools/busybox'))
  writeFileSync(join(here, 'tools/start'), START)
  writeFileSync(join(here, 'stages/small.yaml'), 'stages: [files, os-release]\n')
  const path = join(here, 'profiles/shop.yaml')
  const plain = readFileSync(path, 'utf8').replace('pipeline: plain', 'pipeline: small')
  for (const version of ['1', '2']) {
    writeFileSync(path, `${plain}${profile(version)}`)
    for (const action of ['lock', 'build']) {
      const { code, stderr } = await stage5(here, [action, 'shop'])
      assert.equal(code, 0, stderr)
    }
  }
})
after(() => project?.[Symbol.dispose]())

interface Said {
  readonly code: number | null
  readonly text: string
}

interface Fleet {
  readonly here: string
  readonly guests: readonly string[]
  readonly own: (guest: string) => GuestFolder
  readonly rollout: (...words: string[]) => Promise<Said>
  readonly controller: () => ChildProcess
  readonly version: (guest: string) => Promise<string>
  readonly urls: ReadonlyMap<string, string>
}

/** A fleet of three guests that run g1, the first of them a canary. */
async function withFleet(
  { directory: here }: Project,
  name: string,
  timeouts: string,
  body: (fleet: Fleet) => Promise<void>,
): Promise<void> {
  const guests = [1, 2, 3].map((number) => `${name}-${number}`)
  const ports = await Promise.all(guests.map(() => freePort()))
  const urls = new Map(guests.map((guest, at) => [guest, `http://127.0.0.1:${ports[at]}/version`]))
  const specs = guests.map(
    (guest, at) => `  - {name: ${guest}, canary: ${at === 0}, values: {http: "${ports[at]}"}}\n`,
  )
  writeFileSync(
    join(here, `groups/${name}.yaml`),
    `profile: shop
guests:
${specs.join('')}driver: {kind: dir, run: [chroot, "{root}", /bin/busybox, sh, /srv/start, "{http}"], stopSeconds: 5}
health: [{http: "http://127.0.0.1:{http}/version", timeout: 10s}]
waves: [1, 100%]
maxUnavailable: 1
allowedFailures: 0
soak: 1s
timeouts: {${timeouts}, tries: 2}
`,
  )
  for (const file of ['fleet.id', 'fleet.db', 'fleet.db-wal', 'fleet.db-shm'])
    rmSync(join(here, '.stage5', file), { force: true })
  const say = async (...words: string[]): Promise<Said> => {
    const { code, stdout, stderr } = await stage5(here, words)
    return { code, text: stdout + stderr }
  }
  const fleet: Fleet = {
    here,
    guests,
    urls,
    own: (guest) => guestFolder(join(here, '.stage5/guests'), guest),
    rollout: (...words) => say('rollout', ...words),
    controller: () =>
      spawn(process.execPath, [MAIN, 'rollout', 'run', '--history', `${name}.ndjson`], {
        cwd: here,
        env: { ...process.env, STAGE5_STORE: join(here, '.store') },
        stdio: 'ignore',
      }),
    version: async (guest) => (await (await fetch(urls.get(guest) as string)).text()).trim(),
  }
  try {
    for (const guest of guests) {
      const { code, text } = await say('guest', 'start', guest, '--generation', 'shop/g1')
      assert.equal(code, 0, text)
    }
    for (const guest of guests)
      await waitFor(async () => (await fleet.version(guest).catch(() => '')) === '1', `${guest} serves 1`)
    await body(fleet)
  } finally {
    await Promise.all(guests.map((guest) => say('guest', 'stop', guest)))
    rmSync(join(here, `groups/${name}.yaml`))
  }
}

async function waitFor(isSo: () => Promise<boolean> | boolean, what: string): Promise<void> {
  const until = performance.now() + PATIENCE_MS
  while (!(await isSo())) {
    assert.ok(performance.now() < until, `waited in vain: ${what}`)
    await sleep(20)
  }
}

async function killed(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const gone = once(child, 'exit')
  if (child.exitCode === null && child.signalCode === null) {
    child.kill(signal)
    await gone
  }
}

/** Generations in the order in which a guest was started. */
function starts(own: GuestFolder): string[] {
  return startsOf(own).map((generation) => generation.split('-')[0] as string)
}

async function mustCheck({ rollout }: Fleet, history: string): Promise<string> {
  const { code, text } = await rollout('check', history)
  assert.equal(code, 0, text)
  return text
}

test('a guest that stops for ever on a new base is led back at its deadline, and nobody follows it', async (t) => {
  if (!project) return t.skip(`needs ${missing}`)
  await withFleet(project, 'stopped', 'boot: 15s, recover: 300s', async (fleet) => {
    const [canary = '', ...others] = fleet.guests
    writeFileSync(fleet.own(canary).file('data/keep/srv/keep/hang'), '2\n')
    const boots = others.map((guest) => startedOf(fleet.own(guest))?.bootId)
    const history = ['--history', 'stopped.ndjson']
    const ran = await fleet.rollout('start', 'stopped', '--to', 'g2', '--wait', ...history)
    assert.equal(ran.code, 1, ran.text)
    assert.match(ran.text, /rolled-back/)
    assert.match(
      ran.text,
      /stopped-1: not healthy on g2-\w+ in 15 s: g2-\w+: http:\S+: (?:ECONNREFUSED|nothing within)/,
    )
    assert.deepEqual(starts(fleet.own(canary)), ['g1', 'g2', 'g1'])
    assert.equal(await fleet.version(canary), '1')
    assert.deepEqual(
      others.map((guest) => startedOf(fleet.own(guest))?.bootId),
      boots,
      'the others were not touched',
    )
    await mustCheck(fleet, 'stopped.ndjson')
    await fleet.rollout('start', 'stopped', '--to', 'g2', '--wait', ...history)
    assert.deepEqual(starts(fleet.own(canary)), ['g1', 'g2', 'g1'], 'it is never offered again')
    await mustCheck(fleet, 'stopped.ndjson')
  })
})

test('a guest that never comes back is lost and keeps its slot; the others serve on, and it is found when it is back', async (t) => {
  if (!project) return t.skip(`needs ${missing}`)
  await withFleet(project, 'lost', 'boot: 10s, recover: 20s', async (fleet) => {
    const [canary = '', ...others] = fleet.guests
    const own = fleet.own(canary)
    const root = own.file('good/root')
    writeFileSync(own.file('data/keep/srv/keep/hang'), '2\n')
    const begun = await fleet.rollout('start', 'lost', '--to', 'g2')
    assert.equal(begun.code, 0, begun.text)
    const controller = fleet.controller()
    const status = async (): Promise<string> => (await fleet.rollout('status')).text
    try {
      await waitFor(() => startedOf(own)?.generation.startsWith('g2-') === true, 'it was led to g2')
      // What it would go back to is not there now.
      renameSync(root, `${root}.away`)
      await waitFor(
        async () => /lost-1 +lost .*and it did not come back/.test(await status()),
        'the guest is lost',
      )
      assert.match(await status(), /^r1 rolled-back: [^]*lost \(shop\): .*; 1 of 1 away/)
      assert.equal(starts(own).filter((name) => name === 'g2').length, 1)
      for (const guest of others) {
        assert.deepEqual(starts(fleet.own(guest)), ['g1'])
        assert.equal(await fleet.version(guest), '1')
      }
      renameSync(`${root}.away`, root)
      await waitFor(async () => /lost-1 +steady/.test(await status()), 'the guest is back')
      assert.equal(await fleet.version(canary), '1')
    } finally {
      await killed(controller, 'SIGTERM')
    }
    await mustCheck(fleet, 'lost.ndjson')
  })
})

test('controllers are killed while guests move; the last one finishes, and nothing is done twice', async (t) => {
  if (!project) return t.skip(`needs ${missing}`)
  await withFleet(project, 'web', 'boot: 300s, recover: 300s', async (fleet) => {
    const { guests, own } = fleet
    const begun = await fleet.rollout('start', 'web', '--to', 'g2')
    assert.equal(begun.code, 0, begun.text)
    const isOn = (generation: string, count: number) => (): boolean =>
      guests.filter((guest) => startedOf(own(guest))?.generation.startsWith(`${generation}-`)).length >= count
    const isGood = (count: number) => (): boolean =>
      guests.filter((guest) => own(guest).pointer('good').startsWith('g2-')).length >= count
    const moments: readonly (readonly [what: string, isSo: () => boolean])[] = [
      ['a guest is on its trial', () => guests.some((guest) => own(guest).pointer('trial') !== '')],
      ['the canary is kept', isGood(1)],
      ['a second guest has been started', isOn('g2', 2)],
      ['two guests are kept', isGood(2)],
    ]
    const poll = startPoll(fleet.urls)
    let controller: ChildProcess | undefined
    try {
      for (const [what, isSo] of moments) {
        controller = fleet.controller()
        await waitFor(isSo, what)
        await killed(controller, 'SIGKILL')
      }
      controller = fleet.controller()
      await waitFor(async () => (await fleet.rollout('status')).code !== 3, 'the rollout ends')
    } finally {
      if (controller) await killed(controller, 'SIGTERM')
      await poll.stop()
    }
    const { code, text } = await fleet.rollout('status')
    assert.equal(code, 0, text)
    assert.match(text, /^r1 completed: 3 of 3 run g2-/)
    for (const guest of guests) {
      assert.deepEqual(starts(own(guest)), ['g1', 'g2'], guest)
      assert.equal(await fleet.version(guest), '2')
    }
    assert.deepEqual(below(poll.samples, guests, 2), [], 'never fewer than two of three answered')
    const said = await mustCheck(fleet, 'web.ndjson')
    assert.match(said, /3 guests, 3 restarts granted, [4-5] leaders: nothing that must not be/)
  })
})
