/** A guest that updates itself, under QEMU: it follows what is published, starts the new base by kexec, and keeps its data. */
import assert from 'node:assert/strict'
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { copyDataDisk } from '../../src/deploy/data-disk.ts'
import { type Guest, waitReady } from '../../src/deploy/qemu.ts'
import { openFileServer } from '../../src/host/file-server.ts'
import { stage5 } from '../helpers/console.ts'
import { bootBuilt, buildProfile, type Built, cannotBoot, shell, STORE } from '../helpers/guest.ts'
import { manifestOf } from '../helpers/i5b-memory.ts'
import { emptyProject } from '../helpers/project.ts'

const DEADLINE_MS = 300_000

/** Each start of any base of it leaves a line on the data disk. */
const profile = (text: string, words: string): string => `stage5: 1
parents: [minimal]
repositories: [debian, house]
packages: [stage5/pull, signify-openbsd, kexec-tools, libcom-err2]
provided:
  - {name: debconf, reason: no package script runs}
scripts:
  libc6: it guards upgrades of a running system
  kexec-tools: only the program is used
network: dhcp
kernel: {cmdline: [quiet, no_timer_check, panic=1${words}]}
images: [{format: squashfs, level: 3}, verity]
files: [{path: /etc/motd, content: "${text}\\n"}]
services:
  - {name: start, kind: once, run: stage5-pull start}
  - {name: log, kind: once, run: sh -c 'cat /etc/motd >>/data/starts'}
  - {name: healthy, kind: once, run: stage5-pull healthy}
  - {name: follow, run: sh -c 'sleep 2; stage5-pull once'}
data: [{name: data, label: data, size: 96M, paths: [/data]}]
`

test('a guest follows the channel into a new base and out of a broken one; its data stays', {
  timeout: 1_800_000,
}, async (t) => {
  if (cannotBoot) return t.skip(cannotBoot)
  using project = emptyProject()
  const at = (path: string): string => join(project.directory, path)
  const must = async (...words: string[]): Promise<void> => {
    const ran = await stage5(project.directory, words, { STAGE5_STORE: STORE })
    assert.equal(ran.code, 0, ran.stderr)
  }
  const reports = new Map<string, string>()
  mkdirSync(at('site'))
  await using server = await openFileServer({
    ...{ directory: at('site'), host: '127.0.0.1', port: 0 },
    report: async (guest, text) => void reports.set(guest, text),
  })
  const url = server.address.replace('127.0.0.1', '10.0.2.2')
  for (const name of ['root', 'release', 'online']) await must('key', 'new', name)
  await must('trust', 'init', '--to', 'site', '--root', 'root')
  await must(
    'trust',
    'agent',
    '--out',
    'agent',
    '--url',
    url,
    '--line',
    'puller',
    '--report',
    `${url}/reports`,
  )
  appendFileSync(at('agent/etc/stage5/pull/config'), 'TRIES=1\nSWITCH=reboot\n')
  await must('pack', 'agent', '--name', 'stage5/pull', '--version', '1.0.0', '--out', 'packages')
  await must('index', 'packages')

  const build = async (text: string, words = ''): Promise<Built | { skip: string }> => {
    writeFileSync(at('profiles/puller.yaml'), profile(text, words))
    return await buildProfile(project.directory, 'puller')
  }
  const publish = async (): Promise<void> => {
    await must('publish', 'puller', '--to', 'site')
    await must('channel', 'puller', '--to', 'site')
  }
  const machine = await build('one')
  if ('skip' in machine) return t.skip(machine.skip)
  const disk = at('data.img')
  await copyDataDisk(machine.file('.ext4'), disk, t.signal)
  /** The machine's own start: always its first kernel, initrd and base. */
  const power = (): Promise<Guest> =>
    bootBuilt(machine, t.signal, {
      ...{ memoryMiB: 384, network: true, data: [disk], verity: machine.file('.verity') },
      cmdline: [...(manifestOf(machine).boot.cmdline ?? '').split(' '), 'stage5.hostname=seven'],
    })
  const said = (): Record<string, string> => JSON.parse(reports.get('seven') ?? '{}') as never

  {
    await using guest = await power()
    await waitReady(guest, 'stage5: ready', DEADLINE_MS)
    assert.deepEqual(await shell(guest, 'cat /data/starts /etc/motd'), ['one', 'one'])
    await build('two')
    await publish()
    await guest.exited
    assert.match(guest.last(400).join('\n'), /pull: g2-\w+ is the next to be started/)
  }
  {
    await using guest = await power()
    await waitReady(guest, 'stage5: ready', DEADLINE_MS)
    assert.deepEqual(await shell(guest, 'cat /data/starts /etc/motd'), ['one', 'two', 'two'])
    assert.match(guest.last(400).join('\n'), /stage5: verity \/dev\/loop0 \/dev\/loop1/)
    assert.match(said()['good'] ?? '', /^g2-/)
    await build('three', ', init=/nowhere')
    await publish()
    await guest.exited
    assert.match(guest.last(400).join('\n'), /pull: g3-\w+ is the next to be started/)
  }
  {
    await using guest = await power()
    const exit = await guest.exited
    assert.equal(exit.code, 0)
    assert.match(guest.last(400).join('\n'), /cannot boot: the base \S+ has no \/nowhere/)
  }
  await using guest = await power()
  await waitReady(guest, 'stage5: ready', DEADLINE_MS)
  assert.deepEqual(await shell(guest, 'cat /data/starts'), ['one', 'two', 'two'])
  const state = JSON.parse((await shell(guest, 'stage5-pull status')).at(-1) as string) as Record<
    string,
    string
  >
  assert.match(state['running'] ?? '', /^g2-/)
  assert.match(state['bad'] ?? '', /^g3-/)
  assert.equal(state['trial'], '')
})
