/** Old initrds become base and initramfs: every compressor gives one result, it boots, and dracut boots the base, too. */
import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { type TestContext, test } from 'node:test'
import { bootGuest, type Guest, waitReady } from '../../src/deploy/qemu.ts'
import { planOneInitrd } from '../../src/emit/one-initrd.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { builtOnce } from '../helpers/built.ts'
import { type Ran, stage5 } from '../helpers/console.ts'
import { type Built, shell } from '../helpers/guest.ts'

const DEADLINE_MS = 400_000
const STORE = process.env['STAGE5_STORE'] ?? resolve(import.meta.dirname, '../.tmp/store')
const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())

function built(t: TestContext): Promise<Built | undefined> {
  return builtOnce(t, project.path, 'old', 'stage5: 1\nparents: [minimal]\nnetwork: none\nimages: [tar]\n', {
    tools: ['cpio', 'xz', 'zstd', 'gzip'],
  })
}

/** The root of the build as one archive, made by GNU tar and cpio. */
async function oldInitrd(found: Built, folder: string): Promise<string> {
  const path = join(folder, 'old.cpio')
  const script =
    'mkdir "$1/root" && cd "$1/root" && tar -xf "$2" && ln -s sbin/init init && ' +
    'find . | LC_ALL=C sort | cpio -o -H newc --quiet >"$3"'
  await run(['sh', '-c', script, 'sh', folder, found.file('.tar'), path])
  return path
}

async function archiveOf(folder: string, name: string, text: string): Promise<Buffer> {
  const root = join(folder, 'later')
  mkdirSync(join(root, 'etc'), { recursive: true })
  writeFileSync(join(root, name), text)
  const { stdout } = await run([
    'sh',
    '-c',
    'cd "$1" && echo "$2" | cpio -o -H newc --quiet',
    'sh',
    root,
    name,
  ])
  return Buffer.from(stdout)
}

function convert(...words: readonly string[]): Promise<Ran> {
  return stage5(project.path, ['convert', ...words], { STAGE5_STORE: STORE })
}

function diskless(found: Built, initrd: string, signal: AbortSignal, cmdline: string[], memoryMiB: number) {
  const none = { data: [], forwards: [], network: false, extra: [], accel: 'tcg', arch: 'amd64' } as const
  return bootGuest({ ...none, kernel: found.file('.vmlinuz'), initrd, cmdline, memoryMiB }, { signal })
}

async function ready(guest: Guest): Promise<void> {
  await waitReady(guest, 'stage5: ready', DEADLINE_MS)
  await guest.waitFor('# ', DEADLINE_MS)
}

test('gz, xz, zstd and plain give one result; a later archive overrides a file; the result boots', async (t) => {
  const found = await built(t)
  if (!found) return
  using folder = temporaryDirectory()
  const old = await oldInitrd(found, folder.path)
  const later = await archiveOf(folder.path, 'etc/hostname', 'later\n')
  const bases: Buffer[] = []
  for (const [name, command] of [
    ['plain', 'cat'],
    ['gz', 'gzip -1c'],
    ['xz', 'xz -0c --check=crc32'],
    ['zst', 'zstd -1cq'],
  ] as const) {
    const packed = (await run(['sh', '-c', `${command} <"$1"`, 'sh', old])).stdout
    const pad = Buffer.alloc((4 - (packed.length % 4)) % 4)
    const path = join(folder.path, `${name}.img`)
    // xz says nowhere how long it is: what follows it must be packed with it.
    writeFileSync(path, name === 'xz' ? packed : Buffer.concat([packed, pad, later]))
    const target = join(folder.path, `${name}.new`)
    const { code, stderr } = await convert(path, '--to', 'one', '-o', target, '--level', '3')
    assert.equal(code, 0, stderr)
    bases.push(readFileSync(join(target, 'squashfs.img')))
  }
  const [plain, gz, xz, zst] = bases as [Buffer, Buffer, Buffer, Buffer]
  assert.ok(plain.equals(gz) && plain.equals(zst), 'the same whatever it was packed with')
  assert.ok(!plain.equals(xz), 'that one has no later archive')

  const one = join(folder.path, 'plain.new/one.initrd')
  await using guest = await diskless(found, one, t.signal, ['quiet'], 192)
  await ready(guest)
  assert.deepEqual(await shell(guest, 'cat /etc/hostname'), ['later'])
  assert.match((await shell(guest, 'grep /base /proc/mounts')).join(), /squashfs ro,/)

  const again = join(folder.path, 'again')
  assert.equal((await convert(one, '--to', 'parts', '-o', again)).code, 0)
  assert.equal(
    (await convert(one, '--to', 'parts', '-o', again)).code,
    0,
    'what it made itself it makes anew',
  )
  assert.match((await convert(one, '--to', 'parts', '-o', dirname(one))).stderr, /S5_DIRECTORY_EXISTS/)
  for (const name of ['initramfs', 'squashfs.img', 'cmdline'])
    assert.deepEqual(
      readFileSync(join(again, name)),
      readFileSync(join(folder.path, 'plain.new', name)),
      name,
    )
  assert.match(
    (await convert(one, '--to', 'one', '-o', join(folder.path, 'x'))).stderr,
    /has this layout already/,
  )
})

