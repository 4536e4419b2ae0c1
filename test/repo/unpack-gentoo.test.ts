/** Every hostile Gentoo package: refused with its word, or read to exactly what it says; signatures of real keys. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import type { SignaturePolicy, Trust } from '../../src/repo/package-trust.ts'
import type { RandomSource } from '../../src/repo/source.ts'
import { unpackGpkg, unpackGpkgFrom } from '../../src/repo/unpack-gpkg.ts'
import { type GentooOptions, unpackXpak, unpackXpakFrom } from '../../src/repo/unpack-xpak.ts'
import type { Unpacked } from '../../src/tree/unpacked.ts'
import { GPKG_CASES, type GentooCase, XPAK_CASES } from '../corpus/gentoo.ts'
import { memoryBodies } from '../helpers/bodies.ts'
import { makeGpkg, makeXpak, type GpkgSpec, type Signer } from '../helpers/gentoo-packages.ts'
import { openKeys } from './keys.ts'

const signal = new AbortController().signal
const directory = mkdtempSync(join(tmpdir(), 's5-gentoo-'))
after(() => rmSync(directory, { recursive: true }))

type Bodies = ReturnType<typeof memoryBodies>

/** What unpacking comes to: the word of a refusal, or the result. Anything else is a failure of the test. */
async function outcome(work: (bodies: Bodies) => Promise<Unpacked>): Promise<string | Unpacked> {
  const bodies = memoryBodies()
  try {
    return await work(bodies)
  } catch (error) {
    assert.ok(isStage5Error(error, 'S5_ARCHIVE_REFUSED', 'S5_SIGNATURE_BAD'), String(error))
    assert.match(error.message, /^demo_1 \(demo\.pkg\): [a-zA-Z]/)
    assert.doesNotMatch(error.message, /\n|\bat .*:\d+/)
    return error.data['reason'] as string
  } finally {
    assert.equal(bodies.unfinished(), 0)
  }
}

/** A source that is read in small pieces. */
function trickling(bytes: Buffer, chunk: number): RandomSource {
  return {
    name: 'demo.pkg',
    size: bytes.length,
    chunk,
    read: async (at, length) => bytes.subarray(at, at + length),
  }
}

async function replay(kind: 'xpak' | 'gpkg', { bytes, expect, build }: GentooCase): Promise<void> {
  const options: GentooOptions = { label: 'demo_1', signal, ...(build ? { expect: build } : {}) }
  const file = join(directory, 'demo.pkg')
  writeFileSync(file, bytes)
  const unpack = kind === 'xpak' ? unpackXpak : unpackGpkg
  const from = kind === 'xpak' ? unpackXpakFrom : unpackGpkgFrom
  const whole = await outcome((bodies) => unpack(file, bodies, options))
  if (typeof expect === 'string') assert.equal(whole, expect)
  else {
    assert.ok(typeof whole !== 'string', `refused: ${JSON.stringify(whole)}`)
    assert.deepEqual(
      whole.tree.names.map(({ path }) => path),
      expect,
    )
    assert.equal(whole.control['SLOT'], '0\n')
    assert.equal(whole.control['CONTENTS'], undefined)
  }
  const slow = trickling(bytes, Math.ceil(bytes.length / 300) * 2 + 1)
  assert.deepEqual(await outcome((bodies) => from(slow, bodies, options)), whole)
}

for (const one of XPAK_CASES) test(`.xpak: ${one.name}`, () => replay('xpak', one))
for (const one of GPKG_CASES) test(`.gpkg.tar: ${one.name}`, () => replay('gpkg', one))

test('metadata is kept byte by byte', async () => {
  const info = { 'environment.bz2': Buffer.from([0, 255, 128, 10]), RDEPEND: 'a/b\n' }
  for (const [unpack, bytes] of [
    [unpackXpakFrom, makeXpak({ info })],
    [unpackGpkgFrom, makeGpkg({ info })],
  ] as const) {
    const { control } = await unpack(trickling(bytes, 999), memoryBodies(), { label: 'demo_1', signal })
    assert.equal(control['environment.bz2'], '\0\xff\x80\n')
    assert.equal(control['RDEPEND'], 'a/b\n')
    assert.deepEqual(Object.keys(control), Object.keys(control).toSorted())
  }
})

