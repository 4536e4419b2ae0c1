/** Hostile and odd Gentoo packages: what each is about, its bytes, and the word it is refused with or the names it has. */
import { constants, zstdCompressSync } from 'node:zlib'
import type { Refusal } from '../../src/base/errors.ts'
import type { ExpectedBuild } from '../../src/repo/unpack-metadata.ts'
import {
  DEMO_INFO,
  type GpkgMemberSpec,
  type GpkgSpec,
  makeGpkg,
  makeXpak,
  makeXpakSegment,
  manifestLineOf,
  type XpakEntry,
} from '../helpers/gentoo-packages.ts'
import { makeTar, packed, type Packing, type TarSpec } from '../helpers/pack.ts'

export interface GentooCase {
  readonly name: string
  readonly bytes: Buffer
  /** The word of the refusal, or the paths of the tree. */
  readonly expect: Refusal | readonly string[]
  readonly build?: ExpectedBuild
}

const A: TarSpec = { name: './a', data: 'alpha' }
const GOOD = ['', 'a']
const IMAGE = packed(makeTar([{ name: './' }, A]), 'zst')
const ENTRIES: readonly XpakEntry[] = Object.entries(DEMO_INFO).map(([name, value]) => ({ name, value }))
const whole = makeXpak({ files: [A] })
const SEGMENT = whole.length - IMAGE.length

function segment(
  name: string,
  expect: Refusal | readonly string[],
  entries: readonly XpakEntry[],
  wrong: Parameters<typeof makeXpakSegment>[1] = {},
): GentooCase {
  return { name, expect, bytes: Buffer.concat([IMAGE, makeXpakSegment(entries, wrong)]) }
}

const more = (...entries: readonly XpakEntry[]): readonly XpakEntry[] => [...ENTRIES, ...entries]

const container: GentooCase[] = [
  { name: 'an empty file', bytes: Buffer.alloc(0), expect: 'truncated' },
  { name: 'an HTML page', bytes: Buffer.from('<!doctype html><p>404 not found</p>'), expect: 'magic' },
  { name: 'two letters', bytes: Buffer.from('hi'), expect: 'magic' },
  { name: 'the image alone', bytes: IMAGE, expect: 'truncated' },
  { name: 'an uncompressed image alone', bytes: makeTar([A]), expect: 'truncated' },
  ...[1, 4, 9, SEGMENT - 20, SEGMENT, SEGMENT + 3].map(
    (less): GentooCase => ({ name: `cut ${less} bytes before the end`, bytes: whole.subarray(0, -less), expect: 'truncated' }),
  ),
  { name: 'its first byte is missing', bytes: whole.subarray(1), expect: 'truncated' },
  { name: 'text behind the trailer', bytes: Buffer.concat([whole, Buffer.from('more')]), expect: 'truncated' },
  { name: 'the segment alone', bytes: makeXpakSegment(ENTRIES), expect: 'truncated' },
  segment('a length beyond the file', 'bad-size', ENTRIES, { offset: 0xffff_ffff }),
  segment('a length of nothing', 'bad-size', ENTRIES, { offset: 0 }),
  segment('a length that is one too short', 'magic', ENTRIES, { offset: SEGMENT - 8 - 1 }),
  segment('a segment that does not begin with XPAKPACK', 'magic', ENTRIES, { start: 'XPAKPICK' }),
  segment('a segment without XPAKSTOP', 'truncated', ENTRIES, { stop: 'XPAKSTEP' }),
  segment('an index longer than the segment', 'layout', ENTRIES, { indexLength: 0x7fff_ffff }),
  segment('an index shorter than its entries', 'layout', ENTRIES, { indexLength: 20 }),
  segment('data longer than the segment', 'layout', ENTRIES, { dataLength: 0x7fff_ffff }),
  segment('a name beyond the index', 'truncated', more({ name: 'X', value: 'x', nameLength: 0xffff_fff0 })),
  segment('a value beyond the data', 'truncated', more({ name: 'X', value: 'x', length: 2 })),
  segment('a value that begins beyond the data', 'truncated', more({ name: 'X', value: 'x', offset: 0xffff_ff00 })),
  segment('values that share bytes', 'layout', more({ name: 'X', value: 'x', offset: 0, length: 6 })),
  segment('an empty name', 'bad-name', more({ name: '', value: 'x' })),
  segment('a name ..', 'bad-name', more({ name: '..', value: 'x' })),
  segment('a name .', 'bad-name', more({ name: '.', value: 'x' })),
  segment('a name that climbs', 'bad-name', more({ name: '../../etc/passwd', value: 'x' })),
  segment('an absolute name', 'bad-name', more({ name: '/etc/passwd', value: 'x' })),
  segment('a name with a NUL', 'bad-name', more({ name: 'A\0B', value: 'x' })),
  segment('a name with a newline', 'bad-name', more({ name: 'A\nB', value: 'x' })),
  segment('a name of 256 bytes', 'too-long', more({ name: 'N'.repeat(256), value: 'x' })),
  segment('a name of 255 bytes', GOOD, more({ name: 'N'.repeat(255), value: 'x' })),
  segment('one name twice', 'duplicate', more({ name: 'SLOT', value: '1' })),
  segment('a name __proto__', GOOD, more({ name: '__proto__', value: 'x' })),
  segment('a value of 17 MiB', 'too-big', more({ name: 'X', value: Buffer.alloc(17 << 20) })),
  segment('values in another order than names', GOOD, [...ENTRIES].reverse()),
  segment('no values at all', 'missing-metadata', []),
]

