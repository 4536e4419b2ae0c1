/** What a lock says of Gentoo repositories and packages, printed and read back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { parseLock, printLock } from '../../src/resolve/lock-text.ts'
import type { Lock } from '../../src/resolve/lock.ts'

const HEX = 'ab'.repeat(32)

function lockWith(signatures: 'require' | 'if-present' | 'off' | undefined): Lock {
  return {
    version: 1,
    profile: 'web',
    input: `sha256:${HEX}`,
    repositories: [
      {
        name: 'gentoo',
        kind: 'gentoo',
        snapshot: `sha256:${HEX}`,
        date: 5,
        ...(signatures && { signatures }),
      },
    ],
    ids: { users: {}, groups: {} },
    packages: [
      {
        scheme: 'ebuild',
        name: 'dev-lang/php',
        version: '8.3.9',
        arch: 'amd64',
        repo: 'gentoo',
        slot: '8.3',
        use: ['fpm'],
        buildId: 2,
        file: {
          path: 'dev-lang/php/php-8.3.9-2.gpkg.tar',
          origin: 'local',
          size: 7,
          sums: { md5: 'aa', sha1: 'bb' },
        },
        sha256: `sha256:${HEX}`,
        installedSize: 0,
        because: ['profile: dev-lang/php'],
      },
    ],
  }
}

test('policy, binhost and weak sums stand in the lock and are read back', () => {
  for (const signatures of ['require', 'if-present', 'off', undefined] as const) {
    const lock = lockWith(signatures)
    const text = printLock(lock)
    assert.deepEqual(parseLock(text, 'x'), lock)
    assert.equal(/^ {4}signatures: "?([a-z-]+)"?$/m.exec(text)?.[1], signatures)
    assert.match(text, /^ {4}origin: local$/m)
    assert.match(text, /^ {4}sums: \{md5: "aa", sha1: "bb"\}$/m)
  }
})

test('another policy is refused', () => {
  const text = printLock(lockWith('require')).replace('signatures: require', 'signatures: maybe')
  assert.throws(
    () => parseLock(text, 'x.lock.yaml'),
    (error: unknown) =>
      isStage5Error(error, 'S5_LOCK_SYNTAX') && /expected require, if-present, off/.test(error.message),
  )
})
