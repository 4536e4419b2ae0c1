/** A published site in a folder with a server, and guests that follow it with the agent, each in a folder of its own. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { digestOf, hexOf } from '../../src/base/digest.ts'
import type { Channel, PublishedDelta, PublishedGeneration } from '../../src/fleet/channel.ts'
import { canonicalJson, type TargetFile } from '../../src/fleet/metadata.ts'
import { targetPath } from '../../src/fleet/metadata-client.ts'
import { newSite, publish, type Site } from './fp-keys.ts'

const AGENT = resolve(import.meta.dirname, '../../stages/boot/pull')

/** Where everything is that a guest needs; the agent looks nowhere else. */
const BUSYBOX = ['/bin/busybox', '/usr/bin/busybox'].find((path) => existsSync(path))
const APPLETS =
  'sh awk base64 cat chmod cp date dd grep head hostname mkdir mv printf rm sed sha256sum sleep sort stat sync tail timeout tr wget'
export const VERIFIERS = { signify: '/usr/bin/signify-openbsd', openssl: '/usr/bin/openssl' } as const

export const hasTools: boolean =
  BUSYBOX !== undefined && Object.values(VERIFIERS).every((path) => existsSync(path))

export interface Web {
  readonly site: Site
  readonly folder: string
  readonly now: number
}

/** `now` is the real time: guests have no other. */
export function newWeb(folder: string): Web {
  const now = Math.floor(Date.now() / 1000)
  const web = { site: newSite(now), folder, now }
  writeSite(web)
  return web
}

export function put(web: Web, path: string, bytes: Uint8Array | string): void {
  mkdirSync(dirname(join(web.folder, path)), { recursive: true })
  writeFileSync(join(web.folder, path), bytes)
}

export function writeSite(web: Web): void {
  for (const [name, bytes] of web.site.files) put(web, `metadata/${name}`, bytes)
}

function document(web: Web, path: string, value: PublishedGeneration | Channel): TargetFile {
  const bytes = canonicalJson(value as never)
  const target = { length: Buffer.byteLength(bytes), hashes: { sha256: hexOf(digestOf(bytes)) } }
  put(web, targetPath(path, target), bytes)
  return target
}

export function nameOf(seq: number, base: string): string {
  return `g${seq}-${hexOf(digestOf(base)).slice(0, 12)}`
}

/** A generation of the line `web` with one image. */
export function addGeneration(
  web: Web,
  seq: number,
  base: string,
  deltas: readonly PublishedDelta[] = [],
): string {
  const name = nameOf(seq, base)
  const file = { role: 'base', name: `web_${seq}.squashfs`, size: base.length, sha256: hexOf(digestOf(base)) }
  put(web, `web/${file.name}`, base)
  const generation: PublishedGeneration = {
    ...{ stage5: 1, line: 'web', seq, name, version: String(seq), manifest: digestOf(base), booted: false },
    ...{ files: [file], deltas },
  }
  const target = document(web, `generations/web/${name}.json`, generation)
  const targets = { ...web.site.trusted.targets?.targets, [`generations/web/${name}.json`]: target }
  publish(web.site, { targets }, web.now)
  writeSite(web)
  return name
}

export function pointTo(web: Web, head: string, more: Partial<Channel> = {}): Channel {
  const channel: Channel = {
    ...{ stage5: 1, line: 'web', rollout: 'r', head, seq: Number(/\d+/.exec(head)?.[0]), previous: '' },
    ...{ floor: 0, paused: false, waves: [{ ppm: 1_000_000, after: 0 }], issued: web.now },
    ...more,
  }
  publish(
    web.site,
    { channels: { 'channels/web.json': document(web, 'channels/web.json', channel) } },
    web.now,
  )
  writeSite(web)
  return channel
}

export interface Said {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface PullGuest {
  readonly state: (name: string) => string
  readonly base: (generation: string) => string
  readonly run: (action: 'once' | 'boot' | 'start' | 'healthy' | 'status', more?: string) => Promise<Said>
}

/** A guest that has busybox and one verifier and nothing else. */
export function newGuest(
  web: Web,
  address: string,
  folder: string,
  name = 'web-1',
  verifier: keyof typeof VERIFIERS = 'signify',
): PullGuest {
  const [bin, state] = [join(folder, name, 'bin'), join(folder, name, 'state')]
  mkdirSync(bin, { recursive: true })
  for (const applet of APPLETS.split(' ')) symlinkSync(BUSYBOX as string, join(bin, applet))
  const program = VERIFIERS[verifier]
  symlinkSync(program, join(bin, program.slice(program.lastIndexOf('/') + 1)))
  const root = join(folder, name, 'root.json')
  writeFileSync(root, web.site.files.get('1.root.json') as Uint8Array)
  const config = join(folder, name, 'config')
  const settings = `PATH=${bin} URL=${address} LINE=web GUEST=${name} STATE=${state} ROOT=${root} REPORT=${address}/reports`
  const read = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8').trim() : '')
  return {
    state: (file) => read(join(state, file)),
    base: (generation) => read(join(state, 'slots', generation, 'base')),
    run: (action, more = '') => {
      writeFileSync(config, `${settings.replaceAll(' ', '\n')}\n${more}\n`)
      return new Promise((done, failed) => {
        const child = spawn(BUSYBOX as string, ['sh', AGENT, action], { env: { PULL_CONFIG: config } })
        let [stdout, stderr] = ['', '']
        child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
        child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
        child
          .on('error', failed)
          .on('close', (code) => done({ code, stdout: stdout.trim(), stderr: stderr.trim() }))
      })
    },
  }
}
