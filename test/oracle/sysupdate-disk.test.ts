/** A disk of ours gets its next base, hash tree and kernel from systemd-sysupdate, and the firmware starts them. */
import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { bootGuest, type Guest, waitReady } from '../../src/deploy/qemu.ts'
import { openFileServer } from '../../src/host/file-server.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { stage5 } from '../helpers/console.ts'
import { type Built, buildProfile, cannotBoot, shell, STORE } from '../helpers/guest.ts'
import { cannotCompose, newerSystemd } from '../helpers/newer-systemd.ts'

const DEADLINE_MS = 600_000
const OVMF = '/usr/share/ovmf/OVMF.fd'
const TOOLS = ['mformat', 'mcopy', 'mdel', 'mdir', 'sgdisk']
const FILES = [OVMF, '/usr/lib/systemd/boot/efi/linuxx64.efi.stub']
/** The first partition, for mtools. */
const ESP = '@@1M'

const transfer = (url: string, source: string, target: string): string =>
  `[Transfer]\nVerify=no\n[Source]\nType=url-file\nPath=${url}/shop/\nMatchPattern=${source}\n[Target]\n${target}\nInstancesMax=2\n`
const partition = (pattern: string, type: string): string =>
  `Type=partition\nPath=/var/lib/disk.raw\nMatchPattern=${pattern}\nMatchPartitionType=${type}\nReadOnly=1`