type Info = Parameters<typeof makeXpak>[0]

function info(name: string, expect: Refusal | readonly string[], values: NonNullable<Info>['info']): readonly GentooCase[] {
  const spec = { files: [{ name: 'a', data: 'alpha' }], ...(values ? { info: values } : {}) }
  return [
    { name: `xpak: ${name}`, expect, bytes: makeXpak(spec) },
    { name: `gpkg: ${name}`, expect, bytes: makeGpkg({ ...spec, files: [{ name: 'image/a', data: 'alpha' }] }) },
  ]
}

/** Both kinds of packages. */
export const INFO_CASES: readonly GentooCase[] = [
  ...info('no CATEGORY', 'missing-metadata', { CATEGORY: undefined }),
  ...info('an empty CATEGORY', 'missing-metadata', { CATEGORY: '\n' }),
  ...info('no PF', 'missing-metadata', { PF: undefined }),
  ...info('no SLOT', 'missing-metadata', { SLOT: undefined }),
  ...info('a CATEGORY that climbs', 'bad-metadata', { CATEGORY: '../etc' }),
  ...info('a PF that climbs', 'bad-metadata', { PF: '../../demo-1.0' }),
  ...info('a PF without a version', 'bad-metadata', { PF: 'demo' }),
  ...info('a SLOT of two words', 'bad-metadata', { SLOT: '0 1' }),
  ...info('a SLOT with an empty sub-slot', 'bad-metadata', { SLOT: '0/' }),
  ...info('an improper EAPI', 'bad-metadata', { EAPI: '../8' }),
  ...info('an improper BUILD_ID', 'bad-metadata', { BUILD_ID: '-1' }),
  ...info('an RDEPEND that does not close', 'bad-metadata', { RDEPEND: '|| ( a/b c/d' }),
  ...info('an RDEPEND that closes too early', 'bad-metadata', { RDEPEND: 'a/b ) ( c/d' }),
  ...info('an RDEPEND without blanks around a parenthesis', 'bad-metadata', { RDEPEND: '||(a/b c/d)' }),
  ...info('no EAPI, which means 0', GOOD, { EAPI: undefined }),
  ...info('an RDEPEND with USE defaults', GOOD, { RDEPEND: 'ssl? ( >=a/b-1:0/3=[x(+),-y(-)] )\n' }),
]

