import assert from 'node:assert/strict'
import { test } from 'node:test'
import { factsOfFiles, remembered } from '../../src/stage/known-facts.ts'
import { type Contents, memoryContents } from '../../src/tree/contents.ts'
import { entriesOf, type FileInode } from '../../src/tree/tree.ts'
import { rootOf } from './scene.ts'

function withNotes(): Contents & { readonly kept: Map<string, Uint8Array> } {
  const kept = new Map<string, Uint8Array>()
  const notes = {
    get: (key: string) => kept.get(key),
    put: (key: string, bytes: Uint8Array) => void kept.set(key, bytes),
  }
  return { ...memoryContents(), notes, kept }
}

async function ask(contents: Contents, specs: Parameters<typeof rootOf>[1], question = 'first letter 1') {
  const asked: string[] = []
  const { tree } = await rootOf(contents, specs)
  const facts = await factsOfFiles(contents, question, entriesOf(tree), async ({ content }: FileInode) => {
    const text = Buffer.from(await contents.read(content)).toString()
    asked.push(text)
    return text.startsWith('-') ? undefined : text[0]
  })
  return { asked, answers: [...facts.values()] }
}

test('each content is asked once, and what has no answer stays without one', async () => {
  const specs = { a: 'one', b: 'one', c: '-', d: 'two' }
  assert.deepEqual(await ask(memoryContents(), specs), { asked: ['one', '-', 'two'], answers: ['o', 't'] })
})

test('files of unchanged packages are not asked again, by whatever name they go', async () => {
  const contents = withNotes()
  const first = {
    a: { text: 'one', owner: 'a_1' },
    b: { text: '-', owner: 'a_1' },
    c: { text: 'two', owner: 'b_1' },
  }
  assert.deepEqual((await ask(contents, first)).asked, ['one', '-', 'two'])
  const next = {
    a: { text: 'one', owner: 'a_2' },
    b: { text: '-', owner: 'a_2' },
    c: { text: 'three', owner: 'b_2' },
  }
  assert.deepEqual(await ask(contents, next), { asked: ['three'], answers: ['o', 't'] })
  assert.deepEqual((await ask(contents, next, 'first letter 2')).asked, ['one', '-', 'three'])
})

test('a note that was forgotten is made again', async () => {
  const contents = withNotes()
  let times = 0
  const make = async (): Promise<{ readonly text: string }> => ({ text: `\xff${++times}` })
  assert.deepEqual(await remembered(contents, 'k', make), { text: '\xff1' })
  assert.deepEqual(await remembered(contents, 'k', make), { text: '\xff1' })
  contents.kept.clear()
  assert.deepEqual(await remembered(contents, 'k', make), { text: '\xff2' })
})
