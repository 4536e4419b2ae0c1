/** `dataSchema:` of a profile from the build to the rollout that it stops, with guests of the driver exec. */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { expectConsole, type Ran, stage5 } from '../helpers/console.ts'
import { packedProject, type Project } from '../helpers/project.ts'

const GUESTS = resolve(import.meta.dirname, '../helpers/fr-exec.ts')

let project: Project
const at = (path: string): string => join(project.directory, path)

before(async () => {
  project = await packedProject()
  mkdirSync(at('groups'))
  const driver = `{kind: exec, command: [${process.execPath}, ${GUESTS}, ${project.directory}/truth]}`
  writeFileSync(
    at('groups/web.yaml'),
    `profile: word\nguests: [web-1]\ndriver: ${driver}\nsoak: 1s\ntimeouts: {boot: 5m, recover: 5m}\n`,
  )
  await build('1', '{reads: [3, 5], writes: 5}')
  await build('2', '{reads: [5, 6], writes: 6}')
})
after(() => project[Symbol.dispose]())

async function build(version: string, dataSchema: string): Promise<void> {
  const lines = [
    ...['repositories: [house]', 'packages: [app/shell]', 'kernel: none', 'images: [squashfs]'],
    ...['pipeline: plain', `version: "${version}"`, `dataSchema: ${dataSchema}`],
  ]
  writeFileSync(at('profiles/word.yaml'), `${lines.join('\n')}\n`)
  await must('build', 'word')
}

async function must(...words: string[]): Promise<Ran> {
  const ran = await stage5(project.directory, words)
  assert.equal(ran.code, 0, ran.stderr)
  return ran
}

/** Digest of what the guest really runs. */
function running(): string {
  return (JSON.parse(readFileSync(at('truth/web-1.json'), 'utf8')) as { runs: string }).runs
}

test('a guest goes over a change of its data only when somebody says so, and then not back', async (t) => {
  const all = JSON.parse((await must('generations', 'word', '--json')).stdout) as {
    name: string
    manifest: string
    dataSchema: unknown
  }[]
  const [old, young] = all
  assert.deepEqual(
    all.map((one) => one.dataSchema),
    [
      { reads: [3, 5], writes: 5 },
      { reads: [5, 6], writes: 6 },
    ],
  )
  await must('rollout', 'start', 'web', '--to', 'g1', '--wait')
  assert.equal(running(), old?.manifest)

  await expectConsole(t, 'data-schema-plan', project.directory, ['rollout', 'plan', 'web'])
  await expectConsole(t, 'data-schema-start', project.directory, ['rollout', 'start', 'web'])
  await must('rollout', 'start', 'web', '--irreversible', '--wait', '--history', 'fleet.ndjson')
  assert.equal(running(), young?.manifest)

  await expectConsole(t, 'data-schema-rollback', project.directory, ['rollout', 'rollback', 'r2'])
  const words = ['rollout', 'start', 'web', '--to', 'g1', '--irreversible']
  await expectConsole(t, 'data-schema-back', project.directory, words)
  assert.equal(running(), young?.manifest)

  // The same by hand, where the guest's folder says what it ran last.
  symlinkSync(join('gen', young?.name ?? ''), at('.stage5/guests/web-1/good'))
  const start = ['guest', 'start', 'web-1', '--generation', 'word/g1']
  await expectConsole(t, 'data-schema-guest-start', project.directory, start)
  assert.equal(running(), young?.manifest)
  rmSync(at('.stage5/guests/web-1/good'))

  // The way on: one that reads both goes without a word, and back again.
  await build('3', '{reads: [5, 7], writes: 6}')
  await must('rollout', 'start', 'web', '--wait', '--history', 'fleet.ndjson')
  assert.notEqual(running(), young?.manifest)
  await must('rollout', 'rollback', 'r3')
  await must('rollout', 'check', 'fleet.ndjson')
})
