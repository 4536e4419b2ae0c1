import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { fitting, largest, memoryNeeds, memoryText, rootWords } from '../../src/emit/memory.ts'
import { treeOf } from '../../src/tree/tree.ts'

const MIB = 1_048_576
const overlay = { kind: 'overlay', size: 0, inodes: 0, compressor: 'lzo-rle' } as const
const facts = (base: number, root: Parameters<typeof rootWords>[0] = overlay, tree = 3 * base) => ({
  base: base * MIB,
  tree: tree * MIB,
  root,
})

test('no measured guest came up with less than the arithmetic says by much, and none with more failed', () => {
  const least = (base: number, way: 'memory' | 'disk', rootfs: 'tmpfs' | 'ramfs'): number =>
    memoryNeeds(facts(base), way).find((need) => need.rootfs === rootfs)?.mebibytes as number
  const measured = [
    [12, 'memory', 'tmpfs', 96],
    [25, 'memory', 'tmpfs', 128],
    [100, 'memory', 'tmpfs', 358],
    [150, 'memory', 'tmpfs', 510],
    [12, 'memory', 'ramfs', 97],
    [25, 'memory', 'ramfs', 123],
    [60, 'memory', 'ramfs', 196],
    [100, 'memory', 'ramfs', 278],
    [150, 'memory', 'ramfs', 379],
    [200, 'memory', 'ramfs', 481],
    [2, 'disk', 'tmpfs', 74],
    [200, 'disk', 'tmpfs', 74],
  ] as const
  for (const [base, way, rootfs, came] of measured) {
    const said = least(base, way, rootfs)
    assert.ok(
      said >= came && said <= came + 6,
      `${base} MiB ${way} ${rootfs}: said ${said}, measured ${came}`,
    )
  }
})

test('tmpfs is taken where it fits, ramfs where only that does, and nothing where nothing does', () => {
  const needs = memoryNeeds(facts(60), 'memory')
  assert.deepEqual(
    needs.map(({ mebibytes }) => mebibytes),
    [236, 198],
  )
  assert.deepEqual(fitting(needs, 256)?.words, [])
  assert.deepEqual(fitting(needs, 200)?.words, ['rootfstype=ramfs'])
  assert.equal(fitting(needs, 197), undefined)
  assert.deepEqual(
    needs.map(({ arithmetic }) => arithmetic),
    ['52 + 3.06 × 60.0 (base)', '75 + 2.04 × 60.0 (base)'],
  )
})

test('a root unpacked in memory is counted beside the base that it is made of', () => {
  const tmpfs = memoryNeeds(facts(100, { ...overlay, kind: 'tmpfs' }), 'memory')
  assert.deepEqual(
    tmpfs.map(({ mebibytes }) => mebibytes),
    [476, 476],
  )
  assert.equal(tmpfs[0]?.arithmetic, '76 + 100.0 (base) + 300.0 (tmpfs)')
  const zram = memoryNeeds(facts(100, { ...overlay, kind: 'zram', compressor: 'zstd' }), 'disk')
  assert.equal(zram[0]?.kept, zram[0] && zram[0].mebibytes - 76)
  assert.ok((zram[0]?.kept as number) < 150)
})

test('the report compares the roots and says what fits', () => {
  const text = memoryText(facts(24), 128)
  assert.match(text, /^base 24\.0 MiB, unpacked 72\.0 MiB, memory of the guests 128 MiB$/m)
  assert.match(text, /^ {2}from a disk: 76 MiB {2}fits$/m)
  assert.match(text, /tmpfs$/m)
  assert.match(memoryText(facts(60), 128), /rootfstype=ramfs: .* = 198 MiB {2}too much$/m)
})

test('words choose the root, and a tree that busybox cannot copy whole is refused', () => {
  const dir = { path: '', owner: 'x', inode: { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtime: 0 } } as const
  const file = (xattrs?: readonly (readonly [string, string])[]) =>
    ({
      path: 'ping',
      owner: 'x',
      inode: {
        ...{ type: 'file', mode: 0o755, uid: 0, gid: 0, mtime: 0, size: 9 * MIB },
        content: `sha256:${'0'.repeat(64)}`,
        ...(xattrs && { xattrs }),
      },
    }) as never
  const plain = treeOf([dir, file()])
  assert.deepEqual(rootWords(undefined, plain), [])
  assert.deepEqual(rootWords({ ...overlay, size: 8 * MIB, inodes: 3000 }, plain), [
    'stage5.rw=8192K',
    'stage5.inodes=3000',
  ])
  assert.deepEqual(rootWords({ ...overlay, kind: 'zram', compressor: 'lz4', inodes: 9 }, plain), [
    'stage5.root=zram',
    'stage5.rw=75M',
    'stage5.zram=lz4',
  ])
  assert.throws(
    () => rootWords({ ...overlay, kind: 'tmpfs' }, treeOf([dir, file([['security.capability', 'x']])])),
    (error) => isStage5Error(error, 'S5_IMAGE_INPUT') && /security\.capability of \/ping/.test(error.message),
  )
})

test('the largest are named with their sizes', () => {
  assert.equal(
    largest([
      { name: 'a', bytes: 3 * MIB },
      { name: 'b', bytes: MIB / 2 },
      { name: 'too small to help', bytes: 4096 },
    ]),
    'a 3.0 MiB, b 0.5 MiB',
  )
})
