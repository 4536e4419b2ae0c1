import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import type { ConfigSpec } from '../../src/resolve/profile.ts'
import { services } from '../../src/stage/services.ts'
import { run } from './scene.ts'

const BUSYBOX = {
  'usr/bin/busybox': 'elf',
  bin: { link: 'usr/bin' },
  sbin: { link: 'usr/sbin' },
  'usr/sbin': {},
}
const SIGNIFY = { ...BUSYBOX, 'usr/bin/signify-openbsd': 'elf' }
const config: ConfigSpec = {
  keys: ['00'.repeat(32)],
  mode: 'ephemeral',
  urls: ['http://10.0.2.2/site.tar.gz'],
}
const memory = { name: 'memory', label: 'memory', size: 1 << 20, paths: ['/var/tmp'], kind: 'tmpfs' } as const
const area = { name: 'data', label: 'keep', size: 1 << 20, paths: ['/var/keep'] }

test('a base that trusts a key applies packages after the network is up and before its services', async () => {
  const { text, inode } = await run(services, SIGNIFY, {
    config,
    network: 'dhcp',
    services: [{ name: 'seed', run: 'true', kind: 'once' }],
  })
  const boot = await text('etc/init.d/rcS')
  const order = ['udhcpc -b', '\n/etc/stage5/config/apply\n', '/etc/stage5/services/seed'].map((part) =>
    boot.indexOf(part),
  )
  assert.ok(
    order.every((at) => at > 0),
    boot,
  )
  assert.deepEqual(
    order,
    order.toSorted((a, b) => a - b),
  )
  assert.equal(inode('etc/stage5/config/apply')?.mode, 0o755)
  const script = await text('etc/stage5/config/apply')
  assert.match(script, /^mode=ephemeral\narea=\ndefault='http:\/\/10\.0\.2\.2\/site\.tar\.gz'$/m)
  // sha256 of 32 zeros begins with 66687aadf862bd77: the number of the key, in its file and in its name.
  const key = await text('etc/stage5/config/keys/66687aadf862bd77.pub')
  const [comment, body = ''] = key.split('\n')
  assert.equal(comment, 'untrusted comment: stage5 key 66687aadf862bd77')
  assert.equal(Buffer.from(body, 'base64').toString('hex'), `456466687aadf862bd77${'00'.repeat(32)}`)
})

test('packages that must last are kept on the first data area', async () => {
  const { text } = await run(services, SIGNIFY, {
    config: { ...config, mode: 'persistent' },
    network: 'dhcp',
    data: [memory, area],
  })
  assert.match(await text('etc/stage5/config/apply'), /^area=\/run\/stage5\/data\/keep$/m)
})

for (const [name, root, parts, wanted] of [
  [
    'nothing that checks signatures',
    BUSYBOX,
    { network: 'dhcp' },
    /\/usr\/bin\/signify-openbsd, which no package brings/,
  ],
  ['no network', SIGNIFY, { network: 'none' }, /network: is none/],
  [
    'no disk to keep packages on',
    SIGNIFY,
    { network: 'dhcp', config: { ...config, mode: 'persistent' } },
    /mode: persistent/,
  ],
  [
    'no disk but memory to keep packages on',
    SIGNIFY,
    { network: 'dhcp', config: { ...config, mode: 'persistent' }, data: [memory] },
    /mode: persistent/,
  ],
  ['another init', { ...SIGNIFY, 'usr/sbin/init': 'elf' }, { network: 'dhcp' }, /work of busybox init/],
] as const)
  test(`a base with ${name} cannot apply packages`, async () => {
    await assert.rejects(
      run(services, root, { config, ...parts }),
      (error) => isStage5Error(error, 'S5_STAGE_INVALID') && wanted.test(error.message),
    )
  })

test('without keys there is no trace of it', async () => {
  const { text, paths } = await run(services, SIGNIFY, { network: 'dhcp' })
  assert.equal(/config/.test(await text('etc/init.d/rcS')), false)
  assert.deepEqual(
    paths().filter((path) => path.includes('config')),
    [],
  )
})

test('an address from the command line takes the place of DHCP', async () => {
  const { text } = await run(services, SIGNIFY, { network: 'dhcp' })
  const boot = await text('etc/init.d/rcS')
  assert.match(
    boot,
    /address=\$\(word ip\)\n {2}if \[ "\$address" \]; then\n {4}ip addr add "\$address" dev "\$port"/,
  )
  assert.match(boot, /if \[ "\$name" \]; then hostname "\$name"; else hostname -F \/etc\/hostname; fi/)
})