test('what is no initrd, or is cut off, is refused and leaves nothing behind', async (t) => {
  const found = await built(t)
  if (!found) return
  using folder = temporaryDirectory()
  const old = readFileSync(await oldInitrd(found, folder.path))
  const cases: [Buffer, RegExp][] = [
    [Buffer.from('no initrd at all'), /expected a cpio archive/],
    [old.subarray(0, 100_000), /truncated/],
    [Buffer.concat([old, Buffer.from('junk')]), /at byte \d+[\s\S]*S5_ARCHIVE_REFUSED/],
    [Buffer.alloc(512), /it is empty/],
  ]
  const path = join(folder.path, 'bad.img')
  for (const [bytes, message] of cases) {
    writeFileSync(path, bytes)
    const { code, stderr } = await convert(path)
    assert.equal(code, 1)
    assert.match(stderr, message)
  }
  assert.deepEqual(
    readdirSync(folder.path).filter((name) => name.includes('bad.img.') || name.includes('tmp')),
    [],
  )
})

/** The package of the kernel, by the digest that the lock has. */
function kernelPackage(release: string): string | undefined {
  const lock = readFileSync(join(project.path, 'profiles/old.lock.yaml'), 'utf8')
  const entry = lock.split(/^ {2}- name: /m).find((text) => text.startsWith(`linux-image-${release}\n`))
  const hex = /sha256: "(?:sha256:)?([0-9a-f]{64})"/.exec(entry ?? '')?.[1]
  return hex === undefined ? undefined : join(STORE, 'v1/downloads/debian/packages', `${hex}.deb`)
}

test("Debian's dracut boots our squashfs as a live image", async (t) => {
  const found = await built(t)
  if (!found) return
  if (!findTool('dracut') || !findTool('depmod')) return t.skip('needs dracut and depmod')
  using folder = temporaryDirectory()
  const manifest = JSON.parse(readFileSync(found.file('.manifest.json'), 'utf8')) as {
    boot: { release: string }
  }
  const { release } = manifest.boot
  const deb = kernelPackage(release)
  assert.ok(deb)
  await run(['dpkg-deb', '-x', deb, folder.path])
  await run(['depmod', '-b', folder.path, release])
  const image = join(folder.path, 'dracut.img')
  const modules = 'base dmsquash-live rootfs-block kernel-modules udev-rules fs-lib img-lib dm'
  await run([
    'dracut',
    ...['--force', '--no-hostonly', '--no-hostonly-cmdline', '--no-early-microcode', '--kver', release],
    ...[
      '--kmoddir',
      join(folder.path, 'lib/modules', release),
      '--compress',
      'zstd -1',
      '--modules',
      modules,
    ],
    ...['--tmpdir', folder.path, '--add-drivers', 'squashfs overlay loop', image],
  ])
  const old = await oldInitrd(found, folder.path)
  const target = join(folder.path, 'new')
  assert.equal((await convert(old, '-o', target, '--level', '3')).code, 0)
  const bytes = { initramfs: readFileSync(image), base: readFileSync(join(target, 'squashfs.img')) }
  const plan = planOneInitrd({ initramfs: bytes.initramfs.length, base: bytes.base.length }, '', 0)
  const one = join(folder.path, 'one.img')
  writeFileSync(
    one,
    Buffer.concat(plan.pieces.map((piece) => (typeof piece === 'string' ? bytes[piece] : piece))),
  )
  const words = 'root=live:/squashfs.img rd.live.image rd.live.overlay.overlayfs=1 rd.overlay rd.shell=0'
  await using guest = await diskless(found, one, t.signal, ['quiet', ...words.split(' ')], 768)
  await ready(guest)
  assert.match((await shell(guest, 'grep " / " /proc/mounts')).join(), /^LiveOS_rootfs \/ overlay rw,/)
})
