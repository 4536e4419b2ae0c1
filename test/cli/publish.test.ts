/** Publishing as a user does it: keys, trust, generations in a folder, channels, and what is refused. */
import assert from 'node:assert/strict'
import { existsSync, globSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { digestOf } from '../../src/base/digest.ts'
import { writeBootRecord } from '../../src/cli/boot-record.ts'
import type { Channel, PublishedGeneration } from '../../src/fleet/channel.ts'
import { loadPrivateKey } from '../../src/host/signing.ts'
import { expectConsole, stage5 } from '../helpers/console.ts'
import { FILED, packedProject, type Project, wordProfile } from '../helpers/project.ts'

let project: Project
const at = (path: string): string => join(project.directory, path)

interface Failed {
  readonly error: { readonly code: string; readonly message: string }
}

async function run<T>(...words: string[]): Promise<T> {
  const ran = await stage5(project.directory, [...words, '--json'])
  assert.equal(ran.code, 0, ran.stderr)
  return JSON.parse(ran.stdout) as T
}

async function fails(code: string, message: RegExp, ...words: string[]): Promise<void> {
  const ran = await stage5(project.directory, [...words, '--json'])
  const { error } = JSON.parse(ran.stdout) as Failed
  assert.deepEqual([ran.code, error.code], [code === 'S5_USAGE' ? 2 : 1, code], ran.stderr)
  assert.match(error.message, message)
}

async function build(text: string): Promise<string> {
  writeFileSync(at('profiles/word.yaml'), wordProfile(text))
  await run('build', 'word')
  const listed = await run<readonly { name: string }[]>('generations', 'word')
  return listed.at(-1)?.name ?? ''
}

const site = (pattern: string): readonly string[] => globSync(pattern, { cwd: at('site') }).sort()
const channelNow = (): Channel => {
  const { version } = (
    JSON.parse(readFileSync(at('site/metadata/timestamp.json'), 'utf8')) as {
      signed: { meta: { 'snapshot.json': { version: number } } }
    }
  ).signed.meta['snapshot.json']
  const snapshot = JSON.parse(readFileSync(at(`site/metadata/${version}.snapshot.json`), 'utf8')) as {
    signed: { meta: Record<string, { version: number }> }
  }
  const number = snapshot.signed.meta['channels.json']?.version
  const channels = JSON.parse(readFileSync(at(`site/metadata/${number}.channels.json`), 'utf8')) as {
    signed: { targets: Record<string, { hashes: { sha256: string } }> }
  }
  const sum = channels.signed.targets['channels/word.json']?.hashes.sha256
  return JSON.parse(readFileSync(at(`site/targets/channels/${sum}.word.json`), 'utf8')) as Channel
}

before(async () => {
  project = await packedProject()
  writeFileSync(at('stages/filed.yaml'), FILED)
  for (const key of ['root1', 'root2', 'release', 'online', 'strange']) await run('key', 'new', key)
})
after(() => project[Symbol.dispose]())

test('before and after trust, the first generation, and a second with its delta', async (t) => {
  const first = await build('one')
  await fails('S5_FILE_MISSING', /nobody is named yet/, 'publish', 'word', '--to', 'site')
  await fails('S5_USAGE', /--to/, 'publish', 'word')
  await fails('S5_USAGE', /threshold/, 'trust', 'init', '--to', 'site', '--root', 'root1', '--threshold', '2')
  await run('trust', 'init', '--to', 'site', '--root', 'root1', '--root', 'root2')
  await fails('S5_PUBLISH_REFUSED', /has a root already/, 'trust', 'init', '--to', 'site', '--root', 'root1')
  await fails(
    'S5_KEY_INVALID',
    /for the role targets/,
    'publish',
    'word',
    '--to',
    'site',
    '--release',
    'strange',
  )
  assert.deepEqual(site('word/*'), [], 'nothing travels that nobody may sign')
  await expectConsole(t, 'publish-first', project.directory, ['publish', 'word', '--to', 'site'])
  await fails('S5_GENERATION_UNKNOWN', /no generation word\/g7/, 'channel', 'word/g7', '--to', 'site')
  await run('channel', 'word', '--to', 'site')
  assert.equal(channelNow().head, first)

  const second = await build('two')
  const { generation } = await run<{ generation: PublishedGeneration }>('publish', 'word', '--to', 'site')
  assert.deepEqual(
    generation.deltas.map(({ from, name }) => [from, name]),
    [[first, 'word_1-2.delta']],
  )
  const sums = readFileSync(at('site/word/SHA256SUMS'), 'utf8').trim().split('\n')
  for (const line of sums) {
    const [sum, name = ''] = line.split('  ')
    assert.equal(digestOf(readFileSync(at(`site/word/${name}`))), `sha256:${sum}`)
  }
  assert.deepEqual(
    sums.map((line) => line.slice(66)).sort(),
    site('word/word_*').map((path) => path.slice(5)),
  )
  assert.equal(channelNow().head, first, 'publishing moves nobody')
  await run('patch', 'site/word/word_1.squashfs', 'site/word/word_1-2.delta', '-o', 'made.squashfs')
  assert.equal(
    digestOf(readFileSync(at('made.squashfs'))),
    digestOf(readFileSync(at('site/word/word_2.squashfs'))),
  )

  await run('channel', 'word', '--to', 'site', '--wave', '1@0s', '--wave', '100@6h')
  const channel = channelNow()
  assert.deepEqual(
    [channel.head, channel.previous, channel.waves.map(({ ppm }) => ppm)],
    [second, first, [10_000, 1_000_000]],
  )
  assert.equal((channel.waves[1]?.after ?? 0) - (channel.waves[0]?.after ?? 0), 21_600)
  await run('channel', 'word', '--to', 'site', '--pause')
  assert.deepEqual({ ...channelNow(), issued: 0 }, { ...channel, issued: 0, paused: true })
  await fails('S5_USAGE', /--wave expects PERCENT@TIME/, 'channel', 'word', '--to', 'site', '--wave', '12')
  await run('channel', 'word', '--to', 'site', '--floor', '2')
  await fails('S5_PUBLISH_REFUSED', /floor/, 'channel', 'word/g1', '--to', 'site')
})

test('what an interrupted run left is gone on with; what has other bytes is refused; damage is seen', async () => {
  const name = await build('three')
  const [manifest = ''] = globSync('out/word/*.squashfs', { cwd: project.directory })
  const bytes = readFileSync(at(manifest))
  const part = at(`site/word/.word_3.squashfs.${digestOf(bytes).slice(7, 23)}.part`)
  writeFileSync(part, bytes.subarray(0, 1000))
  const { sent } = await run<{ sent: number }>('publish', 'word', '--to', 'site')
  assert.ok(!existsSync(part))
  const { sent: again } = await run<{ sent: number }>('publish', `word/${name}`, '--to', 'site')
  assert.equal(again, 0)
  const total = readdirSync(at('site/word'))
    .filter((file) => /_(?:\d+-)?3\./.test(file))
    .reduce((sum, file) => sum + readFileSync(at(`site/word/${file}`)).length, 0)
  assert.equal(sent, total - 1000)
  assert.deepEqual(readFileSync(at('site/word/word_3.squashfs')), bytes)
  writeFileSync(at('site/word/word_3.squashfs'), 'other')
  await fails('S5_PUBLISH_REFUSED', /other bytes already/, 'publish', 'word', '--to', 'site')
  rmSync(at('site/word/word_3.squashfs'))
  writeFileSync(part, Buffer.alloc(1000, 1))
  await run('publish', 'word', '--to', 'site')
  assert.deepEqual(
    readFileSync(at('site/word/word_3.squashfs')),
    bytes,
    'a part of other bytes is begun anew',
  )
  const timestamp = readFileSync(at('site/metadata/timestamp.json'), 'utf8')
  writeFileSync(at('site/metadata/timestamp.json'), timestamp.replace('"issued":1', '"issued":2'))
  await fails('S5_METADATA_REFUSED', /timestamp\.json: unsigned/, 'publish', 'word', '--to', 'site')
  writeFileSync(at('site/metadata/timestamp.json'), timestamp)
})

test('old generations go, but not those that a channel needs, nor what is not ours', async () => {
  writeFileSync(at('site/index.html'), 'mine')
  writeFileSync(at('site/word/notes'), 'mine')
  const fourth = await build('four')
  await run('channel', 'word/g2', '--to', 'site')
  const { removed } = await run<{ removed: readonly string[] }>(
    'publish',
    'word',
    '--to',
    'site',
    '--keep',
    '1',
  )
  assert.ok(removed.includes('word/word_3.squashfs'))
  assert.deepEqual(site('word/*.squashfs'), [
    'word/word_1.squashfs',
    'word/word_2.squashfs',
    'word/word_4.squashfs',
  ])
  assert.deepEqual(site('{index.html,word/notes}'), ['index.html', 'word/notes'])
  await run('channel', 'word', '--to', 'site')
  await run('channel', 'word/g4', '--to', 'site')
  const shown = await run<{ signed: readonly string[] }>('trust', 'show', '--to', 'site')
  assert.ok(shown.signed.includes(`generations/word/${fourth}.json`))
})

test('only what booted, for publish and for the channel of a group', async () => {
  await fails(
    'S5_PUBLISH_REFUSED',
    /never seen to boot/,
    'publish',
    'word',
    '--to',
    'site',
    '--require',
    'booted',
  )
  const group = [
    'stage5: 1',
    'profile: word',
    'guests: [word-1]',
    'driver: pull',
    'require: booted',
    'waves: [5%, 50%]',
    'soak: 1h',
    '',
  ]
  mkdirSync(at('groups'), { recursive: true })
  writeFileSync(at('groups/words.yaml'), group.join('\n'))
  await fails(
    'S5_PUBLISH_REFUSED',
    /takes only what booted/,
    'channel',
    'word',
    '--to',
    'site',
    '--group',
    'words',
  )
  const [one] = (
    await run<readonly { name: string; directory: string; manifest: `sha256:${string}` }[]>(
      'generations',
      'word',
    )
  ).slice(-1)
  assert.ok(one)
  const result = {
    name: 'boots',
    image: 'kernel',
    firmware: 'none',
    result: 'passed',
    checks: 1,
    ms: 1,
  } as const
  const body = {
    stage5: 1,
    image: { id: 'word', version: '1', arch: 'amd64' },
    manifest: one.manifest,
    files: [],
    results: [result],
    passed: true,
    qemu: 'q',
    accel: 'tcg',
  } as const
  await writeBootRecord(one.directory, 'word', body, await loadPrivateKey(at('.stage5/keys/release.key')))
  await run('publish', 'word', '--to', 'site', '--require', 'booted')
  await run('channel', 'word', '--to', 'site', '--group', 'words')
  const { waves, issued } = channelNow()
  assert.deepEqual(
    waves.map(({ ppm, after: from }) => [ppm, from - issued]),
    [
      [50_000, 0],
      [500_000, 3600],
      [1_000_000, 7200],
    ],
  )
})

test('the agent of guests as a folder that becomes a package, with the root they begin with', async () => {
  const agent = ['trust', 'agent', '--out', 'agent', '--line', 'word', '--url']
  await fails('S5_USAGE', /needs --out/, 'trust', 'agent', '--line', 'word')
  await fails('S5_USAGE', /--url expects http/, ...agent, 'ftp://x')
  await fails('S5_USAGE', /no blanks or quotes/, ...agent, 'http://x/$(reboot)')
  await run(...agent, 'http://127.0.0.1:8470/')
  await fails('S5_DIRECTORY_EXISTS', /is there already/, ...agent, 'http://127.0.0.1:8470')
  assert.match(
    readFileSync(at('agent/etc/stage5/pull/config'), 'utf8'),
    /^URL=http:\/\/127\.0\.0\.1:8470\nLINE=word\nSTATE=\/data\/pull\nBUILT=\d+\n$/,
  )
  assert.deepEqual(
    readFileSync(at('agent/etc/stage5/pull/root.json')),
    readFileSync(at('site/metadata/1.root.json')),
  )
  await run(
    'pack',
    'agent',
    '--name',
    'stage5/pull',
    '--version',
    '1.0.0',
    '--depends',
    'deb:signify-openbsd',
    '--out',
    'packed',
  )
})

test('the root is rotated, the online key replaced; who has the old key signs nothing any more', async () => {
  await run('key', 'new', 'online2')
  const rotate = [
    'trust',
    'rotate',
    '--to',
    'site',
    '--root',
    'root1',
    '--root',
    'root2',
    '--online',
    'online2',
  ]
  await fails('S5_KEY_INVALID', /for the role root/, ...rotate, '--old-root', 'root1')
  await run(...rotate, '--old-root', 'root1', '--old-root', 'root2')
  await fails(
    'S5_KEY_INVALID',
    /for the role channels|for the role snapshot/,
    'channel',
    'word',
    '--to',
    'site',
  )
  await run('channel', 'word', '--to', 'site', '--online', 'online2')
  const { files } = await run<{ files: readonly string[] }>(
    'trust',
    'refresh',
    '--to',
    'site',
    '--online',
    'online2',
    '--valid',
    '72h',
  )
  assert.deepEqual(files, ['timestamp.json'])
})
