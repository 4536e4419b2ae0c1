/** Config packages: guests fetch them over HTTP, believe only the keys of their base, and apply them whole or not at all. */
import assert from 'node:assert/strict'
import { appendFileSync, copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, test, type TestContext } from 'node:test'
import { copyDataDisk } from '../../src/deploy/data-disk.ts'
import { type Guest, waitReady } from '../../src/deploy/qemu.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { builtOnce, canBoot } from '../helpers/built.ts'
import { stage5 } from '../helpers/console.ts'
import { type Built, cannotBoot, shell } from '../helpers/guest.ts'
import { diskless, initramfsOf, manifestOf } from '../helpers/i5b-memory.ts'

const DEADLINE_MS = 240_000
const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())
const at = (path: string): string => join(project.path, path)
let server: Server | undefined
let port = 0

async function must(...words: readonly string[]): Promise<void> {
  const ran = await stage5(project.path, words, { SOURCE_DATE_EPOCH: '1700000000' })
  assert.equal(ran.code, 0, ran.stderr)
}

function write(path: string, text: string): void {
  mkdirSync(join(at(path), '..'), { recursive: true })
  writeFileSync(at(path), text)
}

before(async () => {
  if (cannotBoot) return
  for (const name of ['house', 'stranger']) await must('key', 'new', name)
  write('site/root/etc/motd', 'hello\n')
  write('site/apply', 'echo "$(cat /etc/motd) from $(hostname)" >/etc/applied\nrm -r /usr/share/marks\n')
  write('late/apply', 'tr a-z A-Z </etc/applied >/etc/later\n')
  write('broken/root/etc/half', 'half\n')
  write('broken/apply', 'rm -rf /usr/share/marks /etc/hostname\nfalse\necho not reached >/etc/reached\n')
  write('evil/root/etc/evil', 'evil\n')
  for (const name of ['site', 'late', 'broken'])
    await must('config', 'pack', name, '--key', 'house', '--out', `www/${name}.tar.gz`)
  await must('config', 'pack', 'evil', '--key', 'house', '--out', 'www/tampered.tar.gz')
  appendFileSync(at('www/tampered.tar.gz'), 'x')
  await must('config', 'pack', 'evil', '--key', 'house', '--out', 'www/aged.tar.gz')
  for (const ending of ['', '.sig'])
    copyFileSync(at(`www/late.tar.gz${ending}`), at(`www/other.tar.gz${ending}`))
  await must('config', 'pack', 'evil', '--key', 'stranger', '--out', 'www/stranger.tar.gz')
  copyFileSync(at('www/site.tar.gz'), at('www/unsigned.tar.gz'))
  await serve()
})
after(() => server?.close())

/** Serves `www` on 127.0.0.1, which guests reach as 10.0.2.2. */
async function serve(): Promise<void> {
  const opened = createServer((request, response) => {
    const isThere = readdirSync(at('www')).includes((request.url ?? '').slice(1))
    response.writeHead(isThere ? 200 : 404).end(isThere ? readFileSync(at(`www${request.url}`)) : undefined)
  })
  await new Promise<void>((listening) => opened.listen(0, '127.0.0.1', listening))
  port = (opened.address() as AddressInfo).port
  server = opened
}

async function built(t: TestContext, name: string, mode: string, more = ''): Promise<Built | undefined> {
  if (!canBoot(t)) return undefined
  const key = readFileSync(at('.stage5/keys/house.pub'), 'utf8').replace(/-----.*-----|\n/g, '')
  const text =
    `stage5: 1\nparents: [minimal]\npackages: [signify-openbsd]\nnetwork: dhcp\n` +
    `scripts: {libc6: it guards upgrades of a running system}\nimages: [{format: squashfs, level: 3}, initrd]\n` +
    `files: [{path: /usr/share/marks/one, content: one}]\nconfig: {mode: ${mode}, keys: ["${key}"]}\n${more}`
  return await builtOnce(t, project.path, name, text)
}

function urls(...names: readonly string[]): string[] {
  return names.map((name) => `stage5.config=http://10.0.2.2:${port}/${name}.tar.gz`)
}

async function atShell(guest: Guest): Promise<string[]> {
  await waitReady(guest, 'stage5: ready', DEADLINE_MS)
  const lines = guest.last(100)
  await guest.waitFor('# ', DEADLINE_MS)
  return said(lines)
}

function said(lines: readonly string[]): string[] {
  return lines
    .filter((line) => line.startsWith('stage5: config '))
    .map((line) => line.slice('stage5: config '.length).replaceAll(`http://10.0.2.2:${port}/`, 'URL/'))
}

/** What the guest says when it applies its packages once more, after a command. */
async function again(guest: Guest, command: string): Promise<string[]> {
  return said(await shell(guest, `${command}; /etc/stage5/config/apply`))
}

const LOOK =
  'cat /etc/applied /etc/later; ls -d /usr/share/marks /etc/half /etc/reached /etc/evil /etc/hostname 2>/dev/null'

