/** What one changed package costs, in counts: packages unpacked, objects and bytes hashed and written, blocks compressed. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Event } from '../../src/base/events.ts'
import { ask, kernelPackage, manyProject, pack, plainPackage } from '../helpers/i4f-many.ts'
import type { Project } from '../helpers/project.ts'

let project: Project
before(async () => {
  project = manyProject()
  await pack(project, [...Array.from({ length: 13 }, (_, at) => plainPackage(at)), kernelPackage('6.1.0')])
})
after(() => project[Symbol.dispose]())

interface Counted {
  /** Labels of packages that were unpacked: what is not is neither read nor hashed. */
  readonly unpacked: readonly string[]
  readonly objects: number
  readonly bytes: number
  readonly blocks: Extract<Event, { kind: 'blocks.counted' }>
}

interface Stats {
  readonly objects: number
  readonly objectBytes: number
}

async function counted(profile: string): Promise<Counted> {
  const before = await ask<Stats>(project, 'store', 'stats')
  const trace = join(project.directory, 'trace.json')
  await ask(project, 'build', profile, '--trace', trace)
  const { objects, objectBytes } = await ask<Stats>(project, 'store', 'stats')
  const { traceEvents } = JSON.parse(readFileSync(trace, 'utf8')) as { traceEvents: { args?: Event }[] }
  const events = traceEvents.flatMap(({ args }) => args ?? [])
  const unpacked = events.flatMap((event) =>
    event.kind === 'package.unpacked' && !event.fromCache ? [event] : [],
  )
  const blocks = events.find((event) => event.kind === 'blocks.counted')
  assert.ok(blocks)
  return {
    unpacked: unpacked.map(({ name }) => name).sort(),
    objects: objects - before.objects,
    bytes: objectBytes - before.objectBytes,
    blocks,
  }
}

function sizeOf({ files }: ReturnType<typeof plainPackage>): number {
  return Object.values(files).reduce((sum, { length }) => sum + length, 0)
}

test('only what changed is unpacked, hashed, written and compressed', async (t) => {
  const first = await counted('many')
  assert.equal(first.unpacked.length, 13)
  // 12 packages of 25 files and the kernel of 61, no two equal.
  assert.equal(first.objects, 12 * 25 + 61)

  const again = await counted('many')
  assert.deepEqual([again.unpacked, again.objects, again.blocks.made, again.blocks.bytes], [[], 0, 0, 0])
  // The tables are compressed anew each time, and known as well.
  assert.equal(again.blocks.reused, first.blocks.made + first.blocks.reused)

  const changed = plainPackage(4, '1.0.1')
  await pack(project, [changed])
  await ask(project, 'lock', 'many')
  const update = await counted('many')
  assert.deepEqual(update.unpacked, ['many/p04_1.0.1'])
  assert.equal(update.bytes, sizeOf(changed))
  assert.equal(update.objects, Object.keys(changed.files).length)
  assert.equal(update.blocks.bytes, sizeOf(changed))
  // Two whole blocks of 128 KiB, and what is left with the small files in fragments.
  assert.ok(update.blocks.made <= 4, `${update.blocks.made} blocks`)
  t.diagnostic(`first ${JSON.stringify(first.blocks)}, one of 13 changed ${JSON.stringify(update.blocks)}`)

  const variant = await counted('many@more')
  assert.deepEqual(variant.unpacked, ['many/p12_1.0.0'])
  assert.equal(variant.blocks.bytes, sizeOf(plainPackage(12)))
})

test('blocks of another codec, level or block size are others, and stay beside each other', async () => {
  const path = join(project.directory, 'profiles/many.yaml')
  const text = readFileSync(path, 'utf8')
  const blocksOf = async (how: string): Promise<Counted['blocks']> => {
    writeFileSync(path, text.replace('[squashfs]', `[{format: squashfs, ${how}}]`))
    return (await counted('many')).blocks
  }
  const packages = [...Array.from({ length: 12 }, (_, at) => plainPackage(at)), kernelPackage('6.1.0')]
  const all = packages.reduce((sum, each) => sum + sizeOf(each), 0)
  for (const how of ['level: 3', 'codec: gzip']) assert.equal((await blocksOf(how)).bytes, all, how)
  // Fragments that are filled alike are the same; whole blocks of files are not.
  const whole = packages.flatMap(({ files }) => Object.values(files)).map(({ length }) => length & ~65_535)
  const halves = await blocksOf('blockSize: 64K')
  assert.ok(halves.bytes >= whole.reduce((sum, length) => sum + length, 0), `${halves.bytes} bytes`)
  for (const how of ['blockSize: 128K', 'level: 3']) assert.equal((await blocksOf(how)).made, 0, how)
})
