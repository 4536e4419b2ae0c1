/** OCI layouts as skopeo reads them, and what images of one fleet have in common. */
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { type Built, buildProfile, cannotBoot } from '../helpers/guest.ts'

const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())

/** Both outputs, built once. */
let outputs: Promise<readonly (Built | { skip: string })[]> | undefined

async function built(t: TestContext): Promise<readonly Built[] | undefined> {
  if (cannotBoot || !findTool('skopeo')) {
    t.skip(cannotBoot || 'needs skopeo')
    return undefined
  }
  const write = (name: string, text: string): void => {
    mkdirSync(join(project.path, 'profiles'), { recursive: true })
    writeFileSync(join(project.path, 'profiles', `${name}.yaml`), `stage5: 1\n${text}`)
  }
  write('one', 'parents: [minimal]\nimages: [oci, containerdisk]\n')
  write('two', 'parents: [www-nginx]\nimages: [oci]\n')
  outputs ??= (async () => [
    await buildProfile(project.path, 'one'),
    await buildProfile(project.path, 'two'),
  ])()
  const found = await outputs
  const all = found.filter((each) => 'file' in each)
  if (all.length === 2) return all
  t.skip('needs a Debian archive that can be reached')
  return undefined
}

interface Inspected {
  readonly Architecture: string
  readonly Os: string
  readonly Layers: readonly string[]
}

async function inspect(layout: string): Promise<Inspected> {
  const { stdout } = await run(['skopeo', 'inspect', `oci:${layout}`])
  return JSON.parse(stdout.toString()) as Inspected
}

function layoutOf(found: Built, ending: string): string {
  const name = readdirSync(found.directory).find(
    (each) => each.endsWith(ending) && (ending !== '.oci' || !each.endsWith('.containerdisk.oci')),
  )
  assert.ok(name)
  return join(found.directory, name)
}

test('skopeo reads the layouts, and copies them with every digest proved', async (t) => {
  const found = await built(t)
  if (!found) return
  using folder = temporaryDirectory()
  const [one, two] = found as [Built, Built]
  for (const layout of [layoutOf(one, '.oci'), layoutOf(two, '.oci'), layoutOf(one, '.containerdisk.oci')]) {
    const image = await inspect(layout)
    assert.deepEqual([image.Architecture, image.Os], ['amd64', 'linux'])
    const target = join(folder.path, basename(layout))
    await run(['skopeo', '--insecure-policy', 'copy', '-q', `oci:${layout}`, `dir:${target}`])
  }
})

for (const ending of ['.oci', '.containerdisk.oci'])
  test(`a ${ending} layout with one changed byte cannot be copied`, async (t) => {
    const found = await built(t)
    if (!found) return
    using folder = temporaryDirectory()
    const layout = join(folder.path, 'bad')
    cpSync(layoutOf(found[0] as Built, ending), layout, { recursive: true })
    const blob = join(layout, 'blobs/sha256', (await inspect(layout)).Layers[0]?.slice(7) as string)
    const bytes = readFileSync(blob)
    bytes.writeUInt8((bytes[20_000] as number) ^ 1, 20_000)
    writeFileSync(blob, bytes)
    const argv = ['skopeo', '--insecure-policy', 'copy', '-q', `oci:${layout}`, `dir:${folder.path}/x`]
    const copied = await run(argv, { accept: 'any' })
    assert.notEqual(copied.code, 0)
    assert.match(copied.stderr, /digest|checksum|flate|gzip|corrupt/i)
  })

test('images of one fleet share the layers of their common packages', async (t) => {
  const found = await built(t)
  if (!found) return
  const [one, two] = await Promise.all(found.map((each) => inspect(layoutOf(each, '.oci'))))
  const shared = one?.Layers.filter((layer) => two?.Layers.includes(layer)) ?? []
  assert.ok(shared.length >= 1, 'busybox at least')
  const size = (each: Built, layer: string): number =>
    statSync(join(layoutOf(each, '.oci'), 'blobs/sha256', layer.slice(7))).size
  const bytes = shared.reduce((sum, layer) => sum + size(found[0] as Built, layer), 0)
  t.diagnostic(`${shared.length} layers of ${bytes} bytes are shared`)
  assert.ok(bytes > 500_000)
})

test('a containerDisk holds the disk for the user of KubeVirt', async (t) => {
  const found = await built(t)
  if (!found) return
  const [one] = found as [Built]
  const layout = layoutOf(one, '.containerdisk.oci')
  const [layer, more] = (await inspect(layout)).Layers
  assert.equal(more, undefined)
  const blob = join(layout, 'blobs/sha256', (layer as string).slice(7))
  const listed = await run(['tar', '--numeric-owner', '-tvf', blob])
  const lines = listed.stdout.toString().trimEnd().split('\n')
  assert.match(lines[0] as string, /^drwxr-xr-x 107\/107 .* disk\/$/)
  assert.match(lines[1] as string, /^-r--r----- 107\/107 .* disk\/disk\.img$/)
  using folder = temporaryDirectory()
  await run(['tar', '-xf', blob, '-C', folder.path, '--no-same-owner'])
  const disk = join(folder.path, 'disk/disk.img')
  assert.deepEqual(readFileSync(disk), readFileSync(one.file('.qcow2')))
  await run(['qemu-img', 'check', '-f', 'qcow2', disk])
})
