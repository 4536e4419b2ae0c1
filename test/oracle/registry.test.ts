/** Generations in a real OCI registry: blobs by range, deltas as referrers, metadata that moves with one tag. */
import assert from 'node:assert/strict'
import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf } from '../../src/base/digest.ts'
import { openRegistry } from '../../src/deploy/registry.ts'
import type { PublishedGeneration } from '../../src/fleet/channel.ts'
import { findTool, run as runTool } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { stage5 } from '../helpers/console.ts'
import { FILED, packedProject, wordProfile } from '../helpers/project.ts'
import { startRegistry } from '../helpers/registry.ts'

interface Manifest {
  readonly layers: readonly {
    readonly digest: string
    readonly size: number
    readonly annotations: Record<string, string>
  }[]
  readonly manifests: readonly { readonly digest: string; readonly artifactType: string }[]
  readonly subject?: { readonly digest: string }
}

test('who published while somebody else did is refused, and nothing of the other is lost', async (t) => {
  if (!findTool('docker-registry')) return t.skip('needs docker-registry')
  using scratch = temporaryDirectory()
  await using registry = await startRegistry(scratch.path)
  const open = () => openRegistry(`oci://${registry.host}/team/both`, t.signal)
  await using first = await open()
  await using second = await open()
  await first.put('one.json', Buffer.from('1'))
  await first.commit(t.signal)
  await second.put('two.json', Buffer.from('2'))
  await assert.rejects(second.commit(t.signal), { code: 'S5_PUBLISH_REFUSED', message: /somebody else/ })
  await using third = await open()
  await third.put('two.json', Buffer.from('2'))
  await third.commit(t.signal)
  await third.put('two.json', Buffer.from('3'))
  await third.commit(t.signal)
  await using seen = await open()
  const texts = ['one.json', 'two.json'].map(async (path) =>
    Buffer.from((await seen.read(path)) ?? []).toString(),
  )
  assert.deepEqual(await Promise.all(texts), ['1', '3'])
})

test('a line is published, continued, and collected', async (t) => {
  if (!findTool('docker-registry')) return t.skip('needs docker-registry')
  using project = await packedProject()
  const at = (path: string): string => join(project.directory, path)
  await using registry = await startRegistry(project.directory)
  const place = `oci://${registry.host}/team/words`
  const run = async <T>(...words: string[]): Promise<T> => {
    const ran = await stage5(project.directory, [...words, '--json'])
    assert.equal(ran.code, 0, ran.stderr)
    return JSON.parse(ran.stdout) as T
  }
  const build = async (text: string): Promise<void> => {
    writeFileSync(at('profiles/word.yaml'), wordProfile(text))
    await run('build', 'word')
  }
  const get = (path: string, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(`http://${registry.host}/v2/team/words/${path}`, { headers })
  const manifest = async (reference: string): Promise<{ digest: string; value: Manifest }> => {
    const accept = 'application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json'
    const answer = await get(`manifests/${reference}`, { accept })
    assert.equal(answer.status, 200, reference)
    const text = await answer.text()
    return { digest: digestOf(text), value: JSON.parse(text) as Manifest }
  }
  mkdirSync(at('stages'), { recursive: true })
  writeFileSync(at('stages/filed.yaml'), FILED)
  for (const key of ['root1', 'release', 'online']) await run('key', 'new', key)
  await build('one')
  await run('trust', 'init', '--to', place, '--root', 'root1')
  await run('publish', 'word', '--to', place)
  await run('channel', 'word', '--to', place)
  await build('two')
  const { generation, sent } = await run<{ generation: PublishedGeneration; sent: number }>(
    'publish',
    'word',
    '--to',
    place,
  )
  assert.ok(sent > 0)
  assert.equal(
    (await run<{ sent: number }>('publish', 'word', '--to', place)).sent,
    0,
    'nothing travels twice',
  )

  const second = await manifest('word-g2')
  const base = second.value.layers.find(({ annotations }) => annotations['stage5.role'] === 'base')
  const [image = ''] = globSync('out/word/*.squashfs', { cwd: project.directory })
  assert.equal(base?.digest, digestOf(readFileSync(at(image))))
  const part = await get(`blobs/${base?.digest}`, { range: 'bytes=100-199' })
  assert.equal(part.status, 206)
  assert.deepEqual(Buffer.from(await part.arrayBuffer()), readFileSync(at(image)).subarray(100, 200))

  const referrers = await manifest(`sha256-${second.digest.slice(7)}`)
  assert.equal(referrers.value.manifests.length, 1)
  const delta = await manifest(referrers.value.manifests[0]?.digest ?? '')
  assert.equal(delta.value.subject?.digest, second.digest)
  assert.equal(delta.value.layers[0]?.annotations['stage5.from'], generation.deltas[0]?.from)
  const bytes = Buffer.from(await (await get(`blobs/${delta.value.layers[0]?.digest}`)).arrayBuffer())
  writeFileSync(at('two.delta'), bytes)
  const [old = ''] = globSync('out/word_*/*.squashfs', { cwd: project.directory }).filter(
    (path) => digestOf(readFileSync(at(path))) !== base?.digest,
  )
  await run('patch', old, 'two.delta', '-o', 'made.squashfs')
  assert.equal(digestOf(readFileSync(at('made.squashfs'))), base?.digest)

  const skopeo = await runTool([
    'skopeo',
    'inspect',
    '--raw',
    '--tls-verify=false',
    `docker://${registry.host}/team/words:word-g2`,
  ])
  assert.equal(digestOf(skopeo.stdout), second.digest, 'another client reads the same')

  await run('channel', 'word', '--to', place)
  await run('channel', 'word/g2', '--to', place)
  await build('three')
  await run('publish', 'word', '--to', place)
  await run('channel', 'word', '--to', place)
  const { removed } = await run<{ removed: readonly string[] }>(
    'publish',
    'word',
    '--to',
    place,
    '--keep',
    '1',
  )
  assert.ok(removed.includes('word-g1'), removed.join(' '))
  assert.equal((await get('manifests/word-g1')).status, 404)
  const { value } = await manifest('stage5')
  const titles = value.layers.map(({ annotations }) => annotations['org.opencontainers.image.title'])
  assert.ok(titles.includes('metadata/timestamp.json') && titles.includes('metadata/1.root.json'))
  assert.ok((await run<{ signed: readonly string[] }>('trust', 'show', '--to', place)).signed.length >= 3)

  const nobody = await stage5(project.directory, ['publish', 'word', '--to', 'oci://127.0.0.1:1/x', '--json'])
  assert.match(nobody.stdout, /S5_FETCH_FAILED/)
  const badName = await stage5(project.directory, ['publish', 'word', '--to', 'oci://Host', '--json'])
  assert.match(badName.stdout, /S5_USAGE/)
})
