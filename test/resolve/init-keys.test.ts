/** units and runlevels of profiles: how parents and children stack, and what is refused. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { loadProfile } from '../../src/resolve/load-profile.ts'
import type { Profile } from '../../src/resolve/profile.ts'
import { folder } from './folder.ts'

async function load(texts: { readonly [name: string]: string }): Promise<Profile> {
  const files = Object.fromEntries(
    Object.entries(texts).map(([name, text]) => [`profiles/${name}.yaml`, `${text}\n`]),
  )
  const { read, list } = folder(files)
  return (await loadProfile('x', read, list)).profile
}

test('units and runlevels add up, a later word on a name is the last', async () => {
  const { units, runlevels } = await load({
    a: 'units: [sshd, fstrim.timer, -x]\nrunlevels: {boot: [a], default: [sshd, cron, -netmount]}',
    x: 'parents: [a]\nunits: [-sshd, x.service]\nrunlevels: {boot: null, default: [-cron, netmount]}',
  })
  assert.deepEqual(units, ['-sshd.service', 'fstrim.timer', 'x.service'])
  assert.deepEqual(runlevels, { default: ['sshd', '-cron', 'netmount'] })
  assert.deepEqual(
    (await load({ a: 'runlevels: {a: [b]}', x: 'parents: [a]\nrunlevels: null' })).runlevels,
    {},
  )
})

test('units and runlevels that cannot be are refused where they stand', async () => {
  for (const [text, message] of [
    ['units: [a/b]', /^profiles\/x\.yaml:1:9: expected the name of a unit such as sshd\.service/],
    [
      'runlevels: [sshd]',
      /^profiles\/x\.yaml:1:12: expected a map of lists such as \{default: \[sshd\]\}, found a list/,
    ],
    ['runlevels: {A: [x]}', /1:13: expected the name of a runlevel/],
    ['runlevels: {a: [../x]}', /1:17: expected the name of a script in \/etc\/init\.d/],
    ['runlevels: {a: [b, -b]}', /1:20: "b" is listed twice/],
  ] as const)
    await assert.rejects(load({ x: text }), (error: unknown) => {
      assert.ok(isStage5Error(error, 'S5_PROFILE_INVALID'))
      assert.match(error.message, message)
      return true
    })
})
