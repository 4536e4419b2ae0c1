/** Guests whose root is memory, with no drive at all: what they write is gone, and being full harms nothing. */
import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { type Guest, waitReady } from '../../src/deploy/qemu.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { stage5 } from '../helpers/console.ts'
import { type Built, buildProfile, cannotBoot, shell } from '../helpers/guest.ts'
import { diskless, manifestOf } from '../helpers/i5b-memory.ts'

const DEADLINE_MS = 240_000
const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())

async function built(t: TestContext, name: string, boot: string): Promise<Built | undefined> {
  if (cannotBoot) {
    t.skip(cannotBoot)
    return undefined
  }
  mkdirSync(join(project.path, 'profiles'), { recursive: true })
  writeFileSync(
    join(project.path, `profiles/${name}.yaml`),
    `stage5: 1\nparents: [minimal]\nnetwork: none\nboot: ${boot}\nimages: [{format: squashfs, level: 3}, initrd]\n` +
      // A hard link, a symlink and a mode must survive being unpacked.
      'files:\n  - {path: /usr/share/marks/secret, content: "x\\n", mode: "0640"}\n  - {path: /usr/share/marks/link, link: secret}\n',
  )
  const found = await buildProfile(project.path, name)
  if ('file' in found) return found
  t.skip(found.skip)
  return undefined
}

async function atShell(guest: Guest): Promise<void> {
  await waitReady(guest, 'stage5: ready', DEADLINE_MS)
  await guest.waitFor('# ', DEADLINE_MS)
}

const FORGET = 'cd /; rm -rf /usr/share; ls /usr/share 2>&1'

/** Removes /usr/share, starts again, and finds everything. @returns the second guest at its shell */
async function forgets(found: Built, t: TestContext, look: (guest: Guest) => Promise<void>): Promise<void> {
  {
    await using guest = await diskless(found, 192, t.signal)
    await atShell(guest)
    assert.deepEqual(await shell(guest, FORGET), ['ls: /usr/share: No such file or directory'])
  }
  await using guest = await diskless(found, 192, t.signal)
  await atShell(guest)
  assert.deepEqual(
    await shell(guest, 'stat -c "%a %u:%g %n" /usr/share/marks/secret; readlink /usr/share/marks/link'),
    ['640 0:0 /usr/share/marks/secret', 'secret'],
  )
  assert.deepEqual(await shell(guest, 'ls /sys/block | grep -v -e loop -e zram'), [], 'no block device')
  await look(guest)
}

const FULL =
  'dd if=/dev/zero of=/full bs=64k 2>&1 | grep -o "No space left on device"; rm /full; echo still here'

test('boot: overlay has a base in memory and a limit of bytes and files', async (t) => {
  const found = await built(t, 'overlay', '{root: overlay, size: 8M, inodes: 200}')
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
  const found = await built(t, 'tmpfs', '{root: tmpfs, size: 24M}')
  if (!found) return
  await forgets(found, t, async (guest) => {
    assert.match((await shell(guest, 'grep " / " /proc/mounts')).join(), /^root \/ tmpfs rw,.*size=24576k/)
    assert.deepEqual(await shell(guest, 'grep -c squashfs /proc/mounts'), ['0'])
    assert.deepEqual(await shell(guest, FULL), ['No space left on device', 'still here'])
  })
})

test('boot: zram has the whole tree in compressed memory, with the compressor that was asked for', async (t) => {
  const found = await built(t, 'zram', '{root: zram, size: 32M, compressor: zstd}')
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

test('a root too small for the tree, and an unknown one, are said to be so', async (t) => {
  const found = await built(t, 'tmpfs', '{root: tmpfs, size: 24M}')
  if (!found) return
  for (const [words, line] of [
    [['stage5.root=tmpfs', 'stage5.rw=1M'], /the base does not fit into a root of 1M \(tmpfs\)/],
    [['stage5.root=floppy'], /stage5\.root=floppy: expected overlay, tmpfs or zram/],
    [['stage5.root=zram', 'stage5.rw=24M'], /the kernel has no zram/],
  ] as const) {
    await using guest = await diskless(found, 192, t.signal, {
      cmdline: ['console=ttyS0', 'quiet', 'panic=-1', 'stage5.wait=1', ...words],
    })
    await assert.rejects(waitReady(guest, 'stage5: ready', DEADLINE_MS), line)
  }
})

test('a root with file capabilities is not unpacked by busybox, which would lose them', async (t) => {
  if (cannotBoot) return t.skip(cannotBoot)
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
