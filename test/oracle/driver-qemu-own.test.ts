/** The driver qemu with a real guest: what makes each guest itself. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { guestFolder } from '../../src/deploy/drivers/folder.ts'
import { run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { openBench } from '../helpers/fd-bench-qemu.ts'
import { until } from '../helpers/fd-contract.ts'
import { toys } from '../helpers/fd-toys.ts'
import { shellOn } from '../helpers/fdt-console.ts'

test('a guest has its own name, machine-id, keys and secrets, and none of them stands in an image', async (t) => {
  const folder = await toys(t)
  if (folder === undefined) return
  const bench = openBench(folder)
  const { driver, guest, first } = bench
  await driver.prepare(guest, first, t.signal)
  await driver.switchTo(guest, first, 100, 3, t.signal)
  try {
    await until(bench, ({ health }) => health === 'pass', t.signal)
    const own = guestFolder(join(folder, '.stage5/guests'), guest.name)
    const said = await shellOn(
      folder,
      guest.name,
      [
        'hostname; cat /etc/machine-id /etc/toy.key; ls -l /etc/toy.key | cut -c1-10; df -m /srv/keep | tail -1',
        'cat /run/resolv.conf; pidof udhcpc || echo static; ip -o -4 route show default | cut -d " " -f1-3',
        'cat /etc/ssh/ssh_host_ed25519_key.pub; ls -l /etc/ssh/ssh_host_ed25519_key | cut -c1-10',
      ].join('; '),
    )
    const lines = said.trim().split('\n')
    const id = own.read('machine-id')
    assert.match(id, /^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/)
    assert.deepEqual(lines.slice(0, 4), ['toy-1.example', id, 'the secret of toy-1', '-rw-------'])
    const megabytes = Number(/\s(\d+)\s/.exec(lines[4] as string)?.[1])
    assert.ok(megabytes > 20, `the group made the disk larger than 16 MiB: ${lines[4]}`)
    assert.deepEqual(lines.slice(5), [
      ...['nameserver 10.0.2.99', 'static', 'default via 10.0.2.2'],
      ...[own.read('ssh/ssh_host_ed25519_key.pub'), '-rw-------'],
    ])
    await driver.prepare(guest, first, t.signal)
    assert.equal(own.read('machine-id'), id)
  } finally {
    await driver.stop(guest, t.signal)
  }
  using work = temporaryDirectory()
  const secrets = [
    'the secret of toy-1',
    readFileSync(join(folder, '.stage5/guests/toy-1/machine-id'), 'utf8').trim(),
    readFileSync(join(folder, '.stage5/guests/toy-1/ssh/ssh_host_ed25519_key'), 'utf8').split(
      '\n',
    )[1] as string,
  ]
  for (const name of readdirSync(first.directory)) {
    const path = join(first.directory, name)
    const plain = join(work.path, 'plain')
    if (name.endsWith('.squashfs')) {
      await run(['unsquashfs', '-n', '-d', plain, path], { accept: 'any' })
      const { code } = await run(['grep', '-r', '-q', secrets[0] as string, plain], { accept: 'any' })
      assert.equal(code, 1, name)
    } else if (name.endsWith('.initrd')) {
      const { stdout } = await run(['zstd', '-dcq', path])
      writeFileSync(plain, stdout)
      for (const secret of secrets) assert.ok(!stdout.includes(secret), name)
      await run(['rm', plain])
    } else for (const secret of secrets) assert.ok(!readFileSync(path).includes(secret), name)
  }
})
