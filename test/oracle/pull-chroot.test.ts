/** The agent where it will run: in a root that stage5 made of busybox, signify and the package of `trust agent`, and no more. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFileServer } from '../../src/host/file-server.ts'
import { run as runTool } from '../../src/host/run.ts'
import type { Timestamp } from '../../src/fleet/metadata.ts'
import { stage5 } from '../helpers/console.ts'
import { addGeneration, newWeb, pointTo, put } from '../helpers/fp-guest.ts'
import { newSigner, publish, signedFile } from '../helpers/fp-keys.ts'
import { packedProject } from '../helpers/project.ts'
import { archiveMissing, lendDownloads } from '../helpers/real.ts'

test('a guest made of the packages follows, switches, reports, and refuses what is forged', async (t) => {
  const why = process.getuid?.() === 0 ? archiveMissing() : 'needs root for chroot'
  if (why !== undefined) return t.skip(why)
  using project = await packedProject()
  const at = (path: string): string => join(project.directory, path)
  const downloads = lendDownloads(at('.store'))
  const run = async (...words: string[]): Promise<void> => {
    const ran = await stage5(project.directory, words)
    assert.equal(ran.code, 0, ran.stderr)
  }
  const web = newWeb(at('site'))
  const reports = new Map<string, string>()
  const report = async (guest: string, text: string): Promise<void> => void reports.set(guest, text)
  await using server = await openFileServer({ directory: web.folder, host: '127.0.0.1', port: 0, report })
  mkdirSync(at('.stage5/trust'), { recursive: true })
  writeFileSync(at('.stage5/trust/root.json'), web.site.files.get('1.root.json') as Uint8Array)
  const addresses = ['--url', server.address, '--report', `${server.address}/reports`]
  await run('trust', 'agent', '--out', 'agent', '--line', 'web', ...addresses)
  const needs = ['--depends', 'deb:signify-openbsd', '--depends', 'deb:busybox-static']
  await run('pack', 'agent', '--name', 'stage5/pull', '--version', '1.0.0', ...needs, '--out', 'packages')
  await run('index', 'packages')
  writeFileSync(
    at('profiles/puller.yaml'),
    'stage5: 1\nparents: [base]\nrepositories: [debian, house]\nkernel: none\npackages: [stage5/pull]\nscripts: {libc6: it guards upgrades of a running system}\n',
  )
  await run('lock', 'puller')
  await run('checkout', 'puller', 'guest', '--copy')
  downloads.takeBack()
  mkdirSync(at('guest/data'), { recursive: true })

  const pull = (action: string): Promise<{ code: number | null; said: string }> =>
    new Promise((done, failed) => {
      const argv = [at('guest'), '/usr/bin/env', '-i', '/usr/sbin/stage5-pull', action]
      const child = spawn('chroot', argv, { stdio: ['ignore', 'pipe', 'pipe'] })
      let said = ''
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (text: string) => (said += text))
      child.on('error', failed).on('close', (code) => done({ code, said }))
    })
  for (const device of ['null', 'zero']) {
    mkdirSync(at('guest/dev'), { recursive: true })
    await runTool(
      ['mknod', '-m', '666', at(`guest/dev/${device}`), 'c', '1', device === 'null' ? '3' : '5'],
      { accept: 'any' },
    )
  }
  const first = addGeneration(web, 1, 'the first image')
  pointTo(web, first)
  const once = await pull('once')
  assert.equal(once.code, 0, once.said)
  assert.match((await pull('boot')).said, new RegExp(`/data/pull/slots/${first}$`, 'm'))
  await pull('healthy')
  assert.equal(readFileSync(at(`guest/data/pull/slots/${first}/base`), 'utf8'), 'the first image')
  const [said = '{}'] = reports.values()
  assert.equal((JSON.parse(said) as { good: string }).good, first)

  publish(web.site, {}, web.now)
  put(web, 'metadata/timestamp.json', signedFile(web.site.trusted.timestamp as Timestamp, newSigner()))
  const forged = await pull('once')
  assert.equal(forged.code, 3, forged.said)
  assert.match(forged.said, /timestamp\.json: unsigned/)
  const second = addGeneration(web, 2, 'the second image')
  pointTo(web, second)
  assert.equal((await pull('once')).code, 0)
  assert.match((await pull('boot')).said, new RegExp(`slots/${second}$`, 'm'))
})
