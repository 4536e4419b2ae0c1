/** `stage5 rollout` as people type it, on guests that the driver exec runs. */
import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { expectConsole, type Ran, stage5 } from '../helpers/console.ts'
import { packedProject, type Project } from '../helpers/project.ts'

let project: Project

const GUESTS = resolve(import.meta.dirname, '../helpers/fr-exec.ts')

const WEB = "guests: ['web-{1..2}']\nwaves: [1, 100%]"

before(async () => {
  project = await packedProject()
  await must('lock', 'shop')
  await must('build', 'shop')
  mkdirSync(join(project.directory, 'groups'))
  writeGroup('web', WEB)
  writeGroup('db', 'guests: [db-1]\napprovers: [alice]\nwaves: [1]\nrequire: booted')
  writeGroup('stuck', 'guests: [stuck-1]\nminAvailable: 1')
  const own = 'stage5: 1\nprofile: shop\nguests: [own-1]\ndriver: pull\n'
  writeFileSync(join(project.directory, 'groups/own.yaml'), own)
})
after(() => project[Symbol.dispose]())

/** @param boot how long a guest may take to become healthy */
function writeGroup(name: string, more: string, boot = '2m'): void {
  const { directory } = project
  const driver = `driver: {kind: exec, command: [${process.execPath}, ${GUESTS}, ${directory}/truth]}`
  const text = `stage5: 1\nprofile: shop\n${driver}\nsoak: 1s\ntimeouts: {boot: ${boot}, recover: 2m}\n${more}\n`
  writeFileSync(join(directory, `groups/${name}.yaml`), text)
}

function run(...words: string[]): Promise<Ran> {
  return stage5(project.directory, words, { SOURCE_DATE_EPOCH: '1700000000' })
}

async function must(...words: string[]): Promise<Ran> {
  const ran = await run(...words)
  assert.equal(ran.code, 0, ran.stderr)
  return ran
}

async function generation(seq: number): Promise<{ name: string; manifest: string }> {
  const { stdout } = await must('generations', 'shop', '--json')
  const all = JSON.parse(stdout) as { seq: number; name: string; manifest: string }[]
  const found = all.find((one) => one.seq === seq)
  assert.ok(found)
  return found
}

const REFUSALS: readonly (readonly [string, readonly string[]])[] = [
  ['rollout-usage', ['rollout', 'begin']],
  ['rollout-none', ['rollout', 'pause']],
  ['rollout-unknown', ['rollout', 'status', 'r9']],
  ['rollout-group-unknown', ['rollout', 'start', 'wbe']],
  ['rollout-booted', ['rollout', 'start', 'db']],
  ['rollout-no-room', ['rollout', 'start', 'stuck']],
  ['rollout-pull', ['rollout', 'start', 'own']],
  ['rollout-pull-plan', ['rollout', 'plan', 'own']],
  ['rollout-pull-beside', ['rollout', 'start', 'web', 'own']],
  ['rollout-history-missing', ['rollout', 'check', 'no.ndjson']],
]

for (const [name, words] of REFUSALS)
  test(`stage5 ${words.join(' ')} is refused`, async (t) => {
    const plain = await expectConsole(t, name, project.directory, words)
    assert.notEqual(plain.code, 0)
  })

