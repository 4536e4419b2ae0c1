import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { loadProfile } from '../../src/resolve/load-profile.ts'
import type { Profile } from '../../src/resolve/profile.ts'
import { folder } from './folder.ts'

async function load(text: string, parent = ''): Promise<Profile> {
  const { read, list } = folder({
    'profiles/x.yaml': `stage5: 1\nparents: [p]\n${text}`,
    'profiles/p.yaml': `stage5: 1\n${parent}`,
  })
  return (await loadProfile('x', read, list)).profile
}

async function refused(text: string): Promise<string> {
  try {
    await load(text)
  } catch (error) {
    if (isStage5Error(error, 'S5_PROFILE_INVALID')) return error.message
    throw error
  }
  throw new Error(`taken: ${text}`)
}

test('boot: names the root alone, or among the keys of the boot test', async () => {
  const boot = { ready: 'stage5: ready', memory: 128, timeoutSeconds: 60 }
  const root = { kind: 'zram', size: 0, inodes: 0, compressor: 'lzo-rle' }
  assert.deepEqual((await load('boot: zram\n')).boot, { ...boot, root })
  assert.deepEqual((await load('boot: overlay\n')).boot, boot)
  assert.deepEqual((await load('boot: {root: zram, compressor: lz4, size: 64M, memory: 256M}\n')).boot, {
    ...boot,
    memory: 256,
    root: { ...root, compressor: 'lz4', size: 64 << 20 },
  })
})

test('a later profile changes the root and keeps the limits of its parent, and the other way round', async () => {
  const parent = 'boot: {memory: 256M, size: 8M, inodes: 500}\n'
  const changed = await load('boot: tmpfs\n', parent)
  assert.equal(changed.boot.memory, 256)
  assert.deepEqual(changed.boot.root, { kind: 'tmpfs', size: 8 << 20, inodes: 500, compressor: 'lzo-rle' })
  assert.equal((await load('boot: {size: 16M}\n', 'boot: zram\n')).boot.root?.kind, 'zram')
  assert.equal((await load('boot: null\n', 'boot: zram\n')).boot.root, undefined)
})

test('memory and budgets are sizes, and a later profile changes one of them', async () => {
  const { memory, budget } = await load(
    'memory: 128M\nbudget: {base: 20M, tar: null}\n',
    'budget: {total: 40M, tar: 1M}\n',
  )
  assert.equal(memory, 128)
  assert.deepEqual(budget, { total: 40 << 20, base: 20 << 20 })
  assert.deepEqual((await load('budget: null\n', 'budget: {total: 40M}\n')).budget, {})
})

test('keys of config packages are read as PEM and as its base64', async () => {
  const { publicKey } = generateKeyPairSync('ed25519')
  const pem = publicKey.export({ type: 'spki', format: 'pem' }) as string
  const der = publicKey.export({ type: 'spki', format: 'der' })
  const raw = der.subarray(12).toString('hex')
  for (const written of [JSON.stringify(pem), der.toString('base64')])
    assert.deepEqual(
      (await load(`config: {keys: [${written}], mode: persistent, urls: ["http://10.0.2.2/a"]}\n`)).config,
      {
        keys: [raw],
        mode: 'persistent',
        urls: ['http://10.0.2.2/a'],
      },
    )
})

for (const [name, text, wanted] of [
  ['an unknown root', 'boot: floppy\n', /boot|overlay/],
  ['a limit that is no size', 'boot: {size: many}\n', /3:14: expected/],
  ['memory in halves', 'memory: 1000K\n', /3:9: expected whole mebibytes/],
  ['an output that nobody writes', 'budget: {bass: 20M}\n', /3:10: unknown key "bass"; known: base, kernel/],
  ['a budget that is no size', 'budget: {base: small}\n', /3:16: expected/],
  ['budgets in a list', 'budget: [20M]\n', /3:9: expected a map such as \{base: 20M\}/],
  [
    'a key of RSA',
    'config: {keys: [TUlJQklqQU5CZ2txaGtpRzl3MEJBUUVG]}\n',
    /3:17: expected an Ed25519 public key/,
  ],
  [
    'a package over https, which busybox cannot prove',
    'config: {urls: ["https://a/b"]}\n',
    /3:17: expected an address such as http:/,
  ],
] as const)
  test(`${name} is refused at its place`, async () => {
    assert.match(await refused(text), wanted)
  })