const names: readonly (readonly [string, GentooCase['expect'], ExpectedBuild])[] = [
  ['the build that was expected', GOOD, { name: 'app-misc/demo', version: '1.0', slot: '0', buildId: 1, use: ['amd64'] }],
  ['another name', 'mismatch', { name: 'app-misc/other', version: '1.0' }],
  ['another category', 'mismatch', { name: 'app-text/demo', version: '1.0' }],
  ['another version', 'mismatch', { name: 'app-misc/demo', version: '1.0-r1' }],
  ['another slot', 'mismatch', { name: 'app-misc/demo', version: '1.0', slot: '2' }],
  ['another build', 'mismatch', { name: 'app-misc/demo', version: '1.0', buildId: 2 }],
]
const flags: readonly (readonly [string, GentooCase['expect'], readonly string[]])[] = [
  ['flags as expected', GOOD, ['ssl']],
  ['a flag that was expected is off', 'mismatch', ['ssl', 'doc']],
  ['a flag that was not expected is on', 'mismatch', []],
]

const mismatches: readonly GentooCase[] = [
  ...names.flatMap(([name, expect, build]) => info(name, expect, {}).map((one) => ({ ...one, build }))),
  ...flags.flatMap(([name, expect, use]) =>
    info(name, expect, { IUSE: '+ssl doc', USE: 'amd64 ssl' }).map((one) => ({
      ...one,
      build: { name: 'app-misc/demo', version: '1.0', use },
    })),
  ),
]

function image(name: string, expect: GentooCase['expect'], bytes: Uint8Array): GentooCase {
  return { name, expect, bytes: Buffer.concat([bytes, makeXpakSegment(ENTRIES)]) }
}

const bomb = zstdCompressSync(Buffer.alloc(2 ** 27), { params: { [constants.ZSTD_c_compressionLevel]: 1 } })

const PACKINGS: readonly Packing[] = ['none', 'gz', 'bz2', 'xz', 'zst', 'lz4']

export const XPAK_CASES: readonly GentooCase[] = [
  ...container,
  ...PACKINGS.map((packing): GentooCase => ({ name: `compressed with ${packing}`, expect: GOOD, bytes: makeXpak({ files: [A], packing }) })),
  image('an image of two zstd frames', GOOD, Buffer.concat([zstdCompressSync(makeTar([A]).subarray(0, 600)), zstdCompressSync(makeTar([A]).subarray(600))])),
  image('text between image and segment', 'trailing-data', Buffer.concat([IMAGE, Buffer.from('noise')])),
  image('zeros behind an uncompressed image', GOOD, Buffer.concat([makeTar([{ name: './' }, A]), Buffer.alloc(9216)])),
  image('a second archive behind an uncompressed image', 'trailing-data', Buffer.concat([makeTar([A]), makeTar([A])])),
  image('an image that is cut', 'truncated', IMAGE.subarray(0, -5)),
  image('an image with a changed byte', 'decompress', Buffer.from(IMAGE).fill(0xff, 5, 12)),
  image('no image', 'truncated', Buffer.alloc(0)),
  image('an image that is text', 'magic', Buffer.from('x'.repeat(600))),
  image('an image with an entry twice', 'duplicate', packed(makeTar([A, A]), 'zst')),
  image('an image that climbs', 'traversal', packed(makeTar([{ name: './../a' }]), 'zst')),
  image('an image with a device', 'special-file', packed(makeTar([{ name: './d', type: '3' }]), 'zst')),
  ...INFO_CASES.filter(({ name }) => name.startsWith('xpak')),
  ...mismatches.filter(({ name }) => name.startsWith('xpak')),
]

function gpkg(name: string, expect: GentooCase['expect'], spec: GpkgSpec): GentooCase {
  return { name, expect, bytes: makeGpkg({ files: [{ name: 'image/a', data: 'alpha' }], ...spec }) }
}

const without = (name: string) => (members: readonly GpkgMemberSpec[]) =>
  members.filter((member) => !member.name.startsWith(name))
const renamed = (from: string, to: string) => (members: readonly GpkgMemberSpec[]) =>
  members.map((member) => (member.name.startsWith(from) ? { ...member, name: to } : member))
const replaced = (from: string, change: (member: GpkgMemberSpec) => Partial<GpkgMemberSpec>) => (members: readonly GpkgMemberSpec[]) =>
  members.map((member) => (member.name.startsWith(from) ? { ...member, ...change(member) } : member))
