/** Every hostile case: refused with its word, or read to exactly what it says; whole, and one byte at a time. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { tarReader } from '../../src/format/tar.ts'
import { treeBuilder } from '../../src/repo/unpack-tree.ts'
import { unpackDeb, unpackDebFrom, unpackNative, unpackNativeFrom } from '../../src/repo/unpack.ts'
import type { Unpacked } from '../../src/tree/unpacked.ts'
import { DEB_CASES, NATIVE_CASES, type PackageCase } from '../corpus/packages.ts'
import { TAR_CASES } from '../corpus/tar.ts'
import { memoryBodies } from '../helpers/bodies.ts'
import { debOf } from '../helpers/pack.ts'

const signal = new AbortController().signal

async function* chunksOf(bytes: Uint8Array, step: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step)
}

/** What unpacking comes to: the word of a refusal, or the result. Anything else is a failure of the test. */
async function outcome(
  work: (bodies: ReturnType<typeof memoryBodies>) => Promise<Unpacked>,
): Promise<string | Unpacked> {
  const bodies = memoryBodies()
  try {
    return await work(bodies)
  } catch (error) {
    assert.ok(isStage5Error(error, 'S5_ARCHIVE_REFUSED'), String(error))
    assert.equal(error.data['package'], 'demo_1')
    assert.match(error.message, /^demo_1 \(demo\.pkg\): [a-z-]+: [\x20-\x7e\u00a0-\uffff]+$/)
    assert.doesNotMatch(error.message, /\n|\bat .*:\d+/)
    assert.equal(error.hint, undefined)
    return error.data['reason'] as string
  } finally {
    assert.equal(bodies.unfinished(), 0)
  }
}

async function replay(
  kind: 'deb' | 'native',
  bytes: Buffer,
  expect: PackageCase['expect'],
  options = {},
): Promise<void> {
  const from = kind === 'deb' ? unpackDebFrom : unpackNativeFrom
  const settings = { label: 'demo_1', signal, ...options }
  const directory = mkdtempSync(join(tmpdir(), 's5-corpus-'))
  try {
    const file = join(directory, 'demo.pkg')
    writeFileSync(file, bytes)
    const unpack = kind === 'deb' ? unpackDeb : unpackNative
    const whole = await outcome((bodies) => unpack(file, bodies, settings))
    assert.deepEqual(readdirSync(directory), ['demo.pkg'])
    if (typeof expect === 'string') assert.equal(whole, expect)
    else {
      assert.ok(typeof whole !== 'string', `refused: ${JSON.stringify(whole)}`)
      const paths = whole.tree.names.map(({ path }) => path)
      assert.deepEqual(paths, expect)
    }
    const step = bytes.length > 3000 ? Math.ceil(bytes.length / 1500) * 2 + 1 : 1
    const source = { name: 'demo.pkg', size: bytes.length, chunks: chunksOf(bytes, step) }
    assert.deepEqual(await outcome((bodies) => from(source, bodies, settings)), whole)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

for (const { name, bytes, expect } of TAR_CASES) {
  test(`data of a .deb: ${name}`, async () => {
    await replay('deb', debOf(bytes), expect)
    assert.deepEqual(byteByByte(bytes), expect)
  })
}

/** The archive alone, pushed in pieces of one byte: the word of the refusal, or the paths. */
function byteByByte(bytes: Uint8Array): string | string[] {
  const builder = treeBuilder('demo.tar', 'demo_1', memoryBodies())
  try {
    const reader = tarReader('demo.tar', builder, { bytes: 2 ** 30 })
    for (let at = 0; at < bytes.length; at++) reader.push(bytes.subarray(at, at + 1))
    reader.end()
    return builder.tree().names.map(({ path }) => path)
  } catch (error) {
    assert.ok(isStage5Error(error, 'S5_ARCHIVE_REFUSED'), String(error))
    return error.data['reason'] as string
  }
}

for (const { name, bytes, expect, options } of DEB_CASES) {
  test(`.deb: ${name}`, () => replay('deb', bytes, expect, options))
}

for (const { name, bytes, expect } of NATIVE_CASES) {
  test(`native: ${name}`, () => replay('native', bytes, expect))
}