test('a disk follows a published line by the versions in its names, and boots what it was given', async (t) => {
  const missing = TOOLS.find((tool) => !findTool(tool)) ?? FILES.find((file) => !existsSync(file))
  if (cannotBoot || cannotCompose || missing !== undefined)
    return t.skip(cannotBoot || cannotCompose || `needs ${missing}`)
  using project = temporaryDirectory()
  const at = (path: string): string => join(project.path, path)
  const tools = await newerSystemd(project.path)
  if ('skip' in tools) return t.skip(tools.skip)
  const say = (...words: string[]) => stage5(project.path, words, { STAGE5_STORE: STORE })
  const must = async (...words: string[]): Promise<void> => {
    const { code, stderr } = await say(...words)
    assert.equal(code, 0, stderr)
  }
  for (const name of ['root', 'release', 'online']) await must('key', 'new', name)
  await must('trust', 'init', '--to', 'site', '--root', 'root')
  const build = async (version: string, motd = version): Promise<Built> => {
    writeFileSync(
      at('profiles/shop.yaml'),
      `stage5: 1\nparents: [minimal]\nnetwork: none\nversion: "${version}"\n` +
        `images: [{format: disk, firmware: uefi, root: 4M}, uki]\n` +
        `data: [{name: data, size: 8M, paths: [/var/log]}]\n` +
        `files: [{path: /etc/motd, content: "${motd}\\n"}]\n`,
    )
    const built = await buildProfile(project.path, 'shop')
    assert.ok('file' in built)
    return built
  }
  const first = await build('1.9')
  const disk = join(tools.root, 'var/lib/disk.raw')
  copyFileSync(first.file('.raw'), disk)
  await must('publish', 'shop', '--to', 'site')
  await build('1.10')
  await must('publish', 'shop', '--to', 'site')
  for (const ending of ['squashfs', 'verity', 'efi'])
    assert.ok(existsSync(at(`site/shop/shop_1.10.${ending}`)), ending)

  // What would not be taken as newer is not published under such names.
  await build('1.2')
  const refused = await say('publish', 'shop', '--to', 'site')
  assert.equal(refused.code, 1)
  assert.match(
    refused.stderr,
    /has the version 1\.2, and g[12]-\w+ is published as 1\.(?:9|10)[^]*S5_PUBLISH_REFUSED/,
  )
  await build('1.10', 'other bytes')
  assert.match((await say('publish', 'shop', '--to', 'site')).stderr, /S5_PUBLISH_REFUSED/)

  await using server = await openFileServer({ directory: at('site'), host: '127.0.0.1', port: 0 })
  const entries = join(tools.root, 'esp')
  const transfers = join(tools.root, 'etc/sysupdate')
  for (const folder of [entries, transfers]) mkdirSync(folder)
  const url = server.address
  for (const [name, text] of [
    ['50-root', transfer(url, 'shop_@v.squashfs', partition('shop_@v', 'root-x86-64'))],
    ['60-tree', transfer(url, 'shop_@v.verity', partition('shop_@v_verity', 'root-x86-64-verity'))],
    [
      '70-kernel',
      transfer(
        url,
        'shop_@v.efi',
        'Type=regular-file\nPath=/esp\nMatchPattern=shop_@v+@l-@d.efi shop_@v+@l.efi shop_@v.efi\nTriesLeft=3\nTriesDone=0',
      ),
    ],
  ] as const)
    writeFileSync(join(transfers, `${name}.conf`), text)
  const sysupdate = (word: string) =>
    tools.inside(`/lib/systemd/systemd-sysupdate --definitions=/etc/sysupdate ${word}`)
  await run(['mcopy', '-n', '-i', `${disk}${ESP}`, '::/EFI/Linux/shop_1.9.efi', entries])

  const listed = await sysupdate('list')
  assert.match(listed.said, /1\.10 +[✓+] +candidate\n\W+1\.9 +[✓+] +[✓+] +current\n/)
  const updated = await sysupdate('update')
  assert.match(updated.said, /Successfully installed update '1\.10'/)
  assert.match((await sysupdate('list')).said, /1\.10 +[✓+] +[✓+] +current\n\W+1\.9 +[✓+] +[✓+] +installed\n/)
  assert.deepEqual(readdirSync(entries).sort(), ['shop_1.10+3-0.efi', 'shop_1.9.efi'])
  const table = (await run(['sgdisk', '--verify', '--print', disk])).stdout.toString()
  assert.match(table, /No problems found/)
  assert.match(table, /shop_1\.9\n[^]*shop_1\.9_verity\n[^]*shop_1\.10\n[^]*shop_1\.10_verity\n/)
  await run(['mcopy', '-o', '-i', `${disk}${ESP}`, join(entries, 'shop_1.10+3-0.efi'), '::/EFI/Linux/'])

  const started = async (): Promise<{ readonly motd: string[]; readonly words: string }> => {
    await using guest: Guest = await bootGuest(
      {
        ...{ arch: 'amd64', accel: 'tcg', memoryMiB: 256, data: [], cmdline: [], forwards: [] },
        ...{ network: false, extra: [], firmware: OVMF, disk: { file: disk, format: 'raw' } },
      },
      { signal: t.signal },
    )
    await waitReady(guest, 'stage5: ready', DEADLINE_MS)
    await guest.waitFor('# ', DEADLINE_MS)
    await shell(guest, 'date >>/var/log/starts; sync')
    return {
      motd: await shell(guest, 'cat /etc/motd; wc -l </var/log/starts'),
      words: (await shell(guest, 'cat /proc/cmdline')).join(' '),
    }
  }
  const now = await started()
  assert.deepEqual(now.motd, ['1.10', '1'])
  assert.match(now.words, /stage5\.base=PARTLABEL=shop_1\.10 stage5\.tree=PARTLABEL=shop_1\.10_verity/)
  const counted = (await run(['mdir', '-b', '-i', `${disk}${ESP}`, '::/EFI/Linux'])).stdout.toString()
  assert.match(counted, /shop_1\.10\+2-1\.efi/, 'systemd-boot counts the start that nobody confirmed')

  // Without that entry the base from before is as it was, with what was written meanwhile.
  await run(['mdel', '-i', `${disk}${ESP}`, '::/EFI/Linux/shop_1.10+2-1.efi'])
  const before = await started()
  assert.deepEqual(before.motd, ['1.9', '2'])
  rmSync(disk)
})