const added = (...extra: readonly GpkgMemberSpec[]) => (members: readonly GpkgMemberSpec[]) => [...members, ...extra]
const NOTE: GpkgMemberSpec = { name: 'note', data: Buffer.from('note') }

const good = makeGpkg({ files: [{ name: 'image/a', data: 'alpha' }] })
const metadataWith = (...extra: readonly TarSpec[]) =>
  replaced('metadata', () => ({
    data: packed(
      makeTar([...Object.entries(DEMO_INFO).map(([key, data]) => ({ name: `metadata/${key}`, data })), ...extra]),
      'zst',
    ),
  }))
const imageOf = (...entries: readonly (TarSpec | Uint8Array)[]) =>
  replaced('image', () => ({ data: packed(makeTar(entries), 'zst') }))

export const GPKG_CASES: readonly GentooCase[] = [
  { name: 'an empty file', bytes: Buffer.alloc(0), expect: 'truncated' },
  { name: 'an HTML page', bytes: Buffer.from('<!doctype html>'.repeat(60)), expect: 'magic' },
  { name: 'an xpak', bytes: Buffer.concat([Buffer.alloc(600, 'x'), whole]), expect: 'magic' },
  ...[512, 1024, 2000, 3000].map(
    (less): GentooCase => ({ name: `cut ${less} bytes before the end`, bytes: good.subarray(0, -less), expect: 'truncated' }),
  ),
  { name: 'cut in its first header', bytes: good.subarray(0, 300), expect: 'truncated' },
  { name: 'a second package behind the end', bytes: Buffer.concat([good, good]), expect: 'trailing-data' },
  { name: 'zeros behind the end', bytes: Buffer.concat([good, Buffer.alloc(10240)]), expect: GOOD },
  ...PACKINGS.map((packing) => gpkg(`compressed with ${packing}`, GOOD, { packing })),
  gpkg('no marker', 'missing-member', { members: without('gpkg-1') }),
  gpkg('the marker of another version', 'version', { members: renamed('gpkg-1', 'gpkg-2') }),
  gpkg('the marker behind the others', GOOD, { members: (members) => [...members.slice(1), members[0] as GpkgMemberSpec] }),
  gpkg('no metadata', 'missing-member', { members: without('metadata') }),
  gpkg('no image', 'missing-member', { members: without('image') }),
  gpkg('no Manifest', 'missing-member', { container: (entries) => entries.slice(0, -1) }),
  gpkg('two Manifests', 'duplicate', { container: (entries) => [...entries, entries.at(-1) as TarSpec] }),
  gpkg('two images', 'layout', { members: added({ name: 'image.tar', data: makeTar([]) }) }),
  gpkg('two metadata archives', 'layout', { members: added({ name: 'metadata.tar', data: makeTar([]) }) }),
  gpkg('a member that is not listed', 'unlisted', { members: added({ ...NOTE, line: '' }) }),
  gpkg('the marker is not listed', 'unlisted', { members: replaced('gpkg-1', () => ({ line: '' })) }),
  gpkg('a listed member that is not there', 'missing-member', { manifest: (text) => `${text}${manifestLineOf(NOTE)}\n` }),
  gpkg('a further member that is listed', GOOD, { members: added(NOTE) }),
  gpkg('a member in another directory', 'layout', { container: (entries) => [...entries, { name: 'other/note', data: 'x' }] }),
  gpkg('a member without a directory', 'layout', { container: (entries) => [{ name: 'gpkg-1' }, ...entries] }),
  gpkg('a nested member', 'layout', { container: (entries) => [...entries, { name: 'demo-1.0-1/a/b', data: 'x' }] }),
  gpkg('a member beneath ./', 'layout', { container: (entries) => entries.map((entry) => ({ ...entry, name: `./${entry.name}` })) }),
  gpkg('an entry for the directory', 'layout', { container: (entries) => [{ name: 'demo-1.0-1/' }, ...entries] }),
  gpkg('an absolute member', 'absolute-path', { container: (entries) => [...entries, { name: '/demo-1.0-1', data: 'x' }] }),
  gpkg('a member that climbs', 'traversal', { container: (entries) => [...entries, { name: '../gpkg-1', data: 'x' }] }),
  gpkg('a symlink member', 'layout', { container: (entries) => [...entries, { name: 'demo-1.0-1/note', type: '2', link: '/etc/passwd' }] }),
  gpkg('a hard-linked member', 'layout', { container: (entries) => [...entries, { name: 'demo-1.0-1/note', type: '1', link: 'demo-1.0-1/gpkg-1' }] }),
  gpkg('a member twice', 'duplicate', { container: (entries) => [...entries, entries[0] as TarSpec] }),
  gpkg('200 members', 'too-big', { container: (entries) => [...entries, ...Array.from({ length: 200 }, (_, at) => ({ name: `demo-1.0-1/n${at}`, data: 'x' }))] }),
  gpkg('a Manifest of 2 MiB', 'too-big', { manifest: (text) => text + ' '.repeat(2 << 20) }),
  gpkg('a compression that is unknown', 'layout', { members: renamed('image', 'image.tar.br') }),
  gpkg('a compression that is another one', 'decompress', { members: renamed('image', 'image.tar.gz') }),
  gpkg('a directory of another name', GOOD, { directory: 'something-else' }),

  gpkg('a Manifest with a wrong hash', 'digest', { manifest: (text) => text.replace(/SHA512 [0-9a-f]{128}/, `SHA512 ${'0'.repeat(128)}`) }),
  gpkg('a Manifest whose second hash is wrong', 'digest', { manifest: (text) => text.replace(/BLAKE2B [0-9a-f]{128}/, `BLAKE2B ${'0'.repeat(128)}`) }),
  gpkg('a Manifest with a wrong size', 'size', { manifest: (text) => text.replace(/(image\S+) (\d+)/, '$1 1') }),
  gpkg('hashes in capitals', GOOD, { manifest: (text) => text.replace(/[0-9a-f]{128}/g, (hex) => hex.toUpperCase()) }),
  gpkg('SHA512 alone', GOOD, { manifest: (text) => text.replace(/ BLAKE2B [0-9a-f]+/g, '') }),
  gpkg('BLAKE2B alone', GOOD, { manifest: (text) => text.replace(/ SHA512 [0-9a-f]+/g, '') }),
  gpkg('MD5 alone', 'weak-digest', { manifest: (text) => text.replace(/SHA512.*/g, `MD5 ${'0'.repeat(32)}`) }),
  gpkg('no hash', 'weak-digest', { manifest: (text) => text.replace(/ SHA512.*/g, '') }),
  gpkg('only a hash that is unknown', 'weak-digest', { manifest: (text) => text.replace(/SHA512.*/g, 'GOST abcd') }),
  gpkg('a hash beside one that is unknown', GOOD, { manifest: (text) => text.replace(/ BLAKE2B [0-9a-f]+/g, ' GOST abcd') }),
  gpkg('a hash that is too short', 'manifest', { manifest: (text) => text.replace(/SHA512 [0-9a-f]{8}/, 'SHA512 ') }),
  gpkg('a hash twice', 'manifest', { manifest: (text) => text.replace(/(SHA512 [0-9a-f]+)/, '$1 $1') }),
  gpkg('a hash without a value', 'manifest', { manifest: (text) => text.replace(/ BLAKE2B [0-9a-f]+/, ' BLAKE2B') }),
  gpkg('a size in words', 'manifest', { manifest: (text) => text.replace(/(image\S+) (\d+)/, '$1 many') }),
  gpkg('a line that is not DATA', 'manifest', { manifest: (text) => `TIMESTAMP 2026-01-01T00:00:00Z\n${text}` }),
  gpkg('a member twice in the Manifest', 'duplicate', { manifest: (text) => `${text}${text.split('\n')[0]}\n` }),
  gpkg('an empty Manifest', 'unlisted', { manifest: () => '' }),
  gpkg('a member whose bytes changed', 'digest', {
    members: replaced('image', (member) => ({ line: manifestLineOf(member), data: Buffer.from(member.data).fill(0, member.data.length - 1) })),
  }),

  gpkg('metadata outside metadata/', 'layout', { members: metadataWith({ name: 'SLOT2', data: 'x' }) }),
  gpkg('metadata with an entry for its directory', GOOD, { members: metadataWith({ name: 'metadata/' }) }),
  gpkg('nested metadata', 'bad-name', { members: metadataWith({ name: 'metadata/a/b', data: 'x' }) }),
  gpkg('metadata that climbs', 'traversal', { members: metadataWith({ name: 'metadata/../../x', data: 'x' }) }),
  gpkg('absolute metadata', 'absolute-path', { members: metadataWith({ name: '/metadata/x', data: 'x' }) }),
  gpkg('metadata without a name', 'bad-name', { members: metadataWith({ name: 'metadata/', type: '0', patch: (header) => void header.write('metadata/.', 0) }) }),
  gpkg('metadata twice', 'duplicate', { members: metadataWith({ name: 'metadata/SLOT', data: '1' }) }),
  gpkg('a symlink in metadata', 'bad-type', { members: metadataWith({ name: 'metadata/x', type: '2', link: '/etc/passwd' }) }),
  gpkg('a metadata name of 256 bytes', 'too-long', { members: metadataWith({ name: 'x', pax: { path: `metadata/${'N'.repeat(256)}` }, data: '1' }) }),
  gpkg('a value of 17 MiB', 'too-big', { members: metadataWith({ name: 'metadata/X', data: Buffer.alloc(17 << 20) }) }),
  gpkg('a bomb of metadata', 'too-big', { members: replaced('metadata', () => ({ data: bomb })) }),

  gpkg('an image outside image/', 'layout', { members: imageOf({ name: 'image/' }, { name: 'other', data: 'x' }) }),
  gpkg('an image without its directory', GOOD, { members: imageOf({ name: 'image/a', data: 'x' }) }),
  gpkg('the root of the image is a symlink', 'bad-parent', { members: imageOf({ name: 'image', type: '2', link: '/etc' }) }),
  gpkg('the root of the image is a file', 'bad-parent', { members: imageOf({ name: 'image', data: 'x' }) }),
  gpkg('an entry beneath a symlink of the image', 'beneath-symlink', { members: imageOf({ name: 'image/' }, { name: 'image/l', type: '2', link: '/tmp' }, { name: 'image/l/x', data: 'x' }) }),
  gpkg('a hard link out of the image', 'hardlink-target', { members: imageOf({ name: 'image/' }, { name: 'image/l', type: '1', link: '/etc/passwd' }) }),
  gpkg('a hard link to a symlink', ['', 'l', 'm'], { members: imageOf({ name: 'image/' }, { name: 'image/l', type: '2', link: 'x' }, { name: 'image/m', type: '1', link: 'image/l' }) }),
  gpkg('a device in the image', 'special-file', { members: imageOf({ name: 'image/' }, { name: 'image/null', type: '3' }) }),
  gpkg('an image that climbs', 'traversal', { members: imageOf({ name: 'image/../../a', data: 'x' }) }),
  gpkg('noise between entries of the image', 'bad-header', { members: imageOf({ name: 'image/' }, Buffer.alloc(512, 'x'), { name: 'image/a', data: 'x' }) }),
  gpkg('an image without its end', 'truncated', { members: replaced('image', () => ({ data: packed(makeTar([{ name: 'image/' }], Buffer.alloc(0)), 'zst') })) }),
  gpkg('an image with an entry twice', 'duplicate', { members: imageOf({ name: 'image/a', data: 'x' }, { name: 'image/a', data: 'x' }) }),
  gpkg('megabytes of zeros behind the image', GOOD, { members: replaced('image', () => ({ data: zstdCompressSync(makeTar([{ name: 'image/' }, { name: 'image/a', data: 'x' }], Buffer.alloc(4 << 20))) })) }),
  ...INFO_CASES.filter(({ name }) => name.startsWith('gpkg')),
  ...mismatches.filter(({ name }) => name.startsWith('gpkg')),
]