test('a file that changes between verifying and unpacking is refused', async () => {
  const bytes = makeGpkg({ files: [{ name: 'image/a', data: 'alpha' }], packing: 'none' })
  const at = bytes.indexOf('alpha')
  let reads = 0
  const source: RandomSource = {
    name: 'demo.pkg',
    size: bytes.length,
    read: async (from, length) => {
      if (reads++ === 2) bytes.write('omega', at)
      return bytes.subarray(from, from + length)
    },
  }
  assert.equal(
    await outcome((bodies) => unpackGpkgFrom(source, bodies, { label: 'demo_1', signal })),
    'digest',
  )
})

const keys = openKeys()
after(() => keys?.[Symbol.dispose]())

const SPEC: GpkgSpec = { files: [{ name: 'image/a', data: 'alpha' }] }

function signedBy(fingerprint: string, options: { at?: string; digest?: string } = {}): Signer {
  const at = options.at === undefined ? {} : { at: options.at }
  return {
    manifest: (text) => keys!.sign(text, [fingerprint], options),
    member: (bytes) => keys!.detach(bytes, fingerprint, { ...at, armor: true }),
  }
}

function trustIn(file: string, signatures: SignaturePolicy): Trust {
  return { signatures, keyrings: { files: [file], blocks: [], fingerprints: [] } }
}

