/** Real OpenPGP keys and signatures for tests, made by gpg in a folder of their own. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Keys extends Disposable {
  readonly folder: string
  /** Fingerprint of a new key. `at`: ISO time of its making, such as `20200101T000000`; `expire` as gpg takes it. */
  make(name: string, options?: { at?: string; expire?: string; algorithm?: string }): string
  /** Clear-signs by all of these keys. */
  sign(text: string | Uint8Array, by: readonly string[], options?: { at?: string; digest?: string }): Buffer
  detach(bytes: string | Uint8Array, by: string, options?: { at?: string; armor?: boolean }): Buffer
  /** Public keys; with none named, all of them. */
  export(fingerprints: readonly string[], options?: { armor?: boolean }): Buffer
  revoke(fingerprint: string): void
}

/** @returns undefined when gpg is not there */
export function openKeys(): Keys | undefined {
  if (spawnSync('gpg', ['--version']).status !== 0 || spawnSync('gpgv', ['--version']).status !== 0)
    return undefined
  const folder = mkdtempSync(join(tmpdir(), 's5k-'))
  const gpg = (args: readonly string[], input?: string | Uint8Array, at?: string): Buffer => {
    const time = at === undefined ? [] : ['--faked-system-time', `${at}!`]
    const argv = [
      '--homedir',
      folder,
      '--batch',
      '--yes',
      '--no-tty',
      '--pinentry-mode',
      'loopback',
      '--passphrase',
      '',
    ]
    const done = spawnSync('gpg', [...argv, ...time, ...args], { input, maxBuffer: 1 << 28 })
    if (done.status !== 0) throw new Error(`gpg ${args.join(' ')}: ${done.stderr.toString()}`)
    return done.stdout
  }
  const users = (by: readonly string[]): string[] =>
    by.flatMap((fingerprint) => ['--local-user', fingerprint])
  return {
    folder,
    make(name, { at, expire = 'never', algorithm = 'ed25519' } = {}) {
      const status = gpg(['--status-fd', '1', '--quick-gen-key', name, algorithm, 'sign', expire], '', at)
      return /KEY_CREATED P ([0-9A-F]{40})/.exec(status.toString())?.[1] as string
    },
    sign: (text, by, { at, digest = 'SHA512' } = {}) =>
      gpg([...users(by), '--digest-algo', digest, '--clear-sign'], text, at),
    detach: (bytes, by, { at, armor = false } = {}) =>
      gpg([...users([by]), ...(armor ? ['--armor'] : []), '--detach-sign'], bytes, at),
    export: (fingerprints, { armor = false } = {}) =>
      gpg([...(armor ? ['--armor'] : []), '--export', ...fingerprints]),
    revoke(fingerprint) {
      const file = join(folder, 'openpgp-revocs.d', `${fingerprint}.rev`)
      const text = spawnSync('sed', ['s/^:---/---/', file]).stdout
      gpg(['--import'], text)
    },
    [Symbol.dispose]() {
      spawnSync('gpgconf', ['--homedir', folder, '--kill', 'all'])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
