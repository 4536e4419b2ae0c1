/** The bundled profiles, built from Debian packages and booted: what only a kernel can say about our output. */
import assert from 'node:assert/strict'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { copyDataDisk } from '../../src/deploy/data-disk.ts'
import { type Guest, waitReady } from '../../src/deploy/qemu.ts'
import { INIT_APPLETS } from '../../src/emit/initramfs.ts'
import { cpioHeader, cpioPadding, cpioTrailer } from '../../src/format/cpio.ts'
import { FILE_TYPE } from '../../src/format/file-type.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { builtOnce } from '../helpers/built.ts'
import { bootBuilt, type Built, buildProfile, freePort, httpGet, noise, shell } from '../helpers/guest.ts'

const READY = 'stage5: ready'
const DEADLINE_MS = 240_000
const MIB = 1024 * 1024

const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())

function output(t: TestContext, profile: string): Promise<Built | undefined> {
  return builtOnce(t, project.path, profile)
}

async function ready(guest: Guest): Promise<void> {
  await waitReady(guest, READY, DEADLINE_MS)
}

/** An initrd in which a later archive replaces one file. */
function initrdWith(built: Built, folder: string, name: string, text: string): string {
  const body = Buffer.from(text)
  const mode = FILE_TYPE.file | 0o644
  const member = { name, ino: 1, mode, uid: 0, gid: 0, nlink: 1, mtime: 0, rdevMajor: 0, rdevMinor: 0 }
  const head = cpioHeader({ ...member, size: body.length })
  const archive = Buffer.concat([head, body, cpioPadding(body.length)])
  const first = readFileSync(built.file('.initrd'))
  const path = join(folder, 'changed.initrd')
  writeFileSync(path, Buffer.concat([first, cpioPadding(first.length), archive, cpioTrailer(archive.length)]))
  return path
}

function notBooted(line: RegExp): (error: unknown) => boolean {
  return (error) => isStage5Error(error, 'S5_NOT_BOOTED') && line.test(JSON.stringify(error.data['reason']))
}

test('minimal boots with 128 MiB to its ready line, and everything that boots is small', async (t) => {
  const built = await output(t, 'minimal')
  if (!built) return
  const sizes = ['.vmlinuz', '.initrd', '.squashfs'].map((ending) => statSync(built.file(ending)).size)
  const total = sizes.reduce((sum, size) => sum + size, 0)
  t.diagnostic(`kernel, initrd, base: ${sizes.join(' + ')} = ${(total / MIB).toFixed(2)} MiB`)
  assert.ok(total < 16 * MIB, `${total} bytes`)
  const start = performance.now()
  await using guest = await bootBuilt(built, t.signal)
  await ready(guest)
  t.diagnostic(`ready after ${((performance.now() - start) / 1000).toFixed(1)} s`)
  assert.ok(
    guest.last(100).some((line) => /^stage5: base \/dev\/vda minimal \S+$/.test(line)),
    guest.last(20).join('\n'),
  )
  await guest.waitFor('# ', DEADLINE_MS)
  assert.deepEqual(await shell(guest, 'echo $((6*7))'), ['42'])
  assert.match((await shell(guest, 'grep " / " /proc/mounts')).join(), /^overlay \/ overlay rw,/)
  assert.match((await shell(guest, 'grep /base /proc/mounts')).join(), /squashfs ro,/)
  guest.write('poweroff\n')
  assert.equal((await guest.exited).code, 0)
})

test('what is written beside the data disks is gone after a reboot', async (t) => {
  const built = await output(t, 'minimal')
  if (!built) return
  for (const time of [1, 2]) {
    await using guest = await bootBuilt(built, t.signal)
    await ready(guest)
    await guest.waitFor('# ', DEADLINE_MS)
    assert.deepEqual(await shell(guest, 'cat /usr/mark 2>/dev/null'), [], `start ${time}`)
    assert.deepEqual(await shell(guest, 'echo x >/usr/mark; cat /usr/mark'), ['x'])
    await guest.stop()
  }
})

test('a guest that cannot boot says why in one line and ends', async (t) => {
  const built = await output(t, 'minimal')
  if (!built) return
  using folder = temporaryDirectory()
  const modules = (await shellOfInitrd(built)).filter((line) => line !== '')
  const without = modules.filter((line) => !line.endsWith('/squashfs.ko'))
  assert.equal(without.length, modules.length - 1)
  const cases = [
    {
      name: 'the base is no file system',
      more: { base: noise(folder.path) },
      line: /^"stage5: cannot boot: the base \/dev\/vda is neither squashfs nor erofs"$/,
    },
    {
      name: 'the module list lacks squashfs',
      more: { initrd: initrdWith(built, folder.path, 'etc/stage5/modules', `${without.join('\n')}\n`) },
      line: /^"stage5: cannot boot: the base \/dev\/vda \(squashfs\) cannot be mounted"$/,
    },
    {
      name: 'the disk that the command line names is not there',
      more: { cmdline: ['quiet', 'stage5.base=serial:other', 'stage5.wait=1'] },
      line: /^"stage5: cannot boot: no base found: serial:other"$/,
    },
  ]
  for (const { name, more, line } of cases) {
    await using guest = await bootBuilt(built, t.signal, more)
    await assert.rejects(ready(guest), notBooted(line), name)
  }
})

