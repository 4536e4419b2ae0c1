/** `stage5 diff --group`: what guests run by their folders, by the fleet's engine, and by what they show themselves. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { expectConsole, type Ran, stage5 } from '../helpers/console.ts'
import { FILED, packedProject, type Project } from '../helpers/project.ts'

const GUESTS = resolve(import.meta.dirname, '../helpers/fr-exec.ts')

interface Told {
  readonly after: string
  readonly runs: readonly {
    readonly generation: string
    readonly guests: readonly string[]
    readonly comparison: {
      readonly before: string
      readonly users: unknown
      readonly services: unknown
    } | null
  }[]
  readonly already: readonly string[]
  readonly unknown: readonly string[]
}

let project: Project
const at = (path: string): string => join(project.directory, path)

before(async () => {
  project = await packedProject()
  writeFileSync(at('stages/filed.yaml'), FILED)
  mkdirSync(at('groups'))
  await build('root:x:0:0::/:/bin/sh')
  await build('root:x:0:0::/:/bin/sh\\nweb:x:7:7::/:/bin/sh', 'web.service')
  await build('root:x:0:0::/:/bin/sh\\nweb:x:7:7::/:/bin/sh\\nnew:x:8:8::/:/bin/sh', 'web.service')
})
after(() => project[Symbol.dispose]())

async function build(accounts: string, unit?: string): Promise<void> {
  const lines = [
    ...['repositories: [house]', 'packages: [app/shell]', 'kernel: none', 'images: [squashfs]'],
    ...['pipeline: filed', 'files:', `  - {path: /etc/passwd, content: "${accounts}\\n"}`],
    ...(unit === undefined ? [] : [`  - {path: /usr/lib/systemd/system/${unit}, content: one}`]),
  ]
  writeFileSync(at('profiles/word.yaml'), `${lines.join('\n')}\n`)
  await run('build', 'word')
}

async function run(...words: string[]): Promise<Ran> {
  const ran = await stage5(project.directory, words)
  assert.equal(ran.code, 0, ran.stderr)
  return ran
}

async function told(...words: string[]): Promise<Told> {
  return JSON.parse((await run('diff', '--group', 'web', ...words, '--json')).stdout) as Told
}

interface Listed {
  readonly name: string
  readonly manifest: string
  readonly directory: string
}

async function generations(): Promise<readonly [Listed, Listed, Listed]> {
  return JSON.parse((await run('generations', 'word', '--json')).stdout) as [Listed, Listed, Listed]
}

function writeGroup(guests: string): void {
  const driver = `{kind: exec, command: [${process.execPath}, ${GUESTS}, ${project.directory}/truth]}`
  const rest = 'soak: 1s\nwaves: [100%]\nmaxUnavailable: 100%\ntimeouts: {boot: 5m, recover: 5m}\n'
  writeFileSync(at('groups/web.yaml'), `profile: word\nguests: [${guests}]\ndriver: ${driver}\n${rest}`)
}

test('each generation that guests run is compared once, with its guests named', async (t) => {
  const [first, second, third] = await generations()
  // The engine knows web-1 and web-2.
  writeGroup('web-1, web-2')
  await run('rollout', 'start', 'web', '--to', 'g1', '--wait')
  // These never met the engine: web-3 shows what it runs, web-4 and web-5 have folders here, web-6 was never started.
  writeGroup('"web-{1..6}"')
  writeFileSync(at('truth/web-3.json'), JSON.stringify({ runs: second.manifest, pointer: 'good', boots: 1 }))
  for (const [guest, { name }] of [
    ['web-4', first],
    ['web-5', third],
  ] as const) {
    mkdirSync(at(`.stage5/guests/${guest}`), { recursive: true })
    symlinkSync(join('gen', name), at(`.stage5/guests/${guest}/good`))
  }
  const { after: to, runs, already, unknown } = await told()
  assert.equal(to, `word/${third.name}`)
  assert.deepEqual(
    runs.map(({ generation, guests, comparison }) => [generation, guests, comparison?.users]),
    [
      [first.name, ['web-1', 'web-2', 'web-4'], { added: ['new', 'web'], removed: [], changed: [] }],
      [second.name, ['web-3'], { added: ['new'], removed: [], changed: [] }],
    ],
  )
  assert.deepEqual(runs[0]?.comparison?.services, { added: ['web.service'], removed: [], changed: [] })
  assert.deepEqual([already, unknown], [['web-5'], ['web-6']])
  await expectConsole(t, 'diff-group', project.directory, ['diff', '--group', 'web'])
  await expectConsole(t, 'diff-group-markdown', project.directory, ['diff', '--group', 'web', '--markdown'])

  const back = await told('--to', 'g2')
  assert.equal(back.after, `word/${second.name}`)
  assert.deepEqual(back.already, ['web-3'])
  assert.deepEqual(
    back.runs.map(({ generation, guests }) => [generation, guests]),
    [
      [first.name, ['web-1', 'web-2', 'web-4']],
      [third.name, ['web-5']],
    ],
  )
})

test('a generation without its folder is named, and the others are compared', async () => {
  const [first, second] = await generations()
  rmSync(first.directory, { recursive: true })
  const { runs } = await told()
  assert.deepEqual(
    runs.map(({ generation, comparison }) => [generation, comparison?.before]),
    [
      [first.name, undefined],
      [second.name, `word/${second.name}`],
    ],
  )
  assert.match((await run('diff', '--group', 'web')).stdout, /-> g3.*\nits output folder is gone/)
})

test('an engine that is not there is not made, and words that do not fit are refused', async (t) => {
  const database = at('.stage5/fleet.db')
  const kept = readFileSync(database)
  rmSync(database)
  rmSync(`${database}-wal`, { force: true })
  assert.deepEqual((await told()).already, ['web-5'])
  assert.ok(!existsSync(database))
  writeFileSync(database, kept)
  await expectConsole(t, 'diff-group-unknown', project.directory, ['diff', '--group', 'wbe'])
  await expectConsole(t, 'diff-group-more', project.directory, ['diff', 'word', '--group', 'web'])
  await expectConsole(t, 'diff-one', project.directory, ['diff', 'word'])
})
