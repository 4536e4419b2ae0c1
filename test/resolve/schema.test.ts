import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { schemas } from '../../src/resolve/schema.ts'

const UPDATE = process.execArgv.includes('--test-update-snapshots')

test('the schemas on disk are what the tables generate', async (t) => {
  for (const [path, schema] of Object.entries(schemas()))
    await t.test(path, async () => {
      const file = new URL(`../../${path}`, import.meta.url)
      const text = `${JSON.stringify(schema, null, 2)}\n`
      if (UPDATE) await writeFile(file, text)
      assert.equal(
        await readFile(file, 'utf8'),
        text,
        `${path} is old: run node --test --test-update-snapshots test/resolve/schema.test.ts`,
      )
    })
})

test('every key of every schema is described', () => {
  const bare: string[] = []
  const visit = (schema: unknown, path: string): void => {
    if (typeof schema !== 'object' || schema === null) return
    for (const [key, value] of Object.entries(schema)) {
      if (key === 'properties')
        for (const [name, member] of Object.entries(value as { [name: string]: { description?: string } }))
          if (!member.description) bare.push(`${path}.${name}`)
      visit(value, `${path}/${key}`)
    }
  }
  for (const [path, schema] of Object.entries(schemas())) visit(schema, path)
  assert.deepEqual(bare, [])
})