/** `etc/stage5/modules` as the built initrd has it. */
async function shellOfInitrd(built: Built): Promise<string[]> {
  const plain = await run(['zstd', '-dc', built.file('.initrd')])
  const text = await run(['cpio', '-i', '--to-stdout', '--quiet', 'etc/stage5/modules'], {
    input: plain.stdout,
  })
  return text.stdout.toString().split('\n')
}

test('www-nginx serves its data disk, over a power cut and over a new base', async (t) => {
  const built = await output(t, 'www-nginx')
  if (!built) return
  using folder = temporaryDirectory()
  const disk = join(folder.path, 'data.ext4')
  await copyDataDisk(built.file('.ext4'), disk, t.signal)
  const port = await freePort()
  const more = { data: [disk], memoryMiB: 192, forwards: [{ host: port, guest: 80 }] }
  {
    await using guest = await bootBuilt(built, t.signal, more)
    await ready(guest)
    assert.equal(await httpGet(port, '/'), 'stage5\n')
    assert.match(await httpGet(port, '/missing', 404), /404 Not Found/)
    await shell(guest, 'echo kept >/var/www/html/kept; echo no >/usr/mark')
    await shell(guest, 'sync')
    assert.equal(await httpGet(port, '/kept'), 'kept\n')
  }
  {
    await using guest = await bootBuilt(built, t.signal, more)
    await ready(guest)
    assert.equal(await httpGet(port, '/kept'), 'kept\n', 'after a power cut')
    assert.deepEqual(await shell(guest, 'cat /usr/mark 2>/dev/null'), [])
    await shell(guest, 'sync')
  }
  const newer = await buildProfile(project.path, 'www-nginx', { SOURCE_DATE_EPOCH: '1700000000' })
  assert.ok('file' in newer && newer.directory !== built.directory)
  await using guest = await bootBuilt(newer, t.signal, more)
  await ready(guest)
  assert.ok(guest.last(50).some((line) => /stage5: base \/dev\/vda www-nginx 20231114\./.test(line)))
  assert.equal(await httpGet(port, '/kept'), 'kept\n', 'on a newer base')
  const log = await shell(guest, 'grep -c kept /var/log/nginx/access.log')
  assert.ok(Number(log[0]) >= 2, 'the log is on the data disk, too')
})

test('a guest without its data disk does not start, unless it is told to', async (t) => {
  const built = await output(t, 'www-nginx')
  if (!built) return
  const more = { memoryMiB: 192 }
  {
    await using guest = await bootBuilt(built, t.signal, { ...more, cmdline: ['quiet', 'stage5.wait=1'] })
    await assert.rejects(ready(guest), notBooted(/^"stage5: cannot boot: no data disk LABEL=data /))
  }
  await using guest = await bootBuilt(built, t.signal, { ...more, cmdline: ['quiet', 'stage5.data=off'] })
  await ready(guest)
})

test('www-nginx@php runs PHP', async (t) => {
  const built = await output(t, 'www-nginx@php')
  if (!built) return
  using folder = temporaryDirectory()
  const disk = join(folder.path, 'data.ext4')
  await copyDataDisk(built.file('.ext4'), disk, t.signal)
  const port = await freePort()
  await using guest = await bootBuilt(built, t.signal, {
    data: [disk],
    memoryMiB: 192,
    forwards: [{ host: port, guest: 80 }],
  })
  await ready(guest)
  assert.match(await httpGet(port, '/hello.php'), /^PHP 8\.\d+\.\d+\n$/)
  assert.equal(await httpGet(port, '/'), 'stage5\n')
})

test('init calls no busybox applet that the initramfs lacks', async (t) => {
  if (!findTool('busybox')) return t.skip('needs busybox')
  const known = (await run(['busybox', '--list'])).stdout.toString().split('\n')
  const script = readFileSync(new URL('../../stages/boot/init', import.meta.url), 'latin1')
  const code = script.replace(/^ *#.*$/gm, '').replace(/"[^"]*"/g, '""')
  const words = new Set(code.match(/(?<![-/.=$\w])[a-z_]+(?![=\w])/g))
  const builtin = new Set(['[', 'echo', 'printf', 'test', 'true', 'false', 'busybox'])
  assert.deepEqual(
    known.filter((name) => words.has(name) && !builtin.has(name) && !INIT_APPLETS.includes(name)),
    [],
  )
})
