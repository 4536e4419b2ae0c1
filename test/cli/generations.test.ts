/** Generations as a user meets them: added by builds, named, pinned, pruned; two builds at once. */
import assert from 'node:assert/strict'
import {
  cpSync,
  existsSync,
  globSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { writeBootRecord } from '../../src/cli/boot-record.ts'
import { privateKeyOf } from '../../src/cli/keys.ts'
import { digestOf } from '../../src/base/digest.ts'
import { findGeneration } from '../../src/cli/generations.ts'
import { openWorld } from '../../src/cli/world.ts'
import { openStore } from '../../src/store/store.ts'
import { expectConsole, stage5 } from '../helpers/console.ts'
import { FILED, packedProject, type Project, wordProfile } from '../helpers/project.ts'

interface Listed {
  readonly line: string
  readonly seq: number
  readonly name: string
  readonly directory: string
  readonly manifest: string
  readonly version: string
  readonly pinned: boolean
  readonly isHead: boolean
  readonly isGone: boolean
}

const FIXTURE = resolve(import.meta.dirname, '../fixtures/project')
let project: Project
const at = (path: string): string => join(project.directory, path)

before(async () => {
  project = await packedProject()
  writeFileSync(at('stages/filed.yaml'), FILED)
})
after(() => project[Symbol.dispose]())
beforeEach(() => {
  rmSync(at('.stage5'), { recursive: true, force: true })
  rmSync(at('out'), { recursive: true, force: true })
  writeShop('one')
})

/** A profile whose image changes with `text`, and its version too unless that is given. */
function writeShop(text: string, version?: string): void {
  const more = [
    ...(version === undefined ? [] : [`version: "${version}"`]),
    'variants:',
    '  ssl: {files: [{path: /etc/ssl, content: yes}]}',
  ]
  writeFileSync(at('profiles/word.yaml'), wordProfile(text, ...more))
}

async function run(...words: string[]): Promise<string> {
  const ran = await stage5(project.directory, words)
  assert.equal(ran.code, 0, ran.stderr)
  return ran.stdout
}

async function codeOf(...words: string[]): Promise<string> {
  const { stdout } = await stage5(project.directory, [...words, '--json'])
  return (JSON.parse(stdout) as { error: { code: string } }).error.code
}

async function list(...words: string[]): Promise<readonly Listed[]> {
  return JSON.parse(await run('generations', ...words, '--json')) as Listed[]
}

async function build(text: string, version?: string): Promise<void> {
  writeShop(text, version)
  await run('build', 'word')
}

test('a build adds one, an equal build adds none, and what is said of it', async (t) => {
  await build('one')
  await build('one')
  await build('two')
  await run('build', 'word@ssl')
  const all = await list()
  assert.deepEqual(
    all.map(({ line, seq, isHead }) => [line, seq, isHead]),
    [
      ['word', 1, false],
      ['word', 2, true],
      ['word-ssl', 1, true],
    ],
  )
  for (const one of all) {
    const [manifest] = globSync(join(one.directory, '*.manifest.json'))
    const digest = digestOf(readFileSync(manifest as string))
    assert.equal(one.manifest, digest)
    assert.equal(one.name, `g${one.seq}-${digest.slice(7, 19)}`)
  }
  await run('generations', 'pin', 'word/g1')
  await expectConsole(t, 'generations', project.directory, ['generations'])
  await expectConsole(t, 'generations-unknown', project.directory, ['generations', 'wrod'])
})

test('every way to name one finds it', async () => {
  await build('one')
  await build('two')
  await run('build', 'word@ssl')
  const [first, second, ssl] = (await list()) as [Listed, Listed, Listed]
  const words: [string, Listed][] = [
    ['word', second],
    ['word/latest', second],
    ['word/g1', first],
    ['word/1', first],
    [`word/${first.version}`, first],
    [`word/${first.name}`, first],
    [first.name, first],
    [first.name.slice(0, 8), first],
    [first.version, first],
    [first.directory, first],
    ['out/word', second],
    ['word@ssl', ssl],
    ['word-ssl/g1', ssl],
  ]
  const world = openWorld(
    { directory: project.directory, offline: true, locked: false, threads: 1 },
    () => {},
    new AbortController().signal,
  )
  for (const [word, expected] of words) {
    const { line, name } = await findGeneration(world, word)
    assert.deepEqual([line, name], [expected.line, expected.name], word)
  }
  for (const word of ['g1-', 'word/g9', 'word/latst', 'nothing', 'g7-00'])
    await assert.rejects(findGeneration(world, word), { code: 'S5_GENERATION_UNKNOWN' })
})

test('prune keeps the newest, the pinned, the young, and what guests use', async () => {
  for (const text of ['one', 'two', 'three', 'four', 'five']) await build(text)
  const all = await list()
  const names = async (): Promise<number[]> => (await list()).map(({ seq }) => seq)
  await run('generations', 'pin', 'word/g1')
  const used = all[1] as Listed
  const store = await openStore(at('.store'))
  await store.setRef('guest:web-1', used.manifest as `sha256:${string}`)
  await store[Symbol.asyncDispose]()

  await run('generations', 'prune', '--keep-days', '1')
  assert.deepEqual(await names(), [1, 2, 3, 4, 5])
  await run('generations', 'prune', '--keep', '1', '--dry-run')
  assert.deepEqual(await names(), [1, 2, 3, 4, 5])
  await run('generations', 'prune', '--keep', '2')
  assert.deepEqual(await names(), [1, 2, 4, 5])
  assert.ok(!existsSync((all[2] as Listed).directory))
  for (const seq of [1, 2, 4, 5]) assert.ok(existsSync((all[seq - 1] as Listed).directory))
  await run('generations', 'prune', '--keep', '0')
  assert.deepEqual(await names(), [1, 2, 5])

  const again = await openStore(at('.store'))
  await again.setRef('guest:web-1', undefined)
  await again[Symbol.asyncDispose]()
  await run('generations', 'unpin', 'word/g1')
  await run('generations', 'prune', 'word', '--keep', '0')
  assert.deepEqual(await names(), [5])
  await build('one')
  assert.deepEqual(await names(), [5, 6])
  assert.equal(await codeOf('generations', 'prune', 'wrod'), 'S5_GENERATION_UNKNOWN')
  assert.equal(await codeOf('generations', 'prune', '--keep', 'all'), 'S5_USAGE')
})

test('the output of a rolled back profile has two generations and goes with the second', async () => {
  await build('one')
  await build('two')
  await build('one')
  const [first, , third] = (await list()) as [Listed, Listed, Listed]
  assert.equal(first.directory, third.directory)
  await run('generations', 'prune', '--keep', '0')
  assert.deepEqual(
    (await list()).map(({ seq, isGone }) => [seq, isGone]),
    [[3, false]],
  )
})

test('other bytes under one version: what was there is gone, and a pinned one is never replaced', async (t) => {
  await build('one', '1')
  writeShop('two', '1')
  const ran = await stage5(project.directory, ['build', 'word'])
  assert.equal(ran.code, 0)
  assert.match(ran.stderr, /word\/g1-[0-9a-f]{12} is gone/)
  assert.deepEqual(
    (await list()).map(({ seq }) => seq),
    [2],
  )
  await run('generations', 'pin', 'word')
  const [before] = (await list()) as [Listed]
  writeShop('three', '1')
  await expectConsole(t, 'generations-pinned', project.directory, ['build', 'word'])
  const [after] = (await list()) as [Listed]
  assert.deepEqual(after, before)
  const [manifest] = globSync(join(after.directory, '*.manifest.json'))
  assert.equal(digestOf(readFileSync(manifest as string)), after.manifest)
  assert.deepEqual(
    globSync(at('out/.*')).map((path) => path.replace(at('out/'), '')),
    [],
  )
})

test('a folder that others removed is told, and pruned', async () => {
  await build('one')
  await build('two')
  const [first] = (await list()) as [Listed]
  rmSync(first.directory, { recursive: true })
  assert.match(await run('generations'), /folder is gone/)
  await run('generations', 'prune', '--keep', '1')
  assert.deepEqual(
    (await list()).map(({ seq }) => seq),
    [2],
  )
})

test('builds at the same time add one each, and no number twice', async () => {
  const names = ['a', 'b', 'c']
  for (const name of names) {
    writeShop(name)
    renameSync(at('profiles/word.yaml'), at(`profiles/at-once-${name}.yaml`))
    const text = readFileSync(at(`profiles/at-once-${name}.yaml`), 'utf8')
    writeFileSync(at(`profiles/at-once-${name}.yaml`), `${text}id: at-once\n`)
  }
  try {
    await Promise.all(names.map((name) => run('build', `at-once-${name}`)))
    assert.deepEqual(
      (await list('at-once')).map(({ seq }) => seq),
      [1, 2, 3],
    )
  } finally {
    for (const name of names) rmSync(at(`profiles/at-once-${name}.yaml`))
  }
})

test('a project that moved has its generations with it', async () => {
  await build('one')
  const moved = `${project.directory}-moved`
  renameSync(project.directory, moved)
  try {
    const { stdout } = await stage5(moved, ['generations', '--json'])
    const [one] = JSON.parse(stdout) as [Listed]
    assert.ok(one.directory.startsWith(moved))
    assert.equal(one.isGone, false)
  } finally {
    renameSync(moved, project.directory)
  }
})

test('a pinned generation stays in the store when its output folder is gone, and can be checked out', async () => {
  await build('one')
  await build('two')
  const [first] = (await list()) as [Listed]
  rmSync(first.directory, { recursive: true })
  rmSync(at('profiles'), { recursive: true })
  const old = async (): Promise<void> => {
    for (const path of globSync(at('.store/v1/segments/*'))) utimesSync(path, 1_600_000_000, 1_600_000_000)
    await run('gc', '--keep-days', '0')
  }
  try {
    await run('generations', 'pin', 'word/g1')
    await old()
    await run('checkout', 'word/g1', 'kept')
    assert.equal(readFileSync(at('kept/etc/text'), 'utf8'), 'one')
    rmSync(at('kept'), { recursive: true })
    await run('generations', 'unpin', 'word/g1')
    await old()
    assert.equal(await codeOf('checkout', 'word/g1', 'gone'), 'S5_STORE_DAMAGED')
  } finally {
    cpSync(join(FIXTURE, 'profiles'), at('profiles'), { recursive: true })
  }
})

test('a record that is none is named', async () => {
  await build('one')
  const [path] = globSync(at('.stage5/generations/word/*.json'))
  writeFileSync(path as string, '{"stage5": 9}\n')
  assert.equal(await codeOf('generations'), 'S5_GENERATION_UNKNOWN')
})

/** A profile whose files are accounts, units and links besides. */
function writeUnits(...lines: string[]): void {
  writeShop('units')
  const path = at('profiles/word.yaml')
  const text = readFileSync(path, 'utf8')
  writeFileSync(path, text.replace('files:\n', `files:\n${lines.map((line) => `  - ${line}\n`).join('')}`))
}

async function buildTwo(): Promise<void> {
  writeUnits(
    '{path: /etc/passwd, content: "root:x:0:0::/:/bin/sh\\nold:x:5:5::/:/bin/sh\\nweb:x:7:7::/:/bin/sh\\n"}',
    '{path: /etc/systemd/system/old.service, content: old}',
    '{path: /usr/lib/systemd/system/web.service, content: one}',
  )
  await run('build', 'word')
  writeUnits(
    '{path: /etc/passwd, content: "root:x:0:0::/:/bin/sh\\nweb:x:7:7::/srv:/bin/sh\\nnew:x:9:9::/:/bin/sh\\n"}',
    '{path: /usr/lib/systemd/system/web.service, content: two}',
    '{path: /usr/lib/systemd/system/new.timer, content: "n|w"}',
    '{path: /etc/systemd/system/timers.target.wants/new.timer, link: /usr/lib/systemd/system/new.timer}',
  )
  await run('build', 'word')
}

test('diff of two generations, for people, for a ticket and for a program', async (t) => {
  await buildTwo()
  await expectConsole(t, 'diff-generations', project.directory, ['diff', 'word/g1', 'word/latest'])
  await expectConsole(t, 'diff-markdown', project.directory, ['diff', 'word/1', 'word/2', '--markdown'])
  const found = JSON.parse(await run('diff', 'word/g1', 'word/g2', '--json')) as Record<string, unknown>
  assert.deepEqual(found['users'], { added: ['new'], removed: ['old'], changed: ['web'] })
  assert.deepEqual(found['services'], {
    added: ['new.timer'],
    removed: ['old.service'],
    changed: ['web.service'],
  })
  assert.deepEqual(found['enabled'], { added: ['timers.target.wants/new.timer'], removed: [], changed: [] })
  // Without the store, accounts are not known; everything else is read from the outputs.
  rmSync(at('.store'), { recursive: true })
  const without = JSON.parse(await run('diff', 'word/g1', 'word/g2', '--json')) as Record<string, unknown>
  assert.deepEqual(without, { ...found, users: null })
})

test('generations are checked out, and sent as deltas', async () => {
  await buildTwo()
  await run('checkout', 'word/g1', 'root-1')
  await run('checkout', 'word', 'root-2')
  assert.equal(readFileSync(at('root-1/usr/lib/systemd/system/web.service'), 'utf8'), 'one')
  assert.equal(readFileSync(at('root-2/usr/lib/systemd/system/web.service'), 'utf8'), 'two')
  const [first, second] = (await list()) as [Listed, Listed]
  const image = ({ directory }: Listed): string => globSync(join(directory, '*.squashfs'))[0] as string
  await run('delta', 'word/g1', 'word', '-o', 'd.delta')
  await run('patch', first.name, 'd.delta', '-o', 'new.squashfs')
  assert.deepEqual(readFileSync(at('new.squashfs')), readFileSync(image(second)))
  for (const words of [
    ['checkout', 'word/g9', 'root-9'],
    ['delta', 'word/g9', 'word', '-o', 'x'],
    ['diff', 'word/g9', 'word/g1'],
    ['boot', '--generation', 'word/g9'],
  ])
    assert.equal(await codeOf(...words), 'S5_GENERATION_UNKNOWN', words.join(' '))
  assert.equal(await codeOf('boot', '--generation', 'word/g1'), 'S5_KERNEL_MISSING')
  assert.equal(await codeOf('boot', 'word', '--generation', 'word/g1'), 'S5_USAGE')
  for (const name of ['root-1', 'root-2', 'd.delta', 'new.squashfs']) rmSync(at(name), { recursive: true })
})

test('a boot record counts with a trusted key, and stays while the bytes stay', async () => {
  await build('one')
  const [one] = (await list()) as [Listed]
  await run('key', 'new', 'release')
  const world = openWorld(
    { directory: project.directory, offline: true, locked: false, threads: 1 },
    () => {},
    new AbortController().signal,
  )
  const key = await privateKeyOf(world, 'release')
  const body = {
    stage5: 1,
    image: { id: 'word', version: one.version, arch: 'amd64' },
    manifest: one.manifest as `sha256:${string}`,
    files: [],
    results: [{ name: 'ready', image: 'kernel', firmware: '', result: 'passed', checks: 1, ms: 1 }],
    passed: true,
    qemu: 'QEMU',
    accel: 'tcg',
  } as const
  await writeBootRecord(one.directory, `word_${one.version}`, body, key)
  const bootedOf = async (): Promise<unknown> => (await findGeneration(world, 'word')).booted
  const record = join(one.directory, `word_${one.version}.boot.json`)
  assert.deepEqual(await bootedOf(), { record, ok: true })
  // Built again: the same bytes, so what was seen of them still holds.
  await run('build', 'word')
  assert.deepEqual(await bootedOf(), { record, ok: true })
  renameSync(at('.stage5/keys/release.pub'), at('.stage5/keys/release.away'))
  assert.deepEqual(await bootedOf(), { record, ok: false })
  await build('two')
  assert.equal(await bootedOf(), undefined)
})