test('signatures of gpkg and xpak, by policy', { skip: keys ? false : 'needs gpg and gpgv' }, async (t) => {
  const good = keys!.make('good@example.org')
  const stranger = keys!.make('stranger@example.org')
  const expired = keys!.make('old@example.org', { at: '20200101T000000', expire: '1d' })
  const revoked = keys!.make('gone@example.org')
  const byRevoked = makeGpkg({ ...SPEC, sign: signedBy(revoked) })
  keys!.revoke(revoked)
  const ring = join(directory, 'ring.gpg')
  writeFileSync(ring, keys!.export([good, expired, revoked]))
  const byGood = signedBy(good)
  const unsigned = makeGpkg(SPEC)

  const rows: readonly (readonly [string, Buffer, { readonly [policy in SignaturePolicy]: string }])[] = [
    ['all is signed', makeGpkg({ ...SPEC, sign: byGood }), { require: 'ok', 'if-present': 'ok', off: 'ok' }],
    ['nothing is signed', unsigned, { require: 'unsigned', 'if-present': 'ok', off: 'ok' }],
    [
      'a key that is unknown',
      makeGpkg({ ...SPEC, sign: signedBy(stranger) }),
      { require: 'unknown-key', 'if-present': 'unknown-key', off: 'ok' },
    ],
    [
      'a key that has expired',
      makeGpkg({ ...SPEC, sign: signedBy(expired, { at: '20200101T100000' }) }),
      { require: 'expired', 'if-present': 'expired', off: 'ok' },
    ],
    ['a key that was revoked', byRevoked, { require: 'revoked', 'if-present': 'revoked', off: 'ok' }],
    [
      'SHA-1',
      makeGpkg({ ...SPEC, sign: signedBy(good, { digest: 'SHA1' }) }),
      { require: 'weak-digest', 'if-present': 'weak-digest', off: 'ok' },
    ],
    [
      'only the Manifest is signed',
      makeGpkg({
        ...SPEC,
        sign: byGood,
        members: (members) => members.filter(({ name }) => !name.endsWith('.sig')),
      }),
      { require: 'unsigned', 'if-present': 'unsigned', off: 'ok' },
    ],
    [
      'only the members are signed',
      makeGpkg({ ...SPEC, sign: { ...byGood, manifest: (text) => Buffer.from(text) } }),
      { require: 'unsigned', 'if-present': 'unsigned', off: 'ok' },
    ],
    [
      'the image is not signed',
      makeGpkg({
        ...SPEC,
        sign: byGood,
        members: (members) => members.filter(({ name }) => !/^image.*sig$/.test(name)),
      }),
      { require: 'unsigned', 'if-present': 'unsigned', off: 'ok' },
    ],
    [
      'signatures are swapped',
      makeGpkg({
        ...SPEC,
        sign: byGood,
        members: (members) =>
          members.map((member) => {
            const other = member.name.startsWith('image') ? 'metadata' : 'image'
            const data = members.find(({ name }) => name.startsWith(other) && name.endsWith('.sig'))?.data
            return member.name.endsWith('.sig') && data ? { ...member, data } : member
          }),
      }),
      { require: 'bad', 'if-present': 'bad', off: 'ok' },
    ],
    [
      'a byte of the signed Manifest is changed',
      makeGpkg({
        ...SPEC,
        sign: {
          ...byGood,
          manifest: (text) =>
            Buffer.from(keys!.sign(text, [good]).toString().replace('DATA gpkg-1 0', 'DATA gpkg-1 1')),
        },
      }),
      { require: 'bad', 'if-present': 'bad', off: 'size' },
    ],
    [
      'text before the signed Manifest',
      makeGpkg({
        ...SPEC,
        sign: { ...byGood, manifest: (text) => Buffer.concat([Buffer.from(text), keys!.sign(text, [good])]) },
      }),
      { require: 'outside-text', 'if-present': 'outside-text', off: 'manifest' },
    ],
    [
      'one good and one unknown signature',
      makeGpkg({ ...SPEC, sign: { ...byGood, manifest: (text) => keys!.sign(text, [stranger, good]) } }),
      { require: 'ok', 'if-present': 'ok', off: 'ok' },
    ],
    [
      'a signature of another package',
      makeGpkg({ ...SPEC, sign: { ...byGood, manifest: () => keys!.sign('DATA other 0\n', [good]) } }),
      { require: 'weak-digest', 'if-present': 'weak-digest', off: 'weak-digest' },
    ],
  ]
  for (const [name, bytes, expected] of rows)
    await t.test(name, async () => {
      for (const policy of ['require', 'if-present', 'off'] as const) {
        const options: GentooOptions = { label: 'demo_1', signal, trust: trustIn(ring, policy) }
        const found = await outcome((bodies) => unpackGpkgFrom(trickling(bytes, 4001), bodies, options))
        assert.equal(typeof found === 'string' ? found : 'ok', expected[policy], policy)
      }
    })

  await t.test('an xpak has none', async () => {
    const bytes = makeXpak()
    for (const [policy, expected] of [
      ['require', 'unsigned'],
      ['if-present', 'ok'],
      ['off', 'ok'],
    ] as const) {
      const options: GentooOptions = { label: 'demo_1', signal, trust: trustIn(ring, policy) }
      const found = await outcome((bodies) => unpackXpakFrom(trickling(bytes, 4001), bodies, options))
      assert.equal(typeof found === 'string' ? found : 'ok', expected, policy)
    }
  })

  await t.test('a fingerprint that is not among those named', async () => {
    const trust: Trust = {
      signatures: 'require',
      keyrings: { files: [ring], blocks: [], fingerprints: [stranger] },
    }
    const bytes = makeGpkg({ ...SPEC, sign: byGood })
    const found = await outcome((bodies) =>
      unpackGpkgFrom(trickling(bytes, 4001), bodies, { label: 'demo_1', signal, trust }),
    )
    assert.equal(found, 'unknown-key')
  })
})

test('a decompressor that is not installed is named with the line to type', async (t) => {
  const bytes = makeGpkg({
    members: (members) =>
      members.map((member) =>
        member.name.startsWith('image')
          ? { name: 'image.tar.lzo', data: Buffer.from('\x89LZO\0\r\n\x1a\n', 'latin1') }
          : member,
      ),
  })
  const { PATH } = process.env
  t.after(() => void (process.env['PATH'] = PATH))
  process.env['PATH'] = ''
  await assert.rejects(
    unpackGpkgFrom(trickling(bytes, 4001), memoryBodies(), { label: 'demo_1', signal }),
    (error: unknown) =>
      isStage5Error(error, 'S5_TOOL_MISSING') &&
      error.hint === 'apt install lzop' &&
      error.data['tool'] === 'lzop',
  )
})
