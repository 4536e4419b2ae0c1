/** A guest of the driver dir with an overlay over /etc/conf, and two generations of its base that differ there. */
import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type GuestFolder, guestFolder } from '../../src/deploy/drivers/folder.ts'
import { startedOf } from '../../src/deploy/drivers/keeper.ts'
import { findTool, run } from '../../src/host/run.ts'
import { stage5 } from './console.ts'
import { packedProject } from './project.ts'

const PROFILE = `data:
  - {name: keep, size: 8M, paths: [/var/keep]}
  - {name: conf, size: 8M, paths: [/etc/conf], on: overlay}
files:
  - {path: /bin/busybox, from: ../tools/busybox, mode: 0755}
`

const GROUP = `profile: shop
guests: [shop-1]
driver:
  kind: dir
  run: [chroot, "{root}", /bin/busybox, sh, -c, "echo is up; exec /bin/busybox sleep 1000000"]
  stopSeconds: 5
health: [{console: is up}]
soak: 1s
timeouts: {boot: 5m, recover: 30s}
`

const PATIENCE_MS = 400_000

/** What this machine lacks for it. */
export const missing: string | undefined =
  process.getuid?.() !== 0
    ? 'root'
    : ['busybox', 'getfattr', 'setfattr', 'nsenter'].find((name) => findTool(name) === undefined)

export interface Said {
  readonly code: number | null
  readonly text: string
}

export async function waitFor(ask: () => Promise<Said>, isWanted: (said: Said) => boolean): Promise<Said> {
  const until = performance.now() + PATIENCE_MS
  for (;;) {
    const said = await ask()
    if (isWanted(said)) return said
    assert.ok(performance.now() < until, said.text)
    await sleep(500)
  }
}

export interface Shop extends AsyncDisposable {
  readonly directory: string
  readonly own: GuestFolder
  readonly say: (...words: string[]) => Promise<Said>
  /** What was said by a command that must succeed. */
  readonly must: (...words: string[]) => Promise<string>
  /** Starts the guest and waits until it is well. */
  readonly start: (...words: string[]) => Promise<void>
  /** What a shell says in the guest's own mounts and root, in /etc/conf. */
  readonly inside: (command: string) => Promise<string>
  readonly group: (more: string) => void
}

/** @param bases files of /etc/conf in the first generation and in the second, by name */
export async function openShop(...bases: readonly Readonly<Record<string, string>>[]): Promise<Shop> {
  const project = await packedProject()
  const here = project.directory
  const own = guestFolder(join(here, '.stage5/guests'), 'shop-1')
  const say = async (...words: string[]): Promise<Said> => {
    const { code, stdout, stderr } = await stage5(here, words, { SOURCE_DATE_EPOCH: '1700000000' })
    return { code, text: stdout + stderr }
  }
  const must = async (...words: string[]): Promise<string> => {
    const { code, text } = await say(...words)
    assert.equal(code, 0, text)
    return text
  }
  const group = (more: string): void => writeFileSync(join(here, 'groups/shops.yaml'), `${GROUP}${more}`)
  mkdirSync(join(here, 'groups'))
  mkdirSync(join(here, 'tools'))
  copyFileSync(findTool('busybox') as string, join(here, 'tools/busybox'))
  group('')
  writeFileSync(join(here, 'stages/small.yaml'), 'stages: [files, os-release]\n')
  const profile = join(here, 'profiles/shop.yaml')
  const plain = readFileSync(profile, 'utf8').replace('pipeline: plain', 'pipeline: small')
  for (const [at, files] of bases.entries()) {
    const version = `${at + 1}`
    const lines = Object.entries({ ...files, '../../var/keep/k': version }).map(
      ([name, text]) => `  - {path: ${join('/etc/conf', name)}, content: "${text}\\n"}\n`,
    )
    writeFileSync(profile, `${plain}version: "${version}"\n${PROFILE}${lines.join('')}`)
    await must('lock', 'shop')
    await must('build', 'shop')
  }
  return {
    directory: here,
    own,
    say,
    must,
    group,
    start: async (...words) => {
      await must('guest', 'start', 'shop-1', ...words)
      await waitFor(
        () => say('guest', 'list'),
        ({ text }) => /shop-1.* pass /.test(text),
      )
    },
    inside: async (command) => {
      const pid = startedOf(own)?.pid
      const argv = ['nsenter', '--mount', '--root', '--target', `${pid}`, '/bin/busybox', 'sh', '-c']
      return (await run([...argv, `cd /etc/conf; ${command}`])).stdout.toString()
    },
    [Symbol.asyncDispose]: async () => {
      await say('guest', 'stop', 'shop-1')
      project[Symbol.dispose]()
    },
  }
}
