/** Bad machines: a full disk and a missing tool end in one clear error, and nothing is half written. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { stage5 } from '../helpers/console.ts'
import { emptyProject, packedProject } from '../helpers/project.ts'

test('a missing tool is named with the line that installs it', async () => {
  using project = emptyProject()
  const words = ['pack', 'apps/shop', '--name', 'app/shop', '--version', '1.0.0', '--out', 'packages']
  const { code, stderr } = await stage5(project.directory, words, {
    PATH: join(project.directory, 'nothing'),
  })
  assert.equal(code, 1)
  assert.match(stderr, /tar.*[\s\S]*apt install tar[\s\S]*S5_TOOL_MISSING/)
  assert.deepEqual(
    existsSync(join(project.directory, 'packages')) ? readdirSync(join(project.directory, 'packages')) : [],
    [],
  )
})

test('a store that cannot be where it is said to be is named', async () => {
  using project = emptyProject()
  const path = join(project.directory, 'profiles/shop.yaml/store')
  for (const words of [
    ['store', 'stats'],
    ['plan', 'shop'],
  ]) {
    const { code, stderr } = await stage5(project.directory, words, { STAGE5_STORE: path })
    assert.equal(code, 1, stderr)
    assert.ok(stderr.includes(path), stderr)
    assert.match(stderr, /S5_DISK_FAILED/)
  }
})

test('files that somebody named and that cannot be are named back, and nothing is left of them', async () => {
  using project = await packedProject()
  const { directory } = project
  const run = (...words: string[]) => stage5(directory, words)
  for (const profile of ['shop', 'shop@ssl']) assert.equal((await run('build', profile)).code, 0)
  mkdirSync(join(directory, 'folder'))
  writeFileSync(join(directory, 'file'), 'x')
  const before = readdirSync(directory)
  const delta = ['delta', 'out/shop', 'out/shop-ssl', '-o']
  for (const [words, message] of [
    [['plan', 'shop', '--trace', 'nowhere/x'], /nowhere\/x: ENOENT[^]*S5_DISK_FAILED/],
    [['plan', 'shop', '--trace', 'folder'], /folder: EISDIR[^]*S5_DISK_FAILED/],
    [['checkout', 'shop', 'file/x'], /file\/x: E[^]*S5_DISK_FAILED/],
    [[...delta, 'nowhere/x'], /nowhere\/x: ENOENT[^]*S5_DISK_FAILED/],
    [[...delta, 'folder'], /folder: EISDIR[^]*S5_DISK_FAILED/],
    [['patch', 'file', 'folder', '-o', 'x'], /expected a file, found the folder folder[^]*S5_FILE_MISSING/],
    [['patch', 'file', 'none', '-o', 'x'], /there is no file none[^]*S5_FILE_MISSING/],
    [['convert', 'folder'], /expected a file, found the folder folder[^]*S5_FILE_MISSING/],
    [['config', 'seed', 'folder'], /expected a file, found the folder folder[^]*S5_FILE_MISSING/],
    [['rollout', 'check', 'folder'], /expected a file, found the folder folder[^]*S5_FILE_MISSING/],
  ] as const) {
    const { code, stderr } = await run(...words)
    assert.equal(code, 1, `${words.join(' ')}: ${stderr}`)
    assert.match(stderr, message)
  }
  assert.deepEqual(readdirSync(directory), before)
  assert.deepEqual(readdirSync(join(directory, 'folder')), [])
})

test('without a home that may be written to, the way to another store is named', {
  skip: process.getuid?.() === 0 ? undefined : 'needs root, to become somebody else',
}, () => {
  const main = join(import.meta.dirname, '../../src/main.js')
  const somebody = ['--reuid', '65534', '--regid', '65534', '--clear-groups', '--no-new-privs']
  const { status, stderr } = spawnSync('setpriv', [...somebody, process.execPath, main, 'store', 'stats'], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], HOME: '/nonexistent' },
    cwd: '/',
  })
  assert.equal(status, 1, stderr)
  assert.match(stderr, /\/nonexistent.*\n {2}hint: STAGE5_STORE=DIR .*\n.*S5_FILE_FORBIDDEN/)
})

test('a manifest that is damaged says what is wrong with it, whoever reads it', async () => {
  using project = await packedProject()
  const { directory } = project
  assert.equal((await stage5(directory, ['build', 'shop'])).code, 0)
  const out = join(directory, 'out/shop')
  const path = join(out, readdirSync(out).find((name) => name.endsWith('.manifest.json')) as string)
  const whole = readFileSync(path, 'utf8')
  const without = (key: string): string =>
    JSON.stringify(JSON.parse(whole, (name, value: unknown) => (name === key ? undefined : value)))
  const readers = [
    ['boot', 'shop', '--accel', 'tcg'],
    ['diff', 'out/shop', 'out/shop'],
    ['generations', 'shop'],
  ] as const
  const damaged = [
    [whole.slice(0, -100), /expected a manifest, found no JSON/],
    ['null', /expected a manifest, found no JSON object/],
    [whole.replace('"stage5": 1', '"stage5": 2'), /expected format 1, found 2/],
    [without('image'), /image: expected id/],
    [without('root'), /root: expected a digest/],
    [without('use'), /packages: expected/],
    [without('role'), /files: expected/],
    [without('ready'), /boot: expected/],
    [without('data'), /boot: expected a list of data disks/],
  ] as const
  for (const [at, [text, message]] of damaged.entries()) {
    writeFileSync(path, text)
    const words = readers[at % readers.length] as readonly string[]
    const { code, stderr } = await stage5(directory, words)
    assert.equal(code, 1, `${words.join(' ')}: ${stderr}`)
    assert.match(stderr, message)
    assert.match(stderr, /S5_OUTPUT_MISSING/)
  }
  writeFileSync(path, whole)
  for (const words of readers.slice(1)) assert.equal((await stage5(directory, words)).code, 0)
})

const skip = process.getuid?.() === 0 ? undefined : 'needs root, to mount a small tmpfs'

test('a full disk ends a build without a trace, and the same command works when there is room', {
  skip,
}, async () => {
  using project = await packedProject()
  const out = join(project.directory, 'out')
  mkdirSync(out)
  assert.equal((await stage5(project.directory, ['lock', 'shop'])).code, 0)
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', out]).status, 0)
  try {
    writeFileSync(join(out, 'fill'), Buffer.alloc(60 << 10))
    const full = await stage5(project.directory, ['build', 'shop'])
    assert.equal(full.code, 1)
    assert.match(full.stderr, /S5_DISK_FULL/)
    assert.deepEqual(readdirSync(out), ['fill'])
    rmSync(join(out, 'fill'))
    assert.equal((await stage5(project.directory, ['build', 'shop'])).code, 0)
  } finally {
    spawnSync('umount', [out])
  }
})

test('a full store is said to be full, and the same command works when there is room', { skip }, async () => {
  using project = await packedProject()
  const store = join(project.directory, '.small-store')
  mkdirSync(store)
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', store]).status, 0)
  try {
    writeFileSync(join(store, 'fill'), Buffer.alloc(244 << 10))
    const full = await stage5(project.directory, ['build', 'shop'], { STAGE5_STORE: store })
    assert.equal(full.code, 1, full.stdout)
    assert.match(full.stderr, /S5_DISK_FULL/)
    rmSync(join(store, 'fill'))
    assert.equal((await stage5(project.directory, ['build', 'shop'], { STAGE5_STORE: store })).code, 0)
  } finally {
    spawnSync('umount', [store])
  }
})
