/** `stage5 group` and `stage5 guest` as a user meets them, with a guest that really runs in a root of its own. */
import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { growDisk, makeDisk } from '../../src/deploy/drivers/data.ts'
import { readSparse } from '../../src/deploy/sparse.ts'
import { isStage5Error } from '../../src/base/errors.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { expectConsole, type Ran, stage5 } from '../helpers/console.ts'
import { packedProject, type Project } from '../helpers/project.ts'

const GROUP = `profile: shop
guests: [shop-1, {name: shop-2, canary: true}]
driver: {kind: dir, run: [chroot, "{root}", /bin/busybox, sleep, "1000000"], stopSeconds: 5}
templates: {hostname: "{name}.example"}
waves: [1, 100%]
maxUnavailable: 1
minAvailable: 50%
`

let project: Project
before(async () => {
  project = await packedProject()
  mkdirSync(join(project.directory, 'groups'))
  writeFileSync(join(project.directory, 'groups/shops.yaml'), GROUP)
  // A program that runs without libraries, beside what the profile has.
  mkdirSync(join(project.directory, 'tools'))
  copyFileSync(findTool('busybox') ?? '/bin/sh', join(project.directory, 'tools/busybox'))
  writeFileSync(join(project.directory, 'stages/small.yaml'), 'stages: [files, os-release]\n')
  const profile = join(project.directory, 'profiles/shop.yaml')
  const text = readFileSync(profile, 'utf8').replace('pipeline: plain', 'pipeline: small')
  writeFileSync(profile, `${text}files:\n  - {path: /bin/busybox, from: ../tools/busybox, mode: 0755}\n`)
})
after(() => project[Symbol.dispose]())

async function json(...words: string[]): Promise<{ code: number | null; data: never; ran: Ran }> {
  const ran = await stage5(project.directory, [...words, '--json'])
  return { code: ran.code, data: JSON.parse(ran.stdout || 'null') as never, ran }
}

test('groups are listed and checked; what is wrong has a place', async (t) => {
  await expectConsole(t, 'group-list', project.directory, ['group', 'list'])
  await expectConsole(t, 'group-check', project.directory, ['group', 'check'])
  await expectConsole(t, 'group-usage', project.directory, ['group', 'lst'])
  await expectConsole(t, 'group-missing', project.directory, ['group', 'list', '--groups', 'nowhere'])
  await expectConsole(t, 'guest-unknown', project.directory, ['guest', 'show', 'shop-3'])
  await expectConsole(t, 'guest-group-unknown', project.directory, ['guest', 'list', '--group', 'shop'])
  await expectConsole(t, 'guest-usage', project.directory, ['guest', 'strat'])
  await expectConsole(t, 'guest-log-off', project.directory, ['guest', 'log', 'shop-1'])
  const other = join(project.directory, 'groups/b.yaml')
  writeFileSync(other, 'profile: shop\nguests: [shop-2]\ndriver: dir\n')
  await expectConsole(t, 'group-twice', project.directory, ['group', 'check'])
  writeFileSync(other, 'profile: shop\nguests: [shop-9]\ndriver: dir\ndata: {www: 1G}\n')
  await expectConsole(t, 'group-area', project.directory, ['group', 'check'])
  writeFileSync(other, 'profile: shop\nguests: [shop-9]\ndriver: {kind: qemu, forward: ["{index}:http"]}\n')
  await expectConsole(t, 'group-forward', project.directory, ['group', 'check'])
  writeFileSync(other, 'profile: shop\nguests: [s-8, s-9]\ndriver: {kind: qemu, forward: ["8080:80"]}\n')
  await expectConsole(t, 'group-port-twice', project.directory, ['group', 'check'])
  rmSync(other)
})

