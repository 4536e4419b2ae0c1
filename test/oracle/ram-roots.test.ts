/** Guests whose root is memory, with no drive at all: what they write is gone, and being full harms nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { waitReady } from '../../src/deploy/qemu.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { shell } from '../helpers/guest.ts'
import { diskless, manifestOf } from '../helpers/i5b-memory.ts'
import { builtInMemory, DEADLINE_MS, forgets, FULL } from '../helpers/i5d-ram-roots.ts'

const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())

test('boot: overlay has a base in memory and a limit of bytes and files', async (t) => {
  const found = await builtInMemory(t, project.path, 'overlay', '{root: overlay, size: 8M, inodes: 200}')
  if (!found) return
  assert.match(manifestOf(found).boot.memoryCmdline ?? '', / stage5\.rw=8192K stage5\.inodes=200( |$)/)
  await forgets(found, t, async (guest) => {
    assert.match((await shell(guest, 'grep " / " /proc/mounts')).join(), /^overlay \/ overlay rw,/)
    assert.deepEqual(await shell(guest, FULL), ['No space left on device', 'still here'])
    const many =
      'mkdir /m; for n in $(seq 300); do : >/m/$n || break; done 2>&1 | grep -o "No space left on device"'
    assert.deepEqual(await shell(guest, many), ['No space left on device'])
    assert.deepEqual(await shell(guest, 'rm -r /m && echo x >/x && cat /x'), ['x'])
  })
})

test('boot: tmpfs has the whole tree in memory, and lets the base go', async (t) => {
  const found = await builtInMemory(t, project.path, 'tmpfs', '{root: tmpfs, size: 24M}')
  if (!found) return
  await forgets(found, t, async (guest) => {
    assert.match((await shell(guest, 'grep " / " /proc/mounts')).join(), /^root \/ tmpfs rw,.*size=24576k/)
    assert.deepEqual(await shell(guest, 'grep -c squashfs /proc/mounts'), ['0'])
    assert.deepEqual(await shell(guest, FULL), ['No space left on device', 'still here'])
  })
})

test('a root too small for the tree, and one that the kernel cannot have, are said to be so', async (t) => {
  const found = await builtInMemory(t, project.path, 'tmpfs', '{root: tmpfs, size: 24M}')
  if (!found) return
  for (const [words, line] of [
    [['stage5.root=tmpfs', 'stage5.rw=1M'], /the base does not fit into a root of 1M \(tmpfs\)/],
    [['stage5.root=zram', 'stage5.rw=24M'], /the kernel has no zram/],
  ] as const) {
    await using guest = await diskless(found, 192, t.signal, {
      cmdline: ['console=ttyS0', 'quiet', 'panic=-1', 'stage5.wait=1', ...words],
    })
    await assert.rejects(waitReady(guest, 'stage5: ready', DEADLINE_MS), line)
  }
})
