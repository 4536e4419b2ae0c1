import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { erofsEmitter } from '../../src/emit/erofs.ts'
import { tarEmitter } from '../../src/emit/tar.ts'
import { type Contents, memoryContents, piecesOf } from '../../src/tree/contents.ts'
import { treeOf } from '../../src/tree/tree.ts'
import { file } from '../helpers/trees.ts'

const MIB = 1 << 20

/** Whole bodies are only read when they are small. */
function inParts(whole: Contents): Contents {
  return {
    ...whole,
    read: async (content) => {
      const bytes = await whole.read(content)
      assert.ok(bytes.length <= MIB, `${bytes.length} bytes were read at once`)
      return bytes
    },
    readPart: async (content, offset, length) => {
      assert.ok(length <= MIB, `${length} bytes were read at once`)
      return (await whole.read(content)).subarray(offset, offset + length)
    },
  }
}

test('a large body comes in pieces, and is the same', async () => {
  const whole = memoryContents()
  const parts = inParts(whole)
  for (const size of [0, 1, MIB, MIB + 1, 2 * MIB, 2 * MIB + 77]) {
    const body = randomBytes(size)
    const content = await whole.write(body)
    for (const contents of [whole, parts]) {
      const pieces: Uint8Array[] = []
      for await (const piece of piecesOf(contents, content, size)) pieces.push(piece)
      assert.deepEqual(Buffer.concat(pieces), body)
    }
  }
})

test('erofs and tar never hold a large body, and write the same bytes', async () => {
  const whole = memoryContents()
  const text = randomBytes(2 * MIB + 100).toString('latin1')
  await whole.write(Buffer.from(text, 'latin1'))
  const tree = treeOf([file('a', text), file('b', text)])
  const image = async (
    emitter: typeof tarEmitter | typeof erofsEmitter,
    contents: Contents,
  ): Promise<Buffer> => {
    const written: Uint8Array[] = []
    const write = async (bytes: Uint8Array): Promise<void> => void written.push(Buffer.from(bytes))
    const refuse = (): Promise<never> => Promise.reject(new Error('written in order, without blocks'))
    await emitter.emit(
      tree,
      { date: 7, seed: 'a' },
      {
        contents,
        blocks: { compress: refuse },
        sink: { write, patch: refuse },
        signal: new AbortController().signal,
      },
    )
    return Buffer.concat(written)
  }
  for (const emitter of [erofsEmitter, tarEmitter])
    assert.deepEqual(await image(emitter, inParts(whole)), await image(emitter, whole))
})