test('a plan names waves and guests, and writes nothing', async () => {
  const { stdout } = await must('rollout', 'plan', 'web')
  assert.match(stdout, /^shop\/g1-\w{12} \(/)
  assert.match(stdout, /web: 2 guests, at most 1 away at once/)
  assert.match(stdout, /wave-1 +1 {2}web: web-\d\nall +1 {2}web: web-\d\n/)
  assert.match((await must('rollout', 'status')).stdout, /no rollout yet/)
})

test('guests get their first generation; a bad one stops at the canary, goes back, and is reported', async () => {
  const first = await run('rollout', 'start', 'web', '--wait', '--history', 'fleet.ndjson')
  assert.equal(first.code, 0, first.stderr)
  assert.match(first.stdout, /^r1 completed: 2 of 2 run g1-\w{12}\n/)
  assert.match(first.stderr, /^r1: g1-\w{12} for web\nr1 prefetch/)

  const profile = join(project.directory, 'profiles/shop.yaml')
  writeFileSync(profile, readFileSync(profile, 'utf8').replace('packages:', 'version: "2"\npackages:'))
  await must('lock', 'shop')
  await must('build', 'shop')
  const { manifest, name } = await generation(2)
  writeFileSync(join(project.directory, 'truth/sick'), manifest)
  writeGroup('web', WEB, '8s')
  const bad = await run('rollout', 'start', 'web', '--to', 'g2', '--wait', '--history', 'fleet.ndjson')
  assert.equal(bad.code, 1, bad.stderr)
  assert.match(
    bad.stdout,
    /^r2 rolled-back: 0 of 2 run g2-\w{12}, 1 failed, no guest of wave-1 came up; web-\d: not healthy on g2-\w{12} in 8 s: GET \/ said 500\n/,
  )
  assert.match(bad.stdout, /wave-1 +1 +0 +1 +stopped\nall +1 +0 +not reached\n/)
  const guests = ['web-1', 'web-2'].map(
    (guest) =>
      JSON.parse(readFileSync(join(project.directory, `truth/${guest}.json`), 'utf8')) as {
        runs: string
        boots: number
      },
  )
  assert.ok(
    guests.every(({ runs }) => runs !== manifest),
    'everybody runs the old generation',
  )
  assert.deepEqual(
    guests.map(({ boots }) => boots).sort((a, b) => a - b),
    [1, 3],
    'one guest went there and back',
  )
  assert.equal((await run('rollout', 'status')).code, 1)

  const refused = await run('rollout', 'pause')
  assert.equal(refused.code, 1)
  assert.match(
    refused.stderr,
    /r2 is rolled-back \(no guest[^]*there is nothing to pause[^]*S5_ROLLOUT_REFUSED/,
  )

  await must('rollout', 'report', '-o', 'report.html')
  const html = readFileSync(join(project.directory, 'report.html'), 'utf8')
  assert.ok(html.includes(`<h1>shop to <span class="mono">${name}</span></h1>`))
  assert.match(html, /Stopped in wave-1/)

  const clean = await must('rollout', 'check', 'fleet.ndjson')
  assert.match(
    clean.stdout,
    /fleet.ndjson: \d+ revisions, 2 guests, 3 restarts granted, 2 leaders: nothing that must not be/,
  )
  copyFileSync(join(project.directory, 'fleet.ndjson'), join(project.directory, 'forged.ndjson'))
  const history = readFileSync(join(project.directory, 'fleet.ndjson'), 'utf8')
  writeFileSync(
    join(project.directory, 'forged.ndjson'),
    history.replace('\\"state\\":\\"granted\\"', '\\"state\\":\\"lost\\"'),
  )
  const forged = await run('rollout', 'check', 'forged.ndjson')
  assert.equal(forged.code, 1)
  assert.match(forged.stdout, /web-\d went from staged to lost/)
})

test('a rollout is paused, resumed and aborted by words, without a controller', async () => {
  await must('rollout', 'start', 'web', '--to', 'g2')
  const paused = await must('rollout', 'pause', '--reason', 'lunch')
  assert.match(paused.stdout, /^r3: paused: lunch \(/)
  assert.equal((await run('rollout', 'status')).code, 4)
  assert.match((await must('rollout', 'resume')).stdout, /^r3: goes on \(prefetch\)/)
  const { code, stdout } = await run('rollout', 'status', 'r3')
  assert.equal(code, 3)
  assert.match(stdout, /web-\d +steady +g1-\w{12} +not healthy on g2/)
  await must('rollout', 'start', 'web', '--to', 'g1')
  assert.match((await run('rollout', 'status', 'r3')).stdout, /^r3 superseded: .*by r4\n/)
  assert.match((await must('rollout', 'abort')).stdout, /^r4: aborted: asked \(/)
})

test('an approval is signed with a key of somebody whom the group names', async () => {
  writeGroup('db', 'guests: [db-1, db-2]\napprovers: [alice]\nwaves: [1, 100%]')
  await must('rollout', 'start', 'db', '--to', 'g1')
  const nobody = await run('rollout', 'approve')
  assert.equal(nobody.code, 1)
  assert.match(nobody.stderr, /r5 is approved with a key of alice, found none/)
  await must('key', 'new', 'alice')
  assert.match(
    (await must('rollout', 'approve', '--key', 'alice')).stdout,
    /^r5: alice approved g1-\w{12} up to wave 1\n/,
  )
  const done = await run('rollout', 'status', '--json')
  const { shown } = JSON.parse(done.stdout) as {
    shown: { rollout: { approvals: { by: string; sig: string }[] } }
  }
  assert.equal(shown.rollout.approvals[0]?.by, 'alice')
  await must('rollout', 'abort')
  const web = await run('rollout', 'start', 'web', '--to', 'g1')
  assert.equal(web.code, 0)
  assert.match((await run('rollout', 'approve', '--key', 'alice')).stderr, /nobody has to approve r6/)
  await must('rollout', 'abort')
})
