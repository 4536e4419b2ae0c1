/** Equal inputs give equal bytes: other machine settings, other threads, other user; and nothing needs root. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { archiveMissing, lendDownloads, runReal, type Workplace, workplace } from '../helpers/real.ts'

const skip = archiveMissing()
const PROFILES = ['minimal', 'www-nginx']
let place: Workplace
let reference: Map<string, string>

function sumsOf(project: string): string {
  return PROFILES.map((name) => readFileSync(join(project, 'out', name, 'SHA256SUMS'), 'utf8')).join('\n')
}

function build(
  name: string,
  options: {
    env?: Record<string, string>
    prefix?: string[]
    threads?: string
    profiles?: readonly string[]
  } = {},
): string {
  const project = join(place.directory, name)
  const store = join(place.directory, `${name}-store`)
  mkdirSync(join(project, 'profiles'), { recursive: true })
  for (const [file, text] of reference) cpSync(text, join(project, 'profiles', file))
  const downloads = lendDownloads(store)
  spawnSync('chmod', ['-R', 'a+rwX', project, store])
  for (const profile of options.profiles ?? PROFILES) {
    const words = [
      'build',
      profile,
      '--quiet',
      ...(reference.size > 0 ? ['--locked'] : []),
      '--threads',
      options.threads ?? '2',
    ]
    const ran = runReal(place, { project, store, words, ...options })
    assert.equal(ran.code, 0, ran.stderr)
  }
  downloads.takeBack()
  return project
}

before(() => {
  if (skip) return
  place = workplace()
  reference = new Map()
  const project = build('reference')
  const locks = readdirSync(join(project, 'profiles')).filter((file) => file.endsWith('.lock.yaml'))
  reference = new Map(locks.map((file) => [file, join(project, 'profiles', file)]))
})
after(() => place?.[Symbol.dispose]())

test('another time zone, locale, umask, temporary folder and thread count give the same bytes', {
  skip,
}, () => {
  const temporary = join(place.directory, 'elsewhere')
  mkdirSync(temporary)
  const env = { TZ: 'Pacific/Auckland', LANG: 'tr_TR.UTF-8', LC_ALL: 'tr_TR.UTF-8', TMPDIR: temporary }
  const project = build('other', { env, prefix: ['sh', '-c', 'umask 077; exec "$@"', 'sh'], threads: '1' })
  assert.equal(sumsOf(project), sumsOf(join(place.directory, 'reference')))
})

const notRoot = process.getuid?.() === 0 ? undefined : 'needs root, to become nobody'

test('nobody, without new privileges, makes the same bytes', { skip: skip ?? notRoot }, () => {
  const prefix = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', '--no-new-privs']
  const project = build('nobody', { prefix })
  assert.equal(sumsOf(project), sumsOf(join(place.directory, 'reference')))
})

/** Calls of a command, and of all its children, that need privileges or namespaces. */
function privileged(log: string, run: (prefix: string[]) => void): string {
  const calls = 'trace=mount,unshare,chroot,pivot_root,fsopen,move_mount,setns'
  run(['strace', '-f', '--seccomp-bpf', '-qq', '-e', 'signal=none', '-o', log, '-e', calls])
  return readFileSync(log, 'utf8')
}

test('a build calls neither mount(2) nor unshare(2) nor chroot(2)', { skip: skip ?? notRoot }, () => {
  assert.equal(
    privileged(
      join(place.directory, 'trace'),
      (prefix) => void build('traced', { prefix, profiles: ['minimal'] }),
    ),
    '',
  )
  const control = privileged(join(place.directory, 'control'), ([strace = '', ...words]) => {
    spawnSync(strace, [...words, 'unshare', '-m', 'true'])
  })
  assert.match(control, /unshare\(/)
})
