/**
 * A disk that fails: each operation of everything a store does, one after the other, with each errno.
 *
 * After each failure the store opens, what was acknowledged is there, nothing wrong is visible, and the same work
 * succeeds without a repair step.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import type { Code } from '../../src/base/codes.ts'
import { isStage5Error } from '../../src/base/errors.ts'
import { type Disk, realDisk } from '../../src/host/disk.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { openStore } from '../../src/store/store.ts'
import { type Errno, type Fault, faultyDisk, MUTANTS } from '../helpers/faults.ts'
import { ingest, problemsOf, useEverything, wrongWith } from './workload.ts'

/** Memory is the fastest disk; power cuts have their own test. */
const FAST = existsSync('/dev/shm') ? '/dev/shm' : undefined

/** @returns what is wrong afterwards; the empty list is what the store promises */
async function brokenRun(path: string, disk: Disk, failed: (error: unknown) => void): Promise<string[]> {
  const wrong: string[] = []
  const acknowledged = ['before']
  {
    await using store = await openStore(path)
    await ingest(store, 'before')
  }
  try {
    await using store = await openStore(path, { disk })
    await useEverything(store, 'during', () => acknowledged.push('during'))
  } catch (error) {
    failed(error)
  }
  await using store = await openStore(path)
  for (const seed of acknowledged) {
    const what = await wrongWith(store, seed)
    if (what) wrong.push(what)
  }
  wrong.push(...(await problemsOf(store)))
  const left = readdirSync(join(store.path, 'staging'))
  if (left.length > 0) wrong.push(`left in staging: ${left.join(' ')}`)
  try {
    await useEverything(store, 'during')
  } catch (error) {
    wrong.push(`the next run failed: ${String(error)}`)
  }
  for (const what of [await wrongWith(store, 'during'), ...(await problemsOf(store))])
    if (what) wrong.push(what)
  return wrong
}

/** What is no plain failure of the disk. */
const CODES: { readonly [kind: string]: Code } = { ENOSPC: 'S5_DISK_FULL', EROFS: 'S5_FILE_FORBIDDEN' }

/** Runs with the fault at 1, 2, 3 … until one gets through without meeting it. */
async function failEverywhere(kind: Errno | 'short', lasting: boolean, step: number): Promise<number> {
  using directory = temporaryDirectory(FAST)
  for (let at = 1; ; at += step) {
    const fault: Fault = { at, with: kind, lasting }
    const disk = faultyDisk(fault)
    let error: unknown
    const path = join(directory.path, String(at))
    mkdirSync(path)
    const wrong = await brokenRun(path, disk, (found) => (error = found))
    const where = `${kind} at operation ${at}`
    assert.deepEqual(wrong, [], where)
    if (kind === 'short') assert.equal(error, undefined, where)
    else if (error !== undefined) {
      const code = CODES[kind] ?? 'S5_DISK_FAILED'
      assert.ok(isStage5Error(error, code), where)
      assert.ok(/^(?:object sha256|ref |\/)/.test(error.message), error.message)
    }
    if (!disk.struck) return at
  }
}

for (const kind of ['ENOSPC', 'EIO', 'EMFILE', 'EROFS', 'EMLINK', 'EXDEV', 'short'] as const)
  test(`every operation survives ${kind}`, async () => {
    const count = await failEverywhere(kind, false, kind === 'EIO' ? 1 : 5)
    assert.ok(count > 40, `only ${count} operations were tried`)
  })

test('every operation survives a disk that stays full', async () => {
  assert.ok((await failEverywhere('ENOSPC', true, 5)) > 40)
})

test('a disk that takes only part of what is written is noticed where the loop is missing', async () => {
  using directory = temporaryDirectory(FAST)
  const wrong = await brokenRun(directory.path, MUTANTS.shortWrites, () => {})
  assert.notDeepEqual(wrong, [])
})

test('a store that writes where readers look is noticed', async () => {
  let noticed = 0
  for (let at = 5; at < 30; at += 3) {
    using directory = temporaryDirectory(FAST)
    const mutant = MUTANTS.directWrite
    let count = 0
    const fail = (): void => {
      count++
      if (count >= at) throw Object.assign(new Error('EIO: injected'), { code: 'EIO' })
    }
    const disk: Disk = {
      ...mutant,
      open: (path, how, mode) => {
        fail()
        return mutant.open(path, how, mode)
      },
      write: (fd, bytes, from, length) => {
        fail()
        return realDisk.write(fd, bytes, from, length)
      },
    }
    if ((await brokenRun(directory.path, disk, () => {}).catch(() => ['cannot be opened'])).length > 0)
      noticed++
  }
  assert.ok(noticed > 0)
})

test('a failed transaction cannot be committed later, and the batch goes on with new work', async () => {
  using directory = temporaryDirectory(FAST)
  let broken = false
  const disk: Disk = {
    ...realDisk,
    sync: async (path, scope) => {
      if (broken) throw Object.assign(new Error('EIO: injected'), { code: 'EIO' })
      await realDisk.sync(path, scope)
    },
  }
  await using store = await openStore(directory.path, { disk })
  broken = true
  await using transaction = store.begin()
  const body = transaction.bodies.open(3)
  body.write(Buffer.from('abc'))
  const content = body.close()
  await assert.rejects(transaction.commit(), { code: 'S5_DISK_FAILED' })
  await assert.rejects(transaction.commit(), RangeError)
  const written = await store.write(Buffer.from('lost'))
  await assert.rejects(store.flush(), { code: 'S5_DISK_FAILED' })
  broken = false
  assert.deepEqual([store.has(content), store.has(written)], [false, false])
  await ingest(store, 'after')
  assert.equal(await wrongWith(store, 'after'), undefined)
  assert.deepEqual(readdirSync(join(store.path, 'staging')), [])
})
