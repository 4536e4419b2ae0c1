/** dm-verity end to end: veritysetup reads our hash trees, and a guest refuses a base that is not what its root hash says. */
import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { waitReady } from '../../src/deploy/qemu.ts'
import { ioctlProgram } from '../../src/emit/ioctl-program.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { bootBuilt, type Built, buildProfile, cannotBoot, shell } from '../helpers/guest.ts'

const DEADLINE_MS = 240_000
const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())

let output: Promise<Built | { skip: string }> | undefined

async function built(t: TestContext): Promise<Built | undefined> {
  const missing = cannotBoot || (findTool('veritysetup') === undefined && 'needs veritysetup')
  if (missing) {
    t.skip(missing)
    return undefined
  }
  mkdirSync(join(project.path, 'profiles'), { recursive: true })
  writeFileSync(
    join(project.path, 'profiles/proved.yaml'),
    'stage5: 1\nparents: [minimal]\nnetwork: none\nimages: [squashfs, verity]\n',
  )
  output ??= buildProfile(project.path, 'proved')
  const found = await output
  if ('file' in found) return found
  t.skip(found.skip)
  return undefined
}

function rootHashOf(found: Built): string {
  return readFileSync(found.file('.roothash'), 'latin1').trim()
}

/** A copy of a file with one bit of one byte turned over. */
function flipped(folder: string, path: string, at: number): string {
  const bytes = readFileSync(path)
  bytes[at] = (bytes[at] as number) ^ 1
  const copy = join(folder, `flipped-${at}`)
  writeFileSync(copy, bytes)
  return copy
}

test('veritysetup finds our tree right, and one flipped byte wrong', async (t) => {
  const found = await built(t)
  if (!found) return
  using folder = temporaryDirectory()
  const verify = (base: string) =>
    run(['veritysetup', 'verify', base, found.file('.verity'), rootHashOf(found)], { accept: 'any' })
  assert.equal((await verify(found.file('.squashfs'))).code, 0)
  const wrong = await verify(flipped(folder.path, found.file('.squashfs'), 300_000))
  assert.notEqual(wrong.code, 0)
  assert.match(wrong.stderr, /verification failed/i)
})

test('a guest reads its base through dm-verity', async (t) => {
  const found = await built(t)
  if (!found) return
  const words = readFileSync(found.file('.cmdline'), 'latin1').trim().split(' ')
  assert.ok(words.includes(`roothash=${rootHashOf(found)}`))
  await using guest = await bootBuilt(found, t.signal, { verity: found.file('.verity'), cmdline: words })
  await waitReady(guest, 'stage5: ready', DEADLINE_MS)
  await guest.waitFor('# ', DEADLINE_MS)
  assert.match((await shell(guest, 'grep /base /proc/mounts')).join(), /^\/dev\/dm-0 \S+ squashfs ro,/)
  assert.deepEqual(await shell(guest, 'cat /sys/block/dm-0/dm/name /sys/block/dm-0/ro'), ['base', '1'])
})

test('a base, a tree or a root hash that is wrong stops the boot in one clear line', async (t) => {
  const found = await built(t)
  if (!found) return
  using folder = temporaryDirectory()
  const base = found.file('.squashfs')
  const verity = found.file('.verity')
  const size = readFileSync(base).length
  const other = join(folder.path, 'other')
  copyFileSync(base, other)
  const roothash = rootHashOf(found)
  const wrongHash = roothash.replace(/^./, (digit) => (digit === '0' ? '1' : '0'))
  const damaged = new RegExp(`the base /dev/vda is damaged: it is not what roothash=[0-9a-f]{64} says`)
  const cases = [
    {
      name: 'a byte of a file that boot does not read',
      more: { base: flipped(folder.path, base, size >> 1), verity },
      line: damaged,
    },
    {
      name: 'a byte of the tree',
      more: { base, verity: flipped(folder.path, verity, 4096 + 40) },
      line: damaged,
    },
    { name: 'another root hash', more: { base, verity }, hash: wrongHash, line: damaged },
    { name: 'no tree', more: { base }, line: /no hash tree found: no disk has the serial/ },
    { name: 'another disk as tree', more: { base, verity: other }, line: /\/dev\/vdb holds no hash tree/ },
  ]
  for (const { name, more, hash = roothash, line } of cases) {
    const cmdline = ['quiet', `roothash=${hash}`, 'stage5.wait=1']
    await using guest = await bootBuilt(found, t.signal, { ...more, cmdline })
    await assert.rejects(
      waitReady(guest, 'stage5: ready', DEADLINE_MS),
      (error) => isStage5Error(error, 'S5_NOT_BOOTED') && line.test(JSON.stringify(error.data['reason'])),
      name,
    )
  }
})

test('objdump reads the ioctl program as it is meant, and this kernel runs it', async (t) => {
  if (!findTool('objdump')) return t.skip('needs objdump')
  if (process.arch !== 'x64') return t.skip('needs an amd64 machine')
  using folder = temporaryDirectory()
  const program = join(folder.path, 'ioctl')
  writeFileSync(program, ioctlProgram('amd64'), { mode: 0o755 })
  const raw = ['objdump', '-D', '-b', 'binary', '-m', 'i386:x86-64', '--start-address=120', program]
  const text = (await run(raw)).stdout.toString()
  const targets = [...text.matchAll(/\bjs +0x([0-9a-f]+)/g)].map(([, target]) => target)
  assert.deepEqual(targets, ['c0', 'c0', 'c0'])
  assert.match(text, /^ +c0:\t.*\tneg +%eax$/m)
  const request = Buffer.alloc(72)
  request.writeUInt32LE(0x5401) // TCGETS
  const status = async (device: string): Promise<number> =>
    (await run([program, device], { input: request, accept: 'any' })).code
  assert.equal(await status('/dev/ptmx'), 0)
  assert.equal(await status('/dev/null'), 25, 'ENOTTY')
  assert.equal(await status('/missing'), 2, 'ENOENT')
})
