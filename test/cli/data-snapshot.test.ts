/** A migration of data that goes wrong, with guests of the driver dir: by itself on a canary, and by word after a wave (S12). */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { guestFolder } from '../../src/deploy/drivers/folder.ts'
import { findTool } from '../../src/host/run.ts'
import { stage5 } from '../helpers/console.ts'
import { packedProject } from '../helpers/project.ts'

const MAIN = resolve(import.meta.dirname, '../../src/main.js')
const PATIENCE_MS = 600_000
const GUESTS = ['shop-1', 'shop-2'] as const

const missing = process.getuid?.() !== 0 ? 'root' : findTool('busybox') === undefined ? 'busybox' : undefined

/** The second generation never comes up; the third ends at once on a guest that says so. All of them write first. */
const STARTS = [
  'echo one >>/srv/keep/log',
  'echo migrated >/srv/keep/table; /bin/busybox rm -f /srv/keep/log; exec /bin/busybox sleep 1000000',
  'echo migrated >/srv/keep/table; /bin/busybox rm -f /srv/keep/log; [ ! -e /srv/keep/broken ] || exit 1',
]
const SCHEMAS = ['{reads: [3, 5], writes: 5}', '{reads: [5, 6], writes: 6}', '{reads: [5, 6], writes: 6}']

test('data that a rollout migrated is as it was when it goes back', async (t) => {
  if (missing !== undefined) return t.skip(`needs ${missing}`)
  using project = await packedProject()
  const here = project.directory
  const say = async (...words: string[]): Promise<{ code: number | null; text: string }> => {
    const { code, stdout, stderr } = await stage5(here, words)
    return { code, text: stdout + stderr }
  }
  const must = async (...words: string[]): Promise<string> => {
    const { code, text } = await say(...words)
    assert.equal(code, 0, text)
    return text
  }
  const own = (name: string) => guestFolder(join(here, '.stage5/guests'), name)
  const keep = (name: string, file: string): string => own(name).file('data/keep/srv/keep', file)
  const group = (boot: string): void =>
    writeFileSync(
      join(here, 'groups/shops.yaml'),
      `profile: shop
guests: [{name: shop-1, canary: true}, {name: shop-2}]
driver: {kind: dir, run: [chroot, "{root}", /bin/busybox, sh, /srv/start], stopSeconds: 5}
health: [{console: is up}]
waves: [1, 100%]
maxUnavailable: 1
allowedFailures: 0
soak: 1s
timeouts: {boot: ${boot}, recover: 5m}
`,
    )
  const waitFor = async (what: string, isSo: () => Promise<boolean>): Promise<void> => {
    const until = performance.now() + PATIENCE_MS
    while (!(await isSo())) {
      assert.ok(performance.now() < until, `waited in vain: ${what}`)
      await sleep(500)
    }
  }
  for (const name of ['groups', 'tools']) mkdirSync(join(here, name))
  copyFileSync(findTool('busybox') as string, join(here, 'tools/busybox'))
  writeFileSync(join(here, 'stages/small.yaml'), 'stages: [files, os-release]\n')
  group('5m')
  const path = join(here, 'profiles/shop.yaml')
  const plain = readFileSync(path, 'utf8').replace('pipeline: plain', 'pipeline: small')
  for (const [at, start] of STARTS.entries()) {
    writeFileSync(join(here, 'tools/start'), `${start}\necho is up\nexec /bin/busybox sleep 1000000\n`)
    writeFileSync(
      path,
      `${plain}version: "${at + 1}"
dataSchema: ${SCHEMAS[at]}
data: [{name: keep, size: 8M, paths: [/srv/keep]}]
files: [{path: /bin/busybox, from: ../tools/busybox, mode: 0755}, {path: /srv/start, from: ../tools/start}]
`,
    )
    await must('lock', 'shop')
    await must('build', 'shop')
  }
  let controller: ChildProcess | undefined
  try {
    await must('rollout', 'start', 'shops', '--to', 'g1', '--wait')
    for (const name of GUESTS) writeFileSync(keep(name, 'table'), `rows of ${name}\n`)

    // A canary that never comes up goes back with its data, and nobody else moves.
    group('10s')
    const plan = await must('rollout', 'plan', 'shops', '--to', 'g2')
    assert.match(plan, /^copies data: shops: shop-1, shop-2$/m)
    const failed = await say('rollout', 'start', 'shops', '--to', 'g2', '--wait', '--history', 'fleet.ndjson')
    assert.equal(failed.code, 1, failed.text)
    assert.match(failed.text, /rolled-back/)
    assert.equal(readFileSync(keep('shop-1', 'table'), 'utf8'), 'rows of shop-1\n')
    assert.equal(readFileSync(keep('shop-1', 'log'), 'utf8'), 'one\none\n')
    await waitFor('no copy is left', async () => !existsSync(own('shop-1').file('before')))

    // The first wave serves, the second does not come up: what the first has written since is not dropped unasked.
    group('5m')
    writeFileSync(keep('shop-2', 'broken'), '')
    await must('rollout', 'start', 'shops', '--to', 'g3')
    controller = spawn(process.execPath, [MAIN, 'rollout', 'run', '--history', 'fleet.ndjson'], {
      cwd: here,
      env: { ...process.env, STAGE5_STORE: join(here, '.store') },
      stdio: 'ignore',
    })
    await waitFor('it pauses', async () =>
      /no way back: shop-1: .*rollback --restore-data/.test((await say('rollout', 'status')).text),
    )
    assert.equal(readFileSync(keep('shop-1', 'table'), 'utf8'), 'migrated\n')
    assert.equal(readFileSync(keep('shop-2', 'table'), 'utf8'), 'rows of shop-2\n')
    assert.match(await must('guest', 'show', 'shop-1'), /^copy +r3-g3-\w+: its data from before that/m)
    const refused = await say('rollout', 'rollback')
    assert.equal(refused.code, 1, refused.text)
    assert.match(
      refused.text,
      /rollback r3 --restore-data drops what guests wrote since[^]*S5_ROLLOUT_REFUSED/,
    )
    await must('rollout', 'rollback', '--restore-data')
    await waitFor('it is back', async () => /^r3 rolled-back/m.test((await say('rollout', 'status')).text))
    for (const name of GUESTS) {
      assert.equal(readFileSync(keep(name, 'table'), 'utf8'), `rows of ${name}\n`)
      assert.match(own(name).pointer('good'), /^g1-/)
    }
    await waitFor('no copy is left', async () =>
      GUESTS.every((name) => !existsSync(own(name).file('before'))),
    )
  } finally {
    if (controller?.exitCode === null) {
      const gone = once(controller, 'exit')
      controller.kill('SIGTERM')
      await gone
    }
    for (const name of GUESTS) await say('guest', 'stop', name)
  }
  await must('rollout', 'check', 'fleet.ndjson')
})
