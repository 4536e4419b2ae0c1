import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { erofsEmitter } from '../../src/emit/erofs.ts'
import { erofsDirectory } from '../../src/format/erofs.ts'
import { memoryContents } from '../../src/tree/contents.ts'
import { type Tree, treeOf } from '../../src/tree/tree.ts'
import { file } from '../helpers/trees.ts'

async function image(
  tree: Tree,
  texts: readonly string[],
  options = { date: 7, seed: 'a' },
): Promise<Buffer> {
  const contents = memoryContents()
  for (const text of texts) await contents.write(Buffer.from(text, 'latin1'))
  const parts: Uint8Array[] = []
  await erofsEmitter.emit(tree, options, {
    contents,
    blocks: { compress: () => Promise.reject(new Error('no blocks are compressed')) },
    sink: {
      write: async (bytes) => void parts.push(Buffer.from(bytes)),
      patch: () => Promise.reject(new Error('an erofs image is written in order')),
    },
    signal: new AbortController().signal,
  })
  return Buffer.concat(parts)
}

test('the image has as many blocks as it says, and equal contents are stored once', async () => {
  const text = 'x'.repeat(8192)
  const one = await image(treeOf([file('a', text)]), [text])
  const two = await image(treeOf([file('a', text), file('b', text)]), [text])
  for (const bytes of [one, two]) {
    assert.equal(bytes.readUInt32LE(1024), 0xe0f5e1e2)
    assert.equal(bytes.readUInt32LE(1024 + 36) * 4096, bytes.length)
  }
  assert.equal(one.length, two.length)
  assert.deepEqual(one, await image(treeOf([file('a', text)]), [text]))
  assert.notDeepEqual(one, await image(treeOf([file('a', text)]), [text], { date: 7, seed: 'b' }))
})

test('a directory block begins with its entries, and its names follow in their order', () => {
  const names = Array.from({ length: 300 }, (_, at) => `n${String(at).padStart(20, '0')}`)
  const bytes = erofsDirectory(names.map((name, nid) => ({ name, type: 'file', nid })))
  const found: string[] = []
  for (let at = 0; at < bytes.length; at += 4096) {
    const block = bytes.subarray(at, at + 4096)
    const count = block.readUInt16LE(8) / 12
    for (let entry = 0; entry < count; entry++) {
      const start = block.readUInt16LE(entry * 12 + 8)
      const end = entry + 1 < count ? block.readUInt16LE(entry * 12 + 20) : block.length
      assert.equal(block.readBigUInt64LE(entry * 12), BigInt(found.length))
      found.push(block.toString('latin1', start, end).replace(/\0+$/, ''))
    }
  }
  assert.deepEqual(found, names)
})

test('an attribute without a number is refused', async () => {
  const odd = file('a', '', { xattrs: [['system.other', 'x']] })
  await assert.rejects(image(treeOf([odd]), ['']), (error) => isStage5Error(error, 'S5_IMAGE_INPUT'))
})
