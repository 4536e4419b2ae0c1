/** Guests whose root is memory, with no drive at all, built and destroyed from within. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { type Guest, waitReady } from '../../src/deploy/qemu.ts'
import { builtOnce } from './built.ts'
import { type Built, shell } from './guest.ts'
import { diskless } from './i5b-memory.ts'

export const DEADLINE_MS = 240_000

/** `minimal` with `boot:`, in one initrd. */
export function builtInMemory(
  t: TestContext,
  project: string,
  name: string,
  boot: string,
): Promise<Built | undefined> {
  const text =
    `stage5: 1\nparents: [minimal]\nnetwork: none\nboot: ${boot}\nimages: [{format: squashfs, level: 3}, initrd]\n` +
    // A hard link, a symlink and a mode must survive being unpacked.
    'files:\n  - {path: /usr/share/marks/secret, content: "x\\n", mode: "0640"}\n  - {path: /usr/share/marks/link, link: secret}\n'
  return builtOnce(t, project, name, text)
}

async function atShell(guest: Guest): Promise<void> {
  await waitReady(guest, 'stage5: ready', DEADLINE_MS)
  await guest.waitFor('# ', DEADLINE_MS)
}

const FORGET = 'cd /; rm -rf /usr/share; ls /usr/share 2>&1'

/** Removes /usr/share, starts again, and finds everything. @returns the second guest at its shell */
export async function forgets(
  found: Built,
  t: TestContext,
  look: (guest: Guest) => Promise<void>,
): Promise<void> {
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

/** Fills the root and gives the room back. */
export const FULL =
  'dd if=/dev/zero of=/full bs=64k 2>&1 | grep -o "No space left on device"; rm /full; echo still here'