test('a guest is created, started, seen, stopped and retired', async (t) => {
  if (process.getuid?.() !== 0 || findTool('busybox') === undefined) return t.skip('needs root and busybox')
  assert.equal((await stage5(project.directory, ['lock', 'shop'])).code, 0)
  const built = await stage5(project.directory, ['build', 'shop'])
  assert.equal(built.code, 0, built.stderr)
  const created = await json('guest', 'create', '--group', 'shops')
  assert.deepEqual(created.data, { guests: ['shop-1', 'shop-2'] }, created.ran.stderr)
  const folder = join(project.directory, '.stage5/guests/shop-1')
  const id = readFileSync(join(folder, 'machine-id'), 'utf8')
  const other = readFileSync(join(folder, '../shop-2/machine-id'), 'utf8')
  assert.match(id, /^[0-9a-f]{32}\n$/)
  assert.notEqual(id, other)
  try {
    const started = await stage5(project.directory, ['guest', 'start', 'shop-1'])
    assert.equal(started.code, 0, started.stderr)
    const { data } = await json('guest', 'show', 'shop-1')
    const seen = data as { power: string; health: string; good: string; bootId: string; machineId: string }
    assert.deepEqual([seen.power, seen.health, seen.machineId], ['on', 'pass', id.trim()])
    assert.match(seen.good, /^g1-[0-9a-f]{12}$/)
    const [, , , pid = ''] = readFileSync(join(folder, 'run/started'), 'utf8').split(' ')
    const inside = (path: string): string => readFileSync(`/proc/${pid}/root${path}`, 'utf8')
    assert.equal(inside('/etc/hostname'), 'shop-1.example\n')
    assert.equal(inside('/etc/machine-id'), id)
    const again = await json('guest', 'start', 'shop-1')
    assert.equal((again.data as { bootId: string }).bootId, seen.bootId, 'a guest that runs is left alone')
    const listed = (await json('guest', 'list')).data as { name: string; power: string }[]
    assert.deepEqual(
      listed.map(({ name, power }) => [name, power]),
      [
        ['shop-1', 'on'],
        ['shop-2', 'off'],
      ],
    )
    mkdirSync(join(folder, 'data'), { recursive: true })
    writeFileSync(join(folder, 'data/keep.ext4'), '')
    const grown = await stage5(project.directory, ['guest', 'grow', 'shop-1', 'keep', '32M'])
    assert.match(grown.stderr, /shop-1 is running: its disks are in use[^]*S5_GUEST_RUNNING/)
    await expectConsole(t, 'guest-console-none', project.directory, ['guest', 'console', 'shop-1'])
  } finally {
    await stage5(project.directory, ['guest', 'stop', 'shop-1'])
  }
  assert.equal(((await json('guest', 'show', 'shop-1')).data as { power: string }).power, 'off')
  const retired = (await json('guest', 'retire', 'shop-1')).data as { kept: string }
  assert.equal(readFileSync(join(retired.kept, 'machine-id'), 'utf8'), id)
  assert.ok(!existsSync(folder))
})

test('a data disk grows and keeps what is on it; it never shrinks', async (t) => {
  using folder = temporaryDirectory()
  const template = join(folder.path, 'template')
  await run(['truncate', '-s', '16M', template])
  await run(['mke2fs', '-q', '-F', '-t', 'ext4', template])
  writeFileSync(join(folder.path, 'hello'), 'kept\n')
  await run(['debugfs', '-w', '-R', `write ${join(folder.path, 'hello')} /hello`, template])
  const disk = join(folder.path, 'disk')
  await makeDisk(await readSparse(template), disk, undefined, t.signal)
  assert.deepEqual(readFileSync(disk), readFileSync(template))
  assert.ok(statSync(disk).blocks <= statSync(template).blocks + 64, 'holes stay holes')
  await growDisk(disk, 64 * 2 ** 20, t.signal)
  assert.equal(statSync(disk).size, 64 * 2 ** 20)
  assert.match((await run(['dumpe2fs', '-h', disk])).stdout.toString(), /^Block count: +(65536|16384)$/m)
  assert.equal((await run(['debugfs', '-R', 'cat /hello', disk])).stdout.toString(), 'kept\n')
  await run(['e2fsck', '-f', '-n', disk])
  await assert.rejects(growDisk(disk, 2 ** 20, t.signal), (error) => isStage5Error(error, 'S5_IMAGE_INPUT'))
})
