/** What must not become a guest: every output is refused before a byte of it is written, or stops with the reason. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type TestContext, test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { waitReady } from '../../src/deploy/qemu.ts'
import { cpioHeader, cpioPadding, cpioTrailer } from '../../src/format/cpio.ts'
import { FILE_TYPE } from '../../src/format/file-type.ts'
import { run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { stage5 } from '../helpers/console.ts'
import { bootBuilt, type Built, buildProfile, cannotBoot } from '../helpers/guest.ts'

const DEADLINE_MS = 240_000
const STORE = process.env['STAGE5_STORE'] ?? resolve(import.meta.dirname, '../.tmp/store')
const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())

const EVERY = [
  ...['squashfs', 'erofs', 'verity', 'tar', 'dir', 'oci', 'initrd', 'netboot', 'disk', 'qcow2', 'vhd'],
  ...['containerdisk', 'sysext', 'confext'],
]

function profile(name: string, text: string): void {
  mkdirSync(join(project.path, 'profiles'), { recursive: true })
  writeFileSync(join(project.path, `profiles/${name}.yaml`), `stage5: 1\n${text}`)
}

/** @returns what the build had to say; it must have failed, and left nothing */
async function refused(t: TestContext, name: string, text: string): Promise<string | undefined> {
  if (cannotBoot) {
    t.skip(cannotBoot)
    return undefined
  }
  profile(name, text)
  const locked = await stage5(project.path, ['lock', name], { STAGE5_STORE: STORE })
  if (/S5_FETCH_FAILED|S5_OFFLINE/.test(locked.stderr)) {
    t.skip('needs a Debian archive that can be reached')
    return undefined
  }
  assert.equal(locked.code, 0, locked.stderr)
  const { code, stderr } = await stage5(project.path, ['build', name], { STAGE5_STORE: STORE })
  assert.equal(code, 1, stderr)
  const out = join(project.path, 'out')
  assert.deepEqual(existsSync(out) ? readdirSync(out).filter((file) => file.includes(name)) : [], [])
  return stderr
}

test('without libgcc_s no output is made of a program that loads it', async (t) => {
  const stderr = await refused(
    t,
    'threads',
    `parents: [www-nginx]\nimages: [${EVERY.join(', ')}]\nstrip: {drop: ["/usr/lib/**/libgcc_s.so.1"]}\n`,
  )
  if (stderr !== undefined) assert.match(stderr, /libgcc_s\.so\.1[\s\S]*S5_CHECK_FAILED/)
})

for (const [kind, images] of [
  ['squashfs', 'squashfs, initrd, disk'],
  ['erofs', '-squashfs, erofs, netboot, vhd'],
] as const)
  test(`without the module for ${kind} nothing that boots from it is made`, async (t) => {
    const drop = `"/usr/lib/modules/*/kernel/fs/${kind}/**"`
    const text = `parents: [minimal]\nnetwork: none\nimages: [${images}]\nstrip: {drop: [${drop}]}\n`
    const stderr = await refused(t, `no-${kind}`, text)
    if (stderr !== undefined)
      assert.match(stderr, new RegExp(`has no module ${kind}[\\s\\S]*S5_MODULE_MISSING`))
  })

let output: Promise<Built | { skip: string }> | undefined

async function erofs(t: TestContext): Promise<Built | undefined> {
  if (cannotBoot) {
    t.skip(cannotBoot)
    return undefined
  }
  profile('flat', 'parents: [minimal]\nnetwork: none\nimages: [-squashfs, erofs, verity]\n')
  output ??= buildProfile(project.path, 'flat')
  const found = await output
  if ('file' in found) return found
  t.skip(found.skip)
  return undefined
}

/** The initrd with its list of modules replaced: a later archive overrides a file. */
async function withoutModule(found: Built, folder: string, module: string): Promise<string> {
  const plain = await run(['zstd', '-dc', found.file('.initrd')])
  const words = ['cpio', '-i', '--to-stdout', '--quiet', 'etc/stage5/modules']
  const listed = (await run(words, { input: plain.stdout })).stdout.toString()
  const text = listed.replace(new RegExp(`^.*/${module}\\.ko\\n`, 'm'), '')
  assert.notEqual(text, listed)
  const body = Buffer.from(text)
  const numbers = { ino: 1, mode: FILE_TYPE.file | 0o644, uid: 0, gid: 0, nlink: 1, mtime: 0 }
  const head = cpioHeader({
    ...numbers,
    ...{ name: 'etc/stage5/modules', rdevMajor: 0, rdevMinor: 0, size: body.length },
  })
  const archive = Buffer.concat([head, body, cpioPadding(body.length)])
  const first = readFileSync(found.file('.initrd'))
  const path = join(folder, `no-${module}.initrd`)
  writeFileSync(path, Buffer.concat([first, cpioPadding(first.length), archive, cpioTrailer(archive.length)]))
  return path
}

test('an erofs base stops with another root hash, and without its module', async (t) => {
  const found = await erofs(t)
  if (!found) return
  using folder = temporaryDirectory()
  const base = found.file('.erofs')
  const hash = readFileSync(found.file('.roothash'), 'latin1').trim()
  const wrong = hash.replace(/^./, (digit) => (digit === '0' ? '1' : '0'))
  const cases = [
    {
      more: { base, verity: found.file('.verity'), cmdline: ['quiet', `roothash=${wrong}`] },
      line: /the base \/dev\/vda is damaged: it is not what roothash=[0-9a-f]{64} says/,
    },
    {
      more: { base, initrd: await withoutModule(found, folder.path, 'erofs') },
      line: /the base \/dev\/vda \(erofs\) cannot be mounted/,
    },
  ]
  for (const { more, line } of cases) {
    await using guest = await bootBuilt(found, t.signal, more)
    await assert.rejects(
      waitReady(guest, 'stage5: ready', DEADLINE_MS),
      (error) => isStage5Error(error, 'S5_NOT_BOOTED') && line.test(JSON.stringify(error.data['reason'])),
    )
  }
})
