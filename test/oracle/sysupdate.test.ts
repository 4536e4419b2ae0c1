/** What `stage5 publish` writes is a source of systemd-sysupdate: into a folder, and into the slots of a partition table. */
import assert from 'node:assert/strict'
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFileServer } from '../../src/host/file-server.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { stage5 } from '../helpers/console.ts'
import { buildProfile, STORE } from '../helpers/guest.ts'
import { cannotCompose, newerSystemd } from '../helpers/newer-systemd.ts'

const MIB = 1024 * 1024
/** Type of a root partition for x86-64 (UAPI.2). */
const ROOT_X86_64 = '4f68bce3-e8cd-4db1-96e7-fbcaf984b709'

const TAMPERED = /DOWNLOAD INVALID: Checksum of \S+\/web_3\.squashfs file did not check out/

const TARGETS = {
  folder:
    'Type=regular-file\nPath=/var/lib/bases\nMatchPattern=web_@v.squashfs\nCurrentSymlink=/var/lib/bases/current\n',
  slots:
    'Type=partition\nPath=/var/lib/disk.img\nMatchPattern=web_@v\nMatchPartitionType=root-x86-64\nReadOnly=1\n',
} as const

test('systemd-sysupdate 254 follows a published line, and takes nothing that is damaged or older', async (t) => {
  if (cannotCompose || !findTool('sgdisk')) return t.skip(cannotCompose || 'needs sgdisk')
  using project = temporaryDirectory()
  const at = (path: string): string => join(project.path, path)
  const must = async (...words: string[]): Promise<void> => {
    const ran = await stage5(project.path, words, { STAGE5_STORE: STORE })
    assert.equal(ran.code, 0, ran.stderr)
  }
  const tools = await newerSystemd(project.path)
  if ('skip' in tools) return t.skip(tools.skip)

  for (const name of ['root', 'release', 'online']) await must('key', 'new', name)
  await must('trust', 'init', '--to', 'site', '--root', 'root')
  const images: Buffer[] = []
  const publish = async (text: string): Promise<void> => {
    const files = `files: [{path: /etc/motd, content: "${text}"}]`
    writeFileSync(
      at('profiles/web.yaml'),
      `stage5: 1\nparents: [base]\nkernel: none\nnetwork: none\n${files}\n`,
    )
    const built = await buildProfile(project.path, 'web')
    assert.ok('file' in built)
    images.push(readFileSync(built.file('.squashfs')))
    await must('publish', 'web', '--to', 'site')
  }
  await publish('one')
  await publish('two')
  const [first, second] = images as [Buffer, Buffer]
  await using server = await openFileServer({ directory: at('site'), host: '127.0.0.1', port: 0 })

  const inRoot = (path: string): string => join(tools.root, path)
  for (const [name, target] of Object.entries(TARGETS)) {
    const transfer =
      `[Transfer]\nVerify=no\n[Source]\nType=url-file\nPath=${server.address}/web/\n` +
      `MatchPattern=web_@v.squashfs\n[Target]\n${target}InstancesMax=2\n`
    mkdirSync(inRoot(`etc/${name}`), { recursive: true })
    writeFileSync(inRoot(`etc/${name}/60-root.conf`), transfer)
  }
  mkdirSync(inRoot('var/lib/bases'))
  const slots = [1, 2].flatMap((n) => [`--new=${n}:0:+4M`, `--typecode=${n}:${ROOT_X86_64}`])
  await run(['truncate', '-s', '12M', inRoot('var/lib/disk.img')])
  await run([
    'sgdisk',
    ...slots,
    '--change-name=1:_empty',
    '--change-name=2:_empty',
    inRoot('var/lib/disk.img'),
  ])

  const sysupdate = (into: keyof typeof TARGETS, ...words: string[]) =>
    tools.inside(`/lib/systemd/systemd-sysupdate --definitions=/etc/${into} ${words.join(' ')}`)
  const installed = (): string[] => readdirSync(inRoot('var/lib/bases')).sort()

  const listed = await sysupdate('folder', 'list')
  assert.match(listed.said, /2 +[✓+] +candidate\n +1 +[✓+] +available\n/)
  assert.match((await sysupdate('folder', 'check-new')).said, /^2$/m)
  for (const into of ['folder', 'slots'] as const) {
    const older = await sysupdate(into, 'update', '1')
    assert.match(older.said, /Successfully installed update '1'/)
    const newest = await sysupdate(into, 'update')
    assert.match(newest.said, /Successfully installed update '2'/)
    assert.match((await sysupdate(into, 'list')).said, /2 +[✓+] +[✓+] +current\n +1 +[✓+] +[✓+] +installed\n/)
    const again = await sysupdate(into, 'update')
    assert.match(again.said, /No update needed/)
    assert.equal(again.code, 0)
    assert.equal((await sysupdate(into, 'check-new')).code, 1)
  }
  assert.deepEqual(installed(), ['current', 'web_1.squashfs', 'web_2.squashfs'])
  assert.equal(readlinkSync(inRoot('var/lib/bases/current')), 'web_2.squashfs')
  assert.ok(readFileSync(inRoot('var/lib/bases/web_2.squashfs')).equals(second))
  const disk = readFileSync(inRoot('var/lib/disk.img'))
  for (const [nth, image] of [first, second].entries()) {
    const start = MIB + nth * 4 * MIB
    assert.ok(disk.subarray(start, start + image.length).equals(image), `slot ${nth + 1}`)
  }
  const table = (await run(['sgdisk', '--verify', '--print', inRoot('var/lib/disk.img')])).stdout.toString()
  assert.match(table, /No problems found/)
  assert.match(table, / 1 .*8304 +web_1\n +2 .*8304 +web_2\n/)

  await t.test('a damaged image is not installed, and what runs stays', async () => {
    await publish('three')
    const path = at('site/web/web_3.squashfs')
    const whole = readFileSync(path)
    appendFileSync(path, 'x')
    const longer = await sysupdate('folder', 'update')
    assert.notEqual(longer.code, 0)
    assert.match(longer.said, TAMPERED)
    const changed = Buffer.from(whole)
    changed[4096] = (changed[4096] as number) ^ 1
    writeFileSync(path, changed)
    for (const into of ['folder', 'slots'] as const) {
      const said = await sysupdate(into, 'update')
      assert.notEqual(said.code, 0)
      assert.match(said.said, TAMPERED)
      assert.match((await sysupdate(into, 'list')).said, /3 +[✓+] +candidate\n/)
    }
    assert.equal(readlinkSync(inRoot('var/lib/bases/current')), 'web_2.squashfs')
    writeFileSync(path, whole)
    const repaired = await sysupdate('folder', 'update')
    assert.match(repaired.said, /Successfully installed update '3'/)
    assert.deepEqual(installed(), ['current', 'web_2.squashfs', 'web_3.squashfs'])
  })

  await t.test('a list that offers only what is older moves nothing', async () => {
    const sums = readFileSync(at('site/web/SHA256SUMS'), 'utf8')
    writeFileSync(
      at('site/web/SHA256SUMS'),
      sums.replace(/^.*web_3.*\n/gm, '').replace(/^.*web_2\..*\n/gm, ''),
    )
    assert.equal((await sysupdate('folder', 'check-new')).code, 1)
    assert.match((await sysupdate('folder', 'update')).said, /No update needed/)
    assert.equal(readlinkSync(inRoot('var/lib/bases/current')), 'web_3.squashfs')
    writeFileSync(at('site/web/SHA256SUMS'), sums)
  })

  await t.test('with Verify=yes only a list that the release key signed is believed', async () => {
    const file = inRoot('etc/folder/60-root.conf')
    writeFileSync(file, readFileSync(file, 'utf8').replace('Verify=no', 'Verify=yes'))
    const ring = inRoot('usr/lib/systemd/import-pubring.gpg')
    await must('key', 'openpgp', 'release', '--out', ring)
    await publish('four')
    const signed = await sysupdate('folder', 'update')
    assert.match(signed.said, /Good signature from "stage5 release"/)
    assert.match(signed.said, /Successfully installed update '4'/)
    assert.deepEqual(installed(), ['current', 'web_3.squashfs', 'web_4.squashfs'])

    await publish('five')
    const sums = readFileSync(at('site/web/SHA256SUMS'), 'utf8')
    const digest = /^[0-9a-f]{64}(?= {2}web_4\.squashfs$)/m.exec(sums)?.[0] ?? ''
    writeFileSync(at('site/web/SHA256SUMS'), sums.replace(/^[0-9a-f]{64}(?= {2}web_5\.squashfs$)/m, digest))
    writeFileSync(at('site/web/web_5.squashfs'), images[3] as Buffer)
    const forged = await sysupdate('folder', 'update')
    assert.notEqual(forged.code, 0)
    assert.match(forged.said, /BAD signature from "stage5 release"/)
    writeFileSync(at('site/web/SHA256SUMS'), sums)
    writeFileSync(at('site/web/web_5.squashfs'), images[4] as Buffer)

    await must('key', 'new', 'stranger')
    await must('key', 'openpgp', 'stranger', '--out', ring)
    const strange = await sysupdate('folder', 'update')
    assert.notEqual(strange.code, 0)
    assert.match(strange.said, /No public key/)
    rmSync(at('site/web/SHA256SUMS.gpg'))
    const unsigned = await sysupdate('folder', 'update')
    assert.notEqual(unsigned.code, 0)
    assert.match(unsigned.said, /Failed to retrieve signature file, cannot verify/)
    assert.equal(readlinkSync(inRoot('var/lib/bases/current')), 'web_4.squashfs')
  })
})
