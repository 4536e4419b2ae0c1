/** Data areas of every mode in one real guest, and an overlay that is compared, mended and reset from outside. */
import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { stage5 } from '../helpers/console.ts'
import { shellOn } from '../helpers/fdt-console.ts'
import { buildProfile, cannotBoot } from '../helpers/guest.ts'

const profile = (version: string, files: Readonly<Record<string, string>>): string => `stage5: 1
parents: [minimal]
version: "${version}"
files:
${Object.entries(files)
  .map(([path, text]) => `  - {path: ${path}, content: "${text}\\n"}`)
  .join('\n')}
data:
  - {name: keep, size: 16M, paths: [/var/keep]}
  - {name: conf, size: 16M, paths: [/etc/conf], on: overlay}
  - {name: cache, size: 4M, paths: [/var/cache], mode: ephemeral}
  - {name: packed, size: 8M, paths: [/var/packed], mode: ephemeral, on: zram}
  - {name: site, paths: [/srv/site], mode: immutable}
`

const FIRST = {
  '/etc/conf/edited': 'one',
  '/etc/conf/touched': 'one',
  '/etc/conf/plain': 'one',
  '/etc/conf/removed': 'one',
  '/etc/conf/d/x': 'one',
  '/var/keep/k': 'one',
  '/var/cache/c': 'one',
  '/var/packed/p': 'one',
  '/srv/site/s': 'one',
}
const SECOND = Object.fromEntries(
  Object.keys(FIRST).map((path) => [path, path === '/etc/conf/plain' ? 'one' : 'two']),
)

const GROUP = `profile: modes
guests: [modes-1]
driver: {kind: qemu, accel: tcg}
health: [{console: "stage5: ready"}]
`

test('each data area is what its mode says, and an overlay is compared with the next base, rebased and reset', async (t) => {
  if (cannotBoot) return t.skip(cannotBoot)
  using project = temporaryDirectory()
  const here = project.path
  mkdirSync(join(here, 'profiles'))
  mkdirSync(join(here, 'groups'))
  writeFileSync(join(here, 'groups/modes.yaml'), GROUP)
  for (const [version, files] of [
    ['1', FIRST],
    ['2', { ...SECOND, '/etc/conf/own': 'two' }],
  ] as const) {
    writeFileSync(join(here, 'profiles/modes.yaml'), profile(version, files))
    const built = await buildProfile(here, 'modes')
    if ('skip' in built) return t.skip(built.skip)
  }
  const env = { STAGE5_STORE: process.env['STAGE5_STORE'] ?? join(import.meta.dirname, '../.tmp/store') }
  const say = async (...words: string[]): Promise<{ code: number | null; text: string }> => {
    const { code, stdout, stderr } = await stage5(here, words, env)
    return { code, text: stdout + stderr }
  }
  const start = async (generation: string): Promise<void> => {
    const { code, text } = await say('guest', 'start', 'modes-1', '--generation', generation)
    assert.equal(code, 0, text)
    const until = performance.now() + 180_000
    while (!(await say('guest', 'list')).text.includes('pass'))
      assert.ok(performance.now() < until, 'it came up')
  }
  const shell = (command: string): Promise<string> => shellOn(here, 'modes-1', command)
  try {
    await start('modes/g1')
    const seen = await shell(
      'cd /etc/conf; echo mine >edited; touch touched; rm removed; rm d/x; rmdir d; echo mine >own; ' +
        'echo kept >/var/keep/k; echo gone >/var/cache/c; echo gone >/var/packed/p; ' +
        'touch /srv/site/no 2>&1; dd if=/dev/zero of=/var/cache/big bs=1M count=9 2>&1 | grep -o "No space.*"; ' +
        'grep " /etc/conf " /proc/mounts; sync',
    )
    assert.match(seen, /Read-only file system/)
    assert.match(seen, /No space left on device/)
    assert.match(
      seen,
      /overlay \/etc\/conf overlay rw,.*upperdir=\/run\/stage5\/data\/conf\/upper\/etc\/conf/,
    )
    assert.doesNotMatch(seen, /redirect_dir=on|metacopy=on|index=on/)

    const busy = await say('guest', 'rebase', 'modes-1', '--to', 'g2')
    assert.match(busy.text, /modes-1 is running: its disks are in use[\s\S]*S5_GUEST_RUNNING/)
    await say('guest', 'stop', 'modes-1')

    const status = await say('guest', 'status', 'modes-1')
    assert.deepEqual(
      status.text
        .split('\n')
        .filter((line) => line.startsWith('/'))
        .map((line) => line.replace(/ {2,}/g, '  ')),
      [
        '/etc/conf/d  conf  conflict: removed; the new base changes it, 1 name below',
        '/etc/conf/edited  conf  conflict: edited; the new base changes it',
        '/etc/conf/own  conf  conflict: own file in the place of one that is new in the base; the new base brings it',
        '/etc/conf/removed  conf  conflict: removed; the new base changes it',
        '/etc/conf/touched  conf  only touched, same content as the base; the new base changes it',
      ],
      status.text,
    )

    const warned = await say('rollout', 'plan', 'modes', '--to', 'g2')
    assert.equal(warned.code, 0, warned.text)
    assert.match(
      warned.text,
      /^hidden: modes-1: \/etc\/conf\/edited: conflict: edited; the new base changes it$/m,
    )
    writeFileSync(join(here, 'groups/modes.yaml'), `${GROUP}shadows: hold\n`)
    const held = await say('rollout', 'start', 'modes', '--to', 'g2')
    assert.match(held.text, /modes-1: \/etc\/conf\/d: conflict: removed[\s\S]*S5_ROLLOUT_REFUSED/)

    const rebased = await say('guest', 'rebase', 'modes-1')
    assert.equal(rebased.code, 1, 'two removals are left')
    assert.match(rebased.text, /1 reset, 2 kept with the new default beside them, 2 left to you/)
    const after = await say('guest', 'status', 'modes-1')
    assert.match(after.text, /edited; both kept: \/etc\/conf\/edited\.stage5-new is the new base's/)
    assert.doesNotMatch(after.text, /touched/)
    const back = await say('guest', 'reset', 'modes-1', '/etc/conf/removed')
    assert.equal(back.text, 'reset  /etc/conf/removed\n')
    const nothing = await say('guest', 'reset', 'modes-1', '/etc/conf/plain')
    assert.match(nothing.text, /modes-1 keeps nothing of its own at \/etc\/conf\/plain/)

    await start('modes/g2')
    const now = await shell(
      'cd /etc/conf; for f in edited edited.stage5-new own own.stage5-new touched removed plain /var/keep/k ' +
        '/var/cache/c /var/packed/p /srv/site/s; do echo "$f $(cat $f)"; done; ls -d d 2>&1',
    )
    assert.deepEqual(now.trim().split('\n'), [
      'edited mine',
      'edited.stage5-new two',
      'own mine',
      'own.stage5-new two',
      'touched two',
      'removed two',
      'plain one',
      '/var/keep/k kept',
      '/var/cache/c two',
      '/var/packed/p two',
      '/srv/site/s two',
      'ls: d: No such file or directory',
    ])
  } finally {
    await say('guest', 'stop', 'modes-1')
  }
})
