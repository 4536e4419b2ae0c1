/** Guests whose root is compressed memory: what they write is gone, and what zram cannot hold is refused. */
import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { waitReady } from '../../src/deploy/qemu.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { stage5 } from '../helpers/console.ts'
import { cannotBoot, shell } from '../helpers/guest.ts'
import { diskless } from '../helpers/i5b-memory.ts'
import { builtInMemory, DEADLINE_MS, forgets } from '../helpers/i5d-ram-roots.ts'

const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())

test('boot: zram has the whole tree in compressed memory, with the compressor that was asked for', async (t) => {
  const found = await builtInMemory(t, project.path, 'zram', '{root: zram, size: 32M, compressor: zstd}')
  if (!found) return
  await forgets(found, t, async (guest) => {
    assert.match((await shell(guest, 'grep " / " /proc/mounts')).join(), /^\/dev\/zram0 \/ ext4 rw,/)
    assert.match((await shell(guest, 'cat /sys/block/zram0/comp_algorithm')).join(), /\[zstd\]/)
    const [orig = 0, compressed = 0] = (await shell(guest, 'cat /sys/block/zram0/mm_stat'))
      .join()
      .trim()
      .split(/\s+/)
      .map(Number)
    t.diagnostic(`zram: ${orig} bytes in ${compressed}`)
    assert.ok(compressed > 0 && compressed < 0.7 * orig, `${compressed} of ${orig}`)
    assert.deepEqual(
      await shell(
        guest,
        'dd if=/dev/urandom of=/full bs=64k count=700 2>&1 | grep -o "No space left on device"; rm /full; echo here',
      ),
      ['No space left on device', 'here'],
    )
  })
})

test('an unknown root is said to be one', async (t) => {
  const found = await builtInMemory(t, project.path, 'zram', '{root: zram, size: 32M, compressor: zstd}')
  if (!found) return
  const cmdline = ['console=ttyS0', 'quiet', 'panic=-1', 'stage5.root=floppy']
  await using guest = await diskless(found, 192, t.signal, { cmdline })
  await assert.rejects(
    waitReady(guest, 'stage5: ready', DEADLINE_MS),
    /stage5\.root=floppy: expected overlay, tmpfs or zram/,
  )
})

test('a root with file capabilities is not unpacked by busybox, which would lose them', async (t) => {
  if (cannotBoot) return t.skip(cannotBoot)
  mkdirSync(join(project.path, 'profiles'), { recursive: true })
  writeFileSync(
    join(project.path, 'profiles/caps.yaml'),
    'stage5: 1\nparents: [minimal]\nboot: zram\nfiles: [{path: /usr/bin/ping, content: x, mode: "0755", capabilities: cap_net_raw=ep}]\n',
  )
  const store = { STAGE5_STORE: process.env['STAGE5_STORE'] ?? join(import.meta.dirname, '../.tmp/store') }
  await stage5(project.path, ['lock', 'caps'], store)
  const refused = await stage5(project.path, ['build', 'caps'], store)
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /would lose the attribute security\.capability of \/usr\/bin\/ping/)
})
