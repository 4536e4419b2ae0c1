import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Stage5Error } from '../../src/base/errors.ts'
import { parseDeb822 } from '../../src/format/deb822.ts'
import { parseRelease, parseReleaseDate } from '../../src/format/release.ts'

const HEX = 'ab'.repeat(32)

test('a release: names, dates, sums', () => {
  const text = `Origin: Debian
Suite: oldstable-security
Codename: bookworm-security
Date: Wed, 18 Nov 2026 22:17:41 UTC
Valid-Until: Wed, 25 Nov 2026 22:17:41 UTC
Acquire-By-Hash: yes
Architectures: all amd64
No-Support-for-Architecture-all: Packages
MD5Sum:
 00000000000000000000000000000000 5 main/md5-only
SHA256:
 ${HEX.toUpperCase()}  123 main/binary-amd64/Packages.xz
 ${HEX} 0 main/binary-amd64/Packages
`
  const release = parseRelease(parseDeb822(text)[0] as never, 'x')
  assert.deepEqual(
    { ...release, files: [...release.files] },
    {
      suite: 'oldstable-security',
      codename: 'bookworm-security',
      date: Date.UTC(2026, 10, 18, 22, 17, 41) / 1000,
      validUntil: Date.UTC(2026, 10, 25, 22, 17, 41) / 1000,
      acquireByHash: true,
      architectures: ['all', 'amd64'],
      allInEachArchitecture: true,
      files: [
        ['main/binary-amd64/Packages.xz', { sha256: HEX, size: 123 }],
        ['main/binary-amd64/Packages', { sha256: HEX, size: 0 }],
      ],
    },
  )
})

test('dates are those of RFC 2822 in UTC, every one of them', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4_102_444_800 }), (seconds) => {
      const text = new Date(seconds * 1000).toUTCString()
      for (const zone of ['UTC', 'GMT', '+0000', '-0000', 'Z'])
        assert.equal(parseReleaseDate(text.replace('GMT', zone), 'x'), seconds)
    }),
  )
  assert.equal(parseReleaseDate('Sat, 1 Feb 2025 1:02:03 UTC', 'x'), Date.UTC(2025, 1, 1, 1, 2, 3) / 1000)
})

test('other dates are refused', () => {
  for (const text of [
    '',
    'yesterday',
    '2026-07-11T10:16:37Z',
    'Sat, 11 Jul 2026 10:16:37',
    'Sat, 11 Jul 2026 10:16:37 CEST',
    'Sat, 11 Jul 2026 10:16:37 +0200',
    'Sat, 31 Feb 2026 10:16:37 UTC',
    'Sat, 11 Jux 2026 10:16:37 UTC',
    'Sat, 11 Jul 2026 25:16:37 UTC',
    'Sat, 11 Jul 2026 10:60:37 UTC',
  ])
    assert.throws(
      () => parseReleaseDate(text, 'x'),
      (error: Stage5Error) => error.code === 'S5_INDEX_REFUSED' && error.data['reason'] === 'bad-metadata',
      text,
    )
})
