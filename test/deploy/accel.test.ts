import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { probeAccel, probeSector, runsUnder } from '../../src/deploy/accel.ts'
import { findTool } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'

const { signal } = new AbortController()
const needsQemu = { skip: findTool('qemu-system-x86_64') ? false : 'needs qemu-system-x86_64' }
const onX64 = { skip: process.arch === 'x64' ? false : 'needs an x86-64 machine' }

test('the probe guest is one boot sector', () => {
  const sector = probeSector()
  assert.equal(sector.length, 512)
  assert.deepEqual([...sector.subarray(510)], [0x55, 0xaa])
})

test(
  'the probe guest really runs under TCG, and a guest that does not end counts as no',
  needsQemu,
  async () => {
    assert.equal(await runsUnder('tcg', 30_000, signal), true)
    assert.equal(await runsUnder('tcg', 1, signal), false)
  },
)

test('without a device the answer is tcg, and nothing is remembered', async () => {
  using folder = temporaryDirectory()
  const cacheFile = join(folder.path, 'accel')
  const device = join(folder.path, 'kvm')
  assert.equal(await probeAccel({ arch: 'amd64', device, cacheFile, signal }), 'tcg')
  assert.equal(existsSync(cacheFile), false)
})

test('an answer is remembered for this start of the machine only', { ...onX64, ...needsQemu }, async () => {
  using folder = temporaryDirectory()
  const cacheFile = join(folder.path, 'accel')
  const device = join(folder.path, 'kvm')
  writeFileSync(device, '')
  const probe = { arch: 'amd64', device, cacheFile, signal, timeoutMs: 1 } as const
  assert.equal(await probeAccel(probe), 'tcg')
  const kept = readFileSync(cacheFile, 'latin1')
  assert.match(kept, /\ntcg\n$/)
  writeFileSync(cacheFile, kept.replace('\ntcg\n', '\nkvm\n'))
  assert.equal(await probeAccel(probe), 'kvm', 'the file was believed')
  writeFileSync(cacheFile, kept.replace('\ntcg\n', '\nkvm\n').replace(/ \w+/, ' another'))
  assert.equal(await probeAccel(probe), 'tcg', 'the file of another start was not')
  writeFileSync(cacheFile, 'nonsense')
  assert.equal(await probeAccel(probe), 'tcg')
})

test('a cache that cannot be written is no error', { ...onX64, ...needsQemu }, async () => {
  using folder = temporaryDirectory()
  const device = join(folder.path, 'kvm')
  writeFileSync(device, '')
  const cacheFile = join(folder.path, 'no', 'such', 'folder')
  assert.equal(await probeAccel({ arch: 'amd64', device, cacheFile, signal, timeoutMs: 1 }), 'tcg')
})

test('other architectures are emulated', async () => {
  assert.equal(await probeAccel({ arch: 'arm64', device: '/dev/null', signal }), 'tcg')
})
