/** Transcripts: run the program as a user would, and keep exit code, stdout and stderr as text. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { TestContext } from 'node:test'

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const MAIN = resolve(import.meta.dirname, '../../src/main.js')

/** Runs `stage5` in `directory` with a store of its own below it. */
export function stage5(
  directory: string,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ran> {
  return start(directory, words, env, () => {})
}

/** The same, with one Ctrl-C as soon as anything of the work can be seen. */
export function interrupted(directory: string, words: readonly string[]): Promise<Ran> {
  return start(directory, words, {}, (child) => {
    const timer = setInterval(() => {
      if (!existsSync(resolve(directory, '.store/v1/staging'))) return
      clearInterval(timer)
      child.kill('SIGINT')
    }, 5)
    child.on('close', () => clearInterval(timer))
  })
}

function start(
  directory: string,
  words: readonly string[],
  env: Readonly<Record<string, string>>,
  watch: (child: ChildProcess) => void,
): Promise<Ran> {
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, [MAIN, ...words], {
      cwd: directory,
      env: { ...process.env, NO_COLOR: '1', STAGE5_STORE: resolve(directory, '.store'), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    watch(child)
    child.on('error', failed).on('close', (code) => done({ code, stdout, stderr }))
  })
}

/** Replaces what differs from run to run. */
const FILTERS: readonly [RegExp, string][] = [
  // Steps that took long are told on slow machines only.
  [/^[\w .@-]+: \d+(?:\.\d)? s\n/gm, ''],
  [/sha256:[0-9a-f]{64}|\b[0-9a-f]{64}\b/g, '<sha256>'],
  [/(?<!\d)\d{8}\.[0-9a-f]{6}(?![0-9a-f])/g, '<version>'],
  [/\bg(\d+)-[0-9a-f]{12}\b/g, 'g$1-<digest>'],
  [/\b\d+(?:\.\d+)? (?:KiB|MiB|B)\b/g, '<size>'],
  [/\b\d{4}-\d\d-\d\d \d\d:\d\d\b/g, '<date>'],
  [/\b\d+\.\d s\b/g, '<time>'],
  [/^ +(?=<size>)/gm, ''],
  // What the kernel of a guest complains about on a busy host.
  [/^ *\[ *\d+\.\d{6}\] .*\n/gm, ''],
  [/^SYSLINUX \d.*$/gm, 'SYSLINUX <banner>'],
]

/** Compares a transcript with `test/golden/cli/<name>.txt`; `--test-update-snapshots` rewrites it. */
export async function expectConsole(
  t: TestContext,
  name: string,
  directory: string,
  words: readonly string[],
): Promise<Ran> {
  const ran = await stage5(directory, words)
  const plain = (text: string): string =>
    FILTERS.reduce((shown, [pattern, to]) => shown.replace(pattern, to), text.replaceAll(directory, '<dir>'))
  const text = `$ stage5 ${words.join(' ')}\n[exit ${ran.code}]\n${plain(ran.stdout)}--- stderr\n${plain(ran.stderr)}`
  t.assert.fileSnapshot(text, resolve(import.meta.dirname, `../golden/cli/${name}.txt`), {
    serializers: [(value: unknown) => String(value)],
  })
  return ran
}
