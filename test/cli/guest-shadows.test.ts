/** Overlays of a guest that lives in a root of its own: compared, held, rebased and reset by words, and kept over bases. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { guestFolder } from '../../src/deploy/drivers/folder.ts'
import { startedOf } from '../../src/deploy/drivers/keeper.ts'
import { findTool, run } from '../../src/host/run.ts'
import { stage5 } from '../helpers/console.ts'
import { packedProject } from '../helpers/project.ts'

const PROFILE = `data:
  - {name: keep, size: 8M, paths: [/var/keep]}
  - {name: conf, size: 8M, paths: [/etc/conf], on: overlay}
files:
  - {path: /bin/busybox, from: ../tools/busybox, mode: 0755}
`
const FIRST = { edited: 'one', touched: 'one', plain: 'one', removed: 'one', late: 'one' }
const SECOND = { edited: 'two', touched: 'two', plain: 'two', removed: 'two', late: 'two', own: 'two' }

const GROUP = `profile: shop
guests: [shop-1]
driver:
  kind: dir
  run: [chroot, "{root}", /bin/busybox, sh, -c, "echo is up; exec /bin/busybox sleep 1000000"]
  stopSeconds: 5
health: [{console: is up}]
soak: 1s
timeouts: {boot: 5m, recover: 30s}
`

const MAIN = resolve(import.meta.dirname, '../../src/main.js')
const PATIENCE_MS = 400_000

const missing =
  process.getuid?.() !== 0
    ? 'root'
    : ['busybox', 'getfattr', 'setfattr', 'nsenter'].find((name) => findTool(name) === undefined)

interface Said {
  readonly code: number | null
  readonly text: string
}

async function waitFor(ask: () => Promise<Said>, isWanted: (said: Said) => boolean): Promise<Said> {
  const until = performance.now() + PATIENCE_MS
  for (;;) {
    const said = await ask()
    if (isWanted(said)) return said
    assert.ok(performance.now() < until, said.text)
    await sleep(500)
  }
}

test('a guest keeps what it changed over another base, and nothing that changed there is hidden unsaid', async (t) => {
  if (missing !== undefined) return t.skip(`needs ${missing}`)
  using project = await packedProject()
  const here = project.directory
  const own = guestFolder(join(here, '.stage5/guests'), 'shop-1')
  const say = async (...words: string[]): Promise<Said> => {
    const { code, stdout, stderr } = await stage5(here, words, { SOURCE_DATE_EPOCH: '1700000000' })
    return { code, text: stdout + stderr }
  }
  const must = async (...words: string[]): Promise<string> => {
    const { code, text } = await say(...words)
    assert.equal(code, 0, text)
    return text
  }
  mkdirSync(join(here, 'groups'))
  mkdirSync(join(here, 'tools'))
  copyFileSync(findTool('busybox') as string, join(here, 'tools/busybox'))
  writeFileSync(join(here, 'groups/shops.yaml'), GROUP)
  writeFileSync(join(here, 'stages/small.yaml'), 'stages: [files, os-release]\n')
  const profile = join(here, 'profiles/shop.yaml')
  const plain = readFileSync(profile, 'utf8').replace('pipeline: plain', 'pipeline: small')
  for (const [version, files] of Object.entries({ 1: FIRST, 2: SECOND })) {
    const lines = Object.entries({ ...files, '../../var/keep/k': version }).map(
      ([name, text]) => `  - {path: ${join('/etc/conf', name)}, content: "${text}\\n"}\n`,
    )
    writeFileSync(profile, `${plain}version: "${version}"\n${PROFILE}${lines.join('')}`)
    await must('lock', 'shop')
    await must('build', 'shop')
  }
  const start = async (...words: string[]): Promise<void> => {
    await must('guest', 'start', 'shop-1', ...words)
    await waitFor(
      () => say('guest', 'list'),
      ({ text }) => /shop-1.* pass /.test(text),
    )
  }
  /** In the guest's own mounts and root. */
  const inside = async (command: string): Promise<string> => {
    const pid = startedOf(own)?.pid
    const argv = ['nsenter', '--mount', '--root', '--target', `${pid}`, '/bin/busybox', 'sh', '-c']
    return (await run([...argv, `cd /etc/conf; ${command}`])).stdout.toString()
  }
  const shadows = (text: string): string[] =>
    text
      .split('\n')
      .filter((line) => line.startsWith('/'))
      .map((line) => line.replace(/ {2,}/g, '  '))
  try {
    await start('--generation', 'shop/g1')
    await inside(
      'b=/bin/busybox; echo mine >edited; $b touch touched; $b rm removed; echo mine >own; echo kept >/var/keep/k',
    )
    const live = await must('guest', 'status', 'shop-1')
    assert.deepEqual(shadows(live), [
      '/etc/conf/edited  conf  conflict: edited; the new base changes it',
      '/etc/conf/own  conf  conflict: own file in the place of one that is new in the base; the new base brings it',
      '/etc/conf/removed  conf  conflict: removed; the new base changes it',
      '/etc/conf/touched  conf  only touched, same content as the base; the new base changes it',
    ])
    assert.doesNotMatch(live, /may be missing/)
    assert.match((await say('guest', 'rebase', 'shop-1')).text, /shop-1 is running[^]*S5_GUEST_RUNNING/)
    assert.match(
      await must('rollout', 'plan', 'shops', '--to', 'g2'),
      /^hidden: shop-1: \/etc\/conf\/edited: conflict: edited; the new base changes it$/m,
    )
    writeFileSync(join(here, 'groups/shops.yaml'), `${GROUP}shadows: hold\n`)
    const held = await say('rollout', 'start', 'shops', '--to', 'g2')
    assert.match(held.text, /shop-1: \/etc\/conf\/edited: conflict[^]*S5_ROLLOUT_REFUSED/)
    assert.match(await inside('read -r text <plain; echo $text'), /^one$/m, 'it was left alone')

    await must('guest', 'stop', 'shop-1')
    const rebased = await say('guest', 'rebase', 'shop-1')
    assert.match(rebased.text, /1 reset, 2 kept with the new default beside them, 1 left to you/)
    assert.equal(await must('guest', 'reset', 'shop-1', '/etc/conf/removed'), 'reset  /etc/conf/removed\n')
    const nothing = await say('guest', 'reset', 'shop-1', '/etc/conf/plain')
    assert.match(nothing.text, /shop-1 keeps nothing of its own at \/etc\/conf\/plain/)
    await start()
    await must('rollout', 'start', 'shops', '--to', 'g2')
    await inside('echo late >late')
    const controller = spawn(process.execPath, [MAIN, 'rollout', 'run'], {
      cwd: here,
      env: { ...process.env, STAGE5_STORE: join(here, '.store') },
      stdio: 'ignore',
    })
    const gone = once(controller, 'exit')
    try {
      const seen = await waitFor(
        () => say('rollout', 'status', 'r1'),
        ({ code }) => code !== 3,
      )
      assert.match(seen.text, /shop-1: \/etc\/conf\/late: conflict: edited; the new base changes it/)
    } finally {
      controller.kill('SIGTERM')
      await gone
    }
    assert.match(own.pointer('good'), /^g1-/)
    await must('guest', 'stop', 'shop-1')
    await must('guest', 'reset', 'shop-1', '/etc/conf/late')
    await start()
    await must('rollout', 'start', 'shops', '--to', 'g2', '--wait')
    const now = await inside(
      'for f in edited edited.stage5-new own own.stage5-new touched removed plain late /var/keep/k; do read -r text <$f; echo $f $text; done',
    )
    assert.deepEqual(now.trim().split('\n'), [
      'edited mine',
      'edited.stage5-new two',
      'own mine',
      'own.stage5-new two',
      'touched two',
      'removed two',
      'plain two',
      'late two',
      '/var/keep/k kept',
    ])
    await inside('echo later >late')
    const byHand = await must('guest', 'start', 'shop-1', '--generation', 'shop/g1')
    assert.match(byHand, /shop-1: \/etc\/conf\/late: conflict: edited; the new base changes it/)
  } finally {
    await say('guest', 'stop', 'shop-1')
  }
  assert.ok(!existsSync(own.file('data/conf/upper/etc/conf/plain')))
})