test('signed packages are applied in order; unsigned, strange, changed, renamed, old and failing ones leave the base alone', async (t) => {
  const found = await built(t, 'conf', 'ephemeral')
  if (!found) return
  const seed = [
    '# guest seven',
    'stage5.ip=10.0.2.77/24 stage5.gateway=10.0.2.2 stage5.dns=10.0.2.3 stage5.hostname=web7',
    'stage5.sequence=aged:2',
    ...urls('unsigned', 'stranger', 'tampered', 'other', 'aged', 'broken', 'site', 'late', 'absent'),
  ].join('\n')
  write('seven.seed', seed)
  await must('config', 'seed', 'seven.seed', '--out', 'seven.cpio')
  const one = readFileSync(found.file('.one.initrd'))
  const pad = Buffer.alloc((4 - (one.length % 4)) % 4)
  writeFileSync(at('seven.initrd'), Buffer.concat([one, pad, readFileSync(at('seven.cpio'))]))
  const initrd = at('seven.initrd')
  await using guest = await diskless(found, 192, t.signal, { initrd })
  assert.deepEqual(await atShell(guest), [
    'unsigned.tar.gz refused: it is not signed, there is no URL/unsigned.tar.gz.sig',
    'stranger.tar.gz refused: no key of this base signed it',
    'tampered.tar.gz refused: no key of this base signed it',
    'other.tar.gz refused: it is signed as late',
    'aged.tar.gz refused: it is number 1, older than 2',
    'broken.tar.gz failed with status 1; the base is as it was',
    'site.tar.gz applied',
    'late.tar.gz applied',
    'absent.tar.gz refused: URL/absent.tar.gz cannot be fetched',
  ])
  const state = ['hello from web7', 'HELLO FROM WEB7', '/etc/hostname']
  assert.deepEqual(await shell(guest, LOOK), state)
  assert.match((await shell(guest, 'ip addr show eth0')).join(), /inet 10\.0\.2\.77\/24/)
  const lines = await again(guest, ':')
  assert.ok(lines.includes('site.tar.gz unchanged'), lines.join('\n'))
  assert.deepEqual(await shell(guest, LOOK), state)
})

test('immutable: the same package on another base, whose root nobody writes to afterwards', async (t) => {
  const found = await built(t, 'fixed', 'immutable')
  if (!found) return
  const words = (manifestOf(found).boot.memoryCmdline ?? '').split(' ')
  const cmdline = [...words, 'panic=-1', 'quiet', 'stage5.hostname=fixed', ...urls('site')]
  await using guest = await diskless(found, 192, t.signal, { cmdline })
  assert.deepEqual(await atShell(guest), ['site.tar.gz applied', 'the root is read-only now'])
  assert.deepEqual(await shell(guest, 'cat /etc/applied; echo x 2>&1 >/etc/applied; cat /etc/applied'), [
    'hello from fixed',
    "/bin/sh: can't create /etc/applied: Read-only file system",
    'hello from fixed',
  ])
  assert.deepEqual(await shell(guest, 'echo x >/run/x && cat /run/x'), ['x'])
})

test('persistent: a package that was applied outlives its server, and is not replaced by an older one', async (t) => {
  const found = await built(
    t,
    'keep',
    'persistent',
    'data: [{name: data, label: data, size: 16M, paths: [/var/keep]}]\n',
  )
  if (!found) return
  const disk = at('data.ext4')
  await copyDataDisk(found.file('.ext4'), disk, t.signal)
  const cmdline = [...(manifestOf(found).boot.cmdline ?? '').split(' '), 'panic=-1', 'quiet', ...urls('site')]
  const boot = { initrd: initramfsOf(found), base: found.file('.squashfs'), data: [disk], cmdline }
  const served = ['www/site.tar.gz', 'www/site.tar.gz.sig']
  const first = served.map((path) => readFileSync(at(path)))
  write('site/root/etc/motd', 'hello again\n')
  await must('config', 'pack', 'site', '--key', 'house', '--out', 'www/site.tar.gz')
  {
    await using guest = await diskless(found, 192, t.signal, boot)
    assert.deepEqual(await atShell(guest), ['site.tar.gz applied'])
    // The guest's power is cut: what was said to be applied is on the disk.
  }
  for (const [nth, path] of served.entries()) writeFileSync(at(path), first[nth] as Buffer)
  await using guest = await diskless(found, 192, t.signal, boot)
  assert.deepEqual(await atShell(guest), [
    'site.tar.gz refused: it is number 1, older than 2; the kept one is used',
    'site.tar.gz applied',
  ])
  assert.deepEqual(await shell(guest, 'cat /etc/applied'), ['hello again from keep'])
  server?.close()
  server?.closeAllConnections()
  assert.deepEqual(await again(guest, ':'), [
    'site.tar.gz refused: URL/site.tar.gz cannot be fetched; the kept one is used',
    'site.tar.gz unchanged',
  ])
  const packages = '/run/stage5/data/data/.stage5-config/packages'
  assert.deepEqual(
    await shell(guest, `ls ${packages}`),
    ['site.tar.gz'],
    'signature and package are one file',
  )
  assert.deepEqual(
    await again(guest, `echo changed >>${packages}/site.tar.gz; rm /run/stage5/config/applied/*`),
    [
      'site.tar.gz refused: URL/site.tar.gz cannot be fetched; the kept one is used',
      'site.tar.gz, the kept one, refused: no key of this base signed it',
    ],
  )
})
