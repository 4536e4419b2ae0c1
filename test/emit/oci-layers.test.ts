import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../src/base/digest.ts'
import { layersOf } from '../../src/emit/oci-layers.ts'
import { OCI_LAYOUT, type OciImage, ociConfig, ociIndex, ociManifest } from '../../src/format/oci.ts'
import { type Entry, entriesOf, treeOf } from '../../src/tree/tree.ts'
import { dir, file, treeArbitrary } from '../helpers/trees.ts'

const LARGE = { size: 300_000 }

test('layers laid over each other are the root again, and no file is in two of them', () => {
  fc.assert(
    fc.property(treeArbitrary, fc.integer({ min: 0, max: 400_000 }), (tree, size) => {
      const inodes = tree.inodes.map((inode) => (inode.type === 'file' ? { ...inode, size } : inode))
      const grown = { ...tree, inodes }
      const layers = layersOf(grown)
      const all = layers.flatMap((layer) => [...entriesOf(layer.tree)])
      const files = all.filter(({ inode }) => inode.type !== 'dir').map(({ path }) => path)
      assert.equal(new Set(files).size, files.length)
      const known = new Map([...entriesOf(grown)].map((entry) => [entry.path, entry.inode]))
      for (const { path, inode } of all) assert.deepEqual(inode, known.get(path) ?? inode, path)
      assert.deepEqual(new Set(all.map(({ path }) => path)), new Set(grown.names.map(({ path }) => path)))
    }),
    { numRuns: 200 },
  )
})

test('a large package has the same layer in every image; small ones share one; what is made comes last', () => {
  const libc = [dir('usr', { mtime: 9 }, 'base_1'), file('usr/libc', 'c', LARGE, 'libc_1')]
  const small = [file('a', 'a', {}, 'a_1'), file('b', 'b', {}, 'b_1')]
  const one = layersOf(treeOf([...libc, ...small, file('etc/hostname', 'one', {}, 'stage:etc')]))
  const two = layersOf(treeOf([...libc, file('etc/hostname', 'two', {}, 'stage:etc')]))
  assert.deepEqual(
    one.map(({ owners }) => owners),
    [['libc_1'], ['a_1', 'b_1', 'base_1'], ['', 'stage:etc']],
  )
  assert.deepEqual(one[0], two[0])
  const parents = one[0]?.tree.names.map(({ path }) => path)
  assert.deepEqual(parents, ['', 'usr', 'usr/libc'])
  assert.equal(one[0]?.tree.inodes[1]?.mtime, 9, 'a directory is as the root has it')
})

test('names of one file stay in one layer', () => {
  const first = file('a/one', 'x', LARGE, 'a_1')
  const second: Entry = { ...first, path: 'b/two', owner: 'b_2' }
  const layers = layersOf(treeOf([first, second, file('b/own', 'y', LARGE, 'b_2')]))
  const holding = layers.filter(({ tree }) => tree.names.some(({ path }) => /one|two/.test(path)))
  assert.equal(holding.length, 1)
  assert.equal(holding[0]?.tree.names.filter(({ path }) => /one|two/.test(path)).length, 2)
})

test('of very many large packages the largest have layers of their own', () => {
  const files = Array.from({ length: 130 }, (_, at) =>
    file(`f${at}`, 'x', { size: 300_000 + at }, `p${at}_1`),
  )
  const layers = layersOf(treeOf(files))
  assert.equal(layers.length, 102)
  assert.ok(layers.some(({ owners }) => owners.length === 1 && owners[0] === 'p129_1'))
  assert.ok(layers.some(({ owners }) => owners.length === 30 && owners.includes('p0_1')))
})

test('manifest, config and index name each other by digest', () => {
  const layer = {
    type: 'tar+gzip',
    digest: digestOf('l'),
    size: 7,
    diffId: digestOf('d'),
    comment: 'c',
  } as const
  const image: OciImage = {
    arch: 'amd64',
    name: 'web',
    version: '1.0',
    revision: 'r',
    date: 1_700_000_000,
    layers: [layer],
  }
  const config = ociConfig(image)
  assert.deepEqual(JSON.parse(config), {
    architecture: 'amd64',
    os: 'linux',
    created: '2023-11-14T22:13:20Z',
    config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'] },
    rootfs: { type: 'layers', diff_ids: [digestOf('d')] },
    history: [{ created: '2023-11-14T22:13:20Z', created_by: 'stage5', comment: 'c' }],
  })
  const manifest = JSON.parse(ociManifest(image, { digest: digestOf(config), size: config.length })) as {
    config: { digest: string }
    layers: { mediaType: string; digest: string; size: number }[]
    annotations: { [key: string]: string }
  }
  assert.equal(manifest.config.digest, digestOf(config))
  const mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip'
  assert.deepEqual(manifest.layers, [{ mediaType, digest: digestOf('l'), size: 7 }])
  assert.equal(manifest.annotations['org.opencontainers.image.version'], '1.0')
  const index = JSON.parse(ociIndex(image, { digest: digestOf('m'), size: 1 })) as {
    manifests: { digest: string; annotations: { [key: string]: string } }[]
  }
  assert.equal(index.manifests[0]?.digest, digestOf('m'))
  assert.equal(index.manifests[0]?.annotations['org.opencontainers.image.ref.name'], '1.0')
  assert.equal(OCI_LAYOUT, '{"imageLayoutVersion":"1.0.0"}')
})
