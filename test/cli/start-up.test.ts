/** What a command reads in before it begins: counts, since milliseconds differ from machine to machine. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { stage5 } from '../helpers/console.ts'
import { packedProject, type Project } from '../helpers/project.ts'

const TOP = resolve(import.meta.dirname, '../..')
let project: Project

before(async () => {
  project = await packedProject()
  assert.equal((await stage5(project.directory, ['lock', 'shop'])).code, 0)
})
after(() => project[Symbol.dispose]())

/** Files below the top that a run of stage5 loads. */
function loadedBy(...words: string[]): readonly string[] {
  const list = join(project.directory, 'loaded')
  const hook = `
    import { registerHooks } from 'node:module'
    import { writeFileSync } from 'node:fs'
    const urls = []
    registerHooks({ load(url, context, next) { urls.push(url); return next(url, context) } })
    process.on('exit', () => writeFileSync(${JSON.stringify(list)}, urls.join('\\n')))`
  const from = `data:text/javascript,${encodeURIComponent(hook)}`
  const { status, stderr } = spawnSync(
    process.execPath,
    ['--import', from, join(TOP, 'src/main.js'), ...words],
    {
      cwd: project.directory,
      env: { ...process.env, STAGE5_STORE: join(project.directory, '.store') },
      encoding: 'utf8',
    },
  )
  assert.equal(status, 0, stderr)
  const urls = readFileSync(list, 'utf8').split('\n')
  return urls.filter((url) => url.startsWith('file:')).map((url) => url.replace(`file://${TOP}/`, ''))
}

test('--version reads in one file', () => {
  assert.deepEqual(loadedBy('--version'), ['src/main.js'])
})

test('what holds much begins once more, in the same process, with little memory for young objects and for what is freed', () => {
  const list = join(project.directory, 'begun')
  const hook = `
    import { appendFileSync } from 'node:fs'
    const { pid, execArgv, env } = process
    const flag = execArgv.find((word) => word.startsWith('--max-semi')) ?? ''
    appendFileSync(${JSON.stringify(list)}, [pid, flag, env.MALLOC_ARENA_MAX, '\\n'].join(' '))`
  const from = `data:text/javascript,${encodeURIComponent(hook)}`
  const run = (...words: string[]): void => {
    const env = { ...process.env, MALLOC_ARENA_MAX: '1', MALLOC_MMAP_THRESHOLD_: '131072' }
    const argv = ['--import', from, join(TOP, 'src/main.js'), ...words]
    const { status, stderr } = spawnSync(process.execPath, argv, {
      cwd: project.directory,
      env,
      encoding: 'utf8',
    })
    assert.equal(status, 0, stderr)
    assert.equal(stderr, '')
  }
  run('build', '--help')
  const [first = '', second = '', ...more] = readFileSync(list, 'utf8').trim().split('\n')
  assert.equal(second.split(' ')[0], first.split(' ')[0])
  assert.match(second, /^\d+ --max-semi-space-size=\d+ 1 ?$/, 'what the user set stays')
  assert.match(first, /^\d+ {2}1/)
  assert.equal(more.length, 0)
  run('plan', '--help')
  const begun = (): number => readFileSync(list, 'utf8').trim().split('\n').length
  assert.equal(begun(), 3)
  run('repo', 'check', '--help')
  assert.equal(begun(), 5, 'a check of a whole repository too')
})

test('a plan with a fresh lock reads in neither what writes images, nor the network, nor a fleet', () => {
  const loaded = loadedBy('plan', 'shop')
  assert.ok(loaded.includes('src/cli/commands/plan.ts'))
  // The arithmetic of guests' memory is what a plan is for.
  const needless =
    /^src\/(?:emit\/(?!memory\.ts)|(?:deploy|engine|fleet)\/)|^src\/jobs\/blocks|\/undici\/|\/commands\/(?!index|plan)/
  assert.deepEqual(
    loaded.filter((path) => needless.test(path)),
    [],
  )
  // The build of the same profile does need them: the test can fail.
  assert.ok(loadedBy('build', 'shop').some((path) => path.startsWith('src/emit/')))
})

test('a checkout of what was emitted reads in nothing that resolves or composes', () => {
  const loaded = loadedBy('checkout', 'shop/g1', 'root')
  assert.ok(loaded.includes('src/store/checkout.ts'))
  const needless =
    /^src\/(?:resolve|stage|repo|pkg|format|jobs|emit|fleet|engine|deploy)\/|\/(?:yaml|undici|semver)\//
  assert.deepEqual(
    loaded.filter((path) => needless.test(path)),
    [],
  )
  // A profile is composed: the test can fail.
  assert.ok(loadedBy('checkout', 'shop', 'other').some((path) => path.startsWith('src/stage/')))
})

test('a question about Gentoo packages reads in nothing of other packages, of the store or of the network', () => {
  const binhosts = [{ name: 'b', packages: [{ CPV: 'a/b-1', KEYWORDS: 'amd64', SLOT: '0' }] }]
  const question = { format: 'stage5-universe/1', binhosts, request: { atoms: ['a/b'] } }
  writeFileSync(join(project.directory, 'question.json'), JSON.stringify(question))
  const loaded = loadedBy('resolve', '--universe', 'question.json')
  assert.ok(loaded.includes('src/resolve/resolve.ts'))
  const needless = /^src\/(?:store|repo|jobs|stage|emit|deploy|engine|fleet)\/|\/(?:undici|semver)\//
  assert.deepEqual(
    loaded.filter((path) => needless.test(path)),
    [],
  )
  // Native packages have semantic versions: the test can fail.
  assert.ok(loadedBy('lock', 'shop').some((path) => path.includes('/semver/')))
})
