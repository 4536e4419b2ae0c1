/** Hostile and odd packages: what each is about, its bytes, and the word it is refused with or the names it has. */
import { constants, zstdCompressSync } from 'node:zlib'
import type { Refusal } from '../../src/base/errors.ts'
import type { Expected } from '../../src/repo/unpack-control.ts'
import {
  type ArSpec,
  controlEntries,
  debOf,
  type DebSpec,
  makeAr,
  makeDeb,
  makeNative,
  makeTar,
  packed,
  type TarSpec,
} from '../helpers/pack.ts'

export interface PackageCase {
  readonly name: string
  readonly bytes: Buffer
  /** The word of the refusal, or the paths of the tree. */
  readonly expect: Refusal | readonly string[]
  readonly options?: { readonly expect: Expected }
}

const FORMAT: ArSpec = { name: 'debian-binary', data: '2.0\n' }
const CONTROL: ArSpec = { name: 'control.tar', data: makeTar(controlEntries()) }
const DATA: ArSpec = { name: 'data.tar', data: makeTar([{ name: './' }, { name: './a', data: 'alpha' }]) }
const GOOD = ['', 'a']

function ar(name: string, expect: Refusal | readonly string[], ...members: readonly (ArSpec | Uint8Array)[]): PackageCase {
  return { name, expect, bytes: makeAr(members) }
}

const odd: ArSpec = { name: '_note', data: 'odd' }
const whole = makeAr([FORMAT, odd, CONTROL, DATA])
/** Where the member after `odd` begins: magic, header and 4 bytes, header and 3 bytes and one of padding. */
const AFTER_ODD = 8 + 64 + 64

const container: PackageCase[] = [
  { name: 'an empty file', bytes: Buffer.alloc(0), expect: 'truncated' },
  { name: 'an HTML page', bytes: Buffer.from('<!doctype html><p>404</p>'), expect: 'magic' },
  { name: 'two letters', bytes: Buffer.from('hi'), expect: 'magic' },
  { name: 'an RPM', bytes: Buffer.from('\xed\xab\xee\xdb\x03\0\0\0\0\0', 'latin1'), expect: 'magic' },
  { name: 'a thin archive', bytes: Buffer.from('!<thin>\ndebian-binary'), expect: 'magic' },
  ...(
    [
      ['in the magic', 5, 'truncated'],
      ['behind the magic', 8, 'missing-member'],
      ['in a header', 40, 'truncated'],
      ['in debian-binary', 70, 'truncated'],
      ['before the padding', AFTER_ODD - 1, 'truncated'],
      ['in the control archive', AFTER_ODD + 60 + 700, 'truncated'],
      ['before the data archive', AFTER_ODD + 60 + (CONTROL.data as Buffer).length, 'missing-member'],
      ['in the header of the data archive', AFTER_ODD + 60 + (CONTROL.data as Buffer).length + 30, 'truncated'],
      ['in the data archive', whole.length - 700, 'truncated'],
      ['one byte before the end', whole.length - 1, 'truncated'],
    ] as const
  ).map(([name, length, expect]) => ({ name: `cut ${name}`, bytes: whole.subarray(0, length), expect })),
  ar('a header without its end mark', 'bad-header', FORMAT, Buffer.from('x'.repeat(60))),
  ar('padding that is no newline', 'bad-header', { ...FORMAT }, Buffer.concat([makeAr([odd]).subarray(8, -1), Buffer.from('x')]), CONTROL, DATA),
  ar('a long name of GNU', 'bad-name', { name: '//', data: 'long\n' }, FORMAT, CONTROL, DATA),
  ar('a reference to a long name', 'bad-name', { name: '/0', data: '2.0\n' }, CONTROL, DATA),
  ar('a long name of BSD', 'bad-name', { name: '#1/20', data: '2.0\n' }, CONTROL, DATA),
  ar('a name with a slash inside', 'bad-name', FORMAT, { name: '_a/b', data: '' }, CONTROL, DATA),
  ar('a name with a blank inside', 'bad-name', FORMAT, { name: '_a b', data: '' }, CONTROL, DATA),
  ar('an empty name', 'bad-name', FORMAT, { name: '', data: '' }, CONTROL, DATA),
  ar('a size in words', 'bad-size', FORMAT, { ...CONTROL, size: 'big' }, DATA),
  ar('a negative size', 'bad-size', FORMAT, { ...CONTROL, size: '-4' }, DATA),
  ar('an octal-looking size with noise', 'bad-size', FORMAT, { ...CONTROL, size: '12 3' }, DATA),
  ar('a size beyond the file', 'truncated', FORMAT, CONTROL, { ...DATA, size: '9999999999' }),
  ar('text behind the last member', 'trailing-data', FORMAT, CONTROL, DATA, Buffer.from('hello')),
  ar('a second package behind the last member', 'trailing-data', FORMAT, CONTROL, DATA, whole),
  ar('1,001 members', 'too-big', FORMAT, CONTROL, DATA, ...Array.from({ length: 998 }, () => ({ name: 'x', data: '' }))),
  ar('names with a slash behind them', GOOD, { ...FORMAT, name: 'debian-binary/' }, { ...CONTROL, name: 'control.tar/' }, { ...DATA, name: 'data.tar/' }),
  ar('members that begin with _', GOOD, FORMAT, odd, CONTROL, odd, DATA),
  ar('members behind the data', GOOD, FORMAT, CONTROL, DATA, { name: '_gpgorigin', data: 'sig' }, { name: 'other', data: '' }),
  ar('a second data archive is not looked at', GOOD, FORMAT, CONTROL, DATA, { name: 'data.tar', data: makeTar([{ name: 'b' }]) }),
  ar('no debian-binary', 'missing-member', CONTROL, DATA),
  ar('a member before debian-binary', 'missing-member', odd, FORMAT, CONTROL, DATA),
  ar('no control archive', 'layout', FORMAT, DATA),
  ar('no data archive', 'missing-member', FORMAT, CONTROL),
  ar('the data archive first', 'layout', FORMAT, DATA, CONTROL),
  ar('two control archives', 'layout', FORMAT, CONTROL, CONTROL, DATA),
  ar('an unknown member before the data', 'layout', FORMAT, CONTROL, { name: 'extra', data: 'x' }, DATA),
  ar('format 3.0', 'version', { ...FORMAT, data: '3.0\n' }, CONTROL, DATA),
  ar('format 0.939000', 'version', { ...FORMAT, data: '0.939000\n' }, CONTROL, DATA),
  ar('a format without a newline', 'version', { ...FORMAT, data: '2.0' }, CONTROL, DATA),
  ar('a format of 5,000 bytes', 'version', { ...FORMAT, data: '2.0\n'.padEnd(5000, 'x') }, CONTROL, DATA),
  ar('format 2.1 with more lines', GOOD, { ...FORMAT, data: '2.1\nmore\n' }, CONTROL, DATA),
]

const tar = DATA.data as Buffer
const skippable = Buffer.from('532a4d1805000000', 'hex')

/** A `.lzma` that asks for a dictionary of 4 GiB - 1. */
function greedyLzma(): Buffer {
  const bytes = packed(tar, 'lzma')
  bytes.writeUInt32LE(0xffff_ffff, 1)
  return bytes
}

function wrongChecksum(): Buffer {
  const bytes = zstdCompressSync(tar, { params: { [constants.ZSTD_c_checksumFlag]: 1 } })
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1)
  return bytes
}

/** A frame header that asks for a window of 2^`log` bytes, and one empty block. */
function windowFrame(log: number): Buffer {
  return Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, (log - 10) << 3, 0x01, 0x00, 0x00])
}

const KINDS = ['gz', 'xz', 'zst', 'bz2', 'lzma'] as const

function data(name: string, expect: Refusal | readonly string[], kind: string, bytes: Buffer): PackageCase {
  return { name, expect, bytes: debOf(bytes, `data.tar.${kind}`) }
}

const compression: PackageCase[] = [
  ...KINDS.map((kind) => data(`data in ${kind}`, GOOD, kind, packed(tar, kind))),
  ...(['gz', 'xz', 'zst'] as const).map((kind) => ({
    name: `control and data in ${kind}`,
    expect: GOOD,
    bytes: makeDeb({ packing: kind, data: [{ name: './a' }] }),
  })),
  ...KINDS.flatMap((kind) => {
    const bytes = packed(tar, kind)
    return [
      data(`${kind} cut in the middle`, 'truncated', kind, bytes.subarray(0, bytes.length >> 1)),
      data(`${kind} cut by a byte`, 'truncated', kind, bytes.subarray(0, -1)),
    ]
  }),
  ...(['gz', 'xz', 'zst', 'bz2'] as const).map((kind) =>
    data(`${kind} of no bytes`, 'truncated', kind, Buffer.alloc(0)),
  ),
  data('gz of two members', GOOD, 'gz', Buffer.concat([packed(tar.subarray(0, 700), 'gz'), packed(tar.subarray(700), 'gz')])),
  data('xz of two streams', GOOD, 'xz', Buffer.concat([packed(tar.subarray(0, 700), 'xz'), packed(tar.subarray(700), 'xz')])),
  data('zst of two frames', GOOD, 'zst', Buffer.concat([packed(tar.subarray(0, 700), 'zst'), packed(tar.subarray(700), 'zst')])),
  data('zst with skippable frames around', GOOD, 'zst', Buffer.concat([skippable, Buffer.from('notes'), packed(tar, 'zst'), skippable, Buffer.from('notes')])),
  data('zst that ends in a skippable frame', 'truncated', 'zst', Buffer.concat([packed(tar, 'zst'), skippable, Buffer.from('not')])),
  data('gz with text behind it', 'decompress', 'gz', Buffer.concat([packed(tar, 'gz'), Buffer.from('text')])),
  data('gz with zeros behind it', 'trailing-data', 'gz', Buffer.concat([packed(tar, 'gz'), Buffer.alloc(4)])),
  data('gz with zeros and another member behind it', 'trailing-data', 'gz', Buffer.concat([packed(tar, 'gz'), Buffer.alloc(4), packed(tar, 'gz')])),
  data('zst with text behind it', 'trailing-data', 'zst', Buffer.concat([packed(tar, 'zst'), Buffer.from('text')])),
  data('bz2 with text behind it', 'trailing-data', 'bz2', Buffer.concat([packed(tar, 'bz2'), Buffer.from('text')])),
  data('xz with text behind it', 'truncated', 'xz', Buffer.concat([packed(tar, 'xz'), Buffer.from('text')])),
  data('lzma with text behind it', 'decompress', 'lzma', Buffer.concat([packed(tar, 'lzma'), Buffer.from('text')])),
  ...KINDS.map((kind) => data(`plain tar called ${kind}`, kind === 'zst' ? 'magic' : 'decompress', kind, tar)),
  data('gz called xz', 'decompress', 'xz', packed(tar, 'gz')),
  data('zst called gz', 'decompress', 'gz', packed(tar, 'zst')),
  data('zst with a wrong checksum', 'decompress', 'zst', wrongChecksum()),
  data('zst with a window of 2^28', 'too-big', 'zst', windowFrame(28)),
  data('zst with a window of 2^41', 'too-big', 'zst', windowFrame(41)),
  data('zst with a window of 2^27 and nothing in it', 'truncated', 'zst', windowFrame(27)),
  data('zst that needs a dictionary', 'decompress', 'zst', Buffer.from('28b52ffd2101000a010000', 'hex')),
  data('zst with a reserved bit', 'decompress', 'zst', Buffer.from('28b52ffd0800010000', 'hex')),
  data('zst with a reserved block type', 'decompress', 'zst', Buffer.from('28b52ffd0000070000', 'hex')),
  data('zst of 10,001 frames', 'too-big', 'zst', Buffer.concat(Array.from({ length: 10_001 }, () => Buffer.from('502a4d1800000000', 'hex')))),
  data('lzma with a dictionary of 4 GiB', 'too-big', 'lzma', greedyLzma()),
  data('400 MB of zeros in 12 kB', 'too-big', 'zst', zstdCompressSync(Buffer.alloc(400e6))),
  data('400 MB of zeros behind the end', 'too-big', 'zst', Buffer.concat([packed(tar, 'zst'), zstdCompressSync(Buffer.alloc(400e6))])),
  data('an unknown compression', 'layout', 'lz4', tar),
  { name: 'a suffix that an object has by birth', expect: 'layout', bytes: debOf(tar, 'data.tarvalueOf') },
  ar('control in bz2', 'layout', FORMAT, { name: 'control.tar.bz2', data: packed(CONTROL.data as Buffer, 'bz2') }, DATA),
]

function control(name: string, expect: Refusal | readonly string[], ...entries: readonly TarSpec[]): PackageCase {
  return ar(name, expect, FORMAT, { name: 'control.tar', data: makeTar(entries) }, DATA)
}

const text = 'Package: demo\nVersion: 1.0-1\nArchitecture: all\n'
const file: TarSpec = { name: './control', data: text }

function fields(name: string, expect: Refusal | readonly string[], changed: DebSpec['fields'], wanted?: Expected): PackageCase {
  const options = wanted ? { options: { expect: wanted } } : {}
  return { name, expect, bytes: makeDeb({ ...(changed ? { fields: changed } : {}) }), ...options }
}

const demo = { name: 'demo', version: '1.0-1', arch: 'all' }

const metadata: PackageCase[] = [
  control('no file control', 'missing-member', { name: './' }, { name: './postinst', data: '#!/bin/sh\n' }),
  control('control twice', 'duplicate', file, file),
  control('control twice in two spellings', 'duplicate', file, { ...file, name: 'control' }),
  control('control as a symlink', 'bad-type', { name: './control', type: '2', link: '/etc/passwd' }),
  control('control as a hard link', 'bad-type', file, { name: './postinst', type: '1', link: './control' }),
  control('a device in the control archive', 'bad-type', file, { name: './null', type: '3' }),
  control('a folder in the control archive', 'bad-type', file, { name: './d/' }),
  control('a path in the control archive', 'bad-name', file, { name: './d/x' }),
  control('".." in the control archive', 'bad-name', file, { name: '../x' }),
  control('an absolute name in the control archive', 'bad-name', file, { name: '/etc/x' }),
  control('a member of 17 MiB', 'too-big', file, { name: './md5sums', data: Buffer.alloc(17 * 2 ** 20) }),
  control('a member of 8 GiB - 1', 'too-big', file, { name: './md5sums', size: '77777777777\0' }),
  ar('128 MiB of zeros as control', 'too-big', FORMAT, { name: 'control.tar.zst', data: zstdCompressSync(Buffer.alloc(2 ** 27)) }, DATA),
  control('an empty control', 'bad-metadata', { ...file, data: '' }),
  control('two paragraphs', 'bad-metadata', { ...file, data: `${text}\n${text}` }),
  control('a field twice', 'bad-metadata', { ...file, data: `${text}version: 2\n` }),
  control('a line without a colon', 'bad-metadata', { ...file, data: `${text}hello\n` }),
  control('a continuation of nothing', 'bad-metadata', { ...file, data: ` x\n${text}` }),
  control('a binary control', 'bad-metadata', { ...file, data: Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 1, 2]) }),
  control('a line of 2 MiB', 'too-long', { ...file, data: `${text}Tag: ${'x'.repeat(2 ** 21)}\n` }),
  control('a member with a name objects have by birth', GOOD, file, { name: './__proto__', data: 'x' }),
  ...['Package', 'Version', 'Architecture'].map((field) => fields(`no ${field}`, 'missing-metadata', { [field]: undefined })),
  ...['../demo', 'Demo', '-demo', 'a', 'de mo', 'demo/x'].map((name) => fields(`Package: ${name}`, 'bad-metadata', { Package: name })),
  ...['1/0', 'a b', '1:', '1.0\u00e9'].map((version) => fields(`Version: ${version}`, 'bad-metadata', { Version: version })),
  fields('Architecture: ../x', 'bad-metadata', { Architecture: '../x' }),
  fields('what the index promised', [''], {}, demo),
  fields('another name than promised', 'mismatch', {}, { ...demo, name: 'other' }),
  fields('another version than promised', 'mismatch', {}, { ...demo, version: '1.0-2' }),
  fields('another architecture than promised', 'mismatch', {}, { ...demo, arch: 'amd64' }),
]

export const DEB_CASES: readonly PackageCase[] = [...container, ...compression, ...metadata]

const yaml: TarSpec = { name: 'package.yaml', data: 'name: app/demo\n' }

function native(name: string, expect: Refusal | readonly string[], ...entries: readonly (TarSpec | Uint8Array)[]): PackageCase {
  return { name, expect, bytes: zstdCompressSync(makeTar(entries)) }
}

const nativeWhole = makeNative([{ name: 'root/a', data: 'alpha' }])

export const NATIVE_CASES: readonly PackageCase[] = [
  { name: 'a package', bytes: nativeWhole, expect: GOOD },
  native('no files at all', [''], yaml),
  native('names with ./', GOOD, { ...yaml, name: './package.yaml' }, { name: './root/' }, { name: './root/a' }),
  native('no root entry', GOOD, yaml, { name: 'root/a' }),
  native('a hard link below root/', ['', 'a', 'b'], yaml, { name: 'root/a' }, { name: 'root/b', type: '1', link: 'root/a' }),
  { name: 'an empty file', bytes: Buffer.alloc(0), expect: 'truncated' },
  { name: 'an HTML page', bytes: Buffer.from('<!doctype html>'), expect: 'magic' },
  { name: 'a tar that is not compressed', bytes: makeTar([yaml]), expect: 'magic' },
  { name: 'a cut stream', bytes: nativeWhole.subarray(0, -9), expect: 'truncated' },
  { name: 'text behind the stream', bytes: Buffer.concat([nativeWhole, Buffer.from('text')]), expect: 'trailing-data' },
  { name: 'a second package behind the stream', bytes: Buffer.concat([nativeWhole, nativeWhole]), expect: 'trailing-data' },
  { name: 'a Debian package', bytes: makeDeb(), expect: 'magic' },
  native('nothing in it', 'missing-member'),
  native('package.yaml in second place', 'missing-member', { name: 'root/' }, yaml),
  native('package.yaml as a symlink', 'missing-member', { name: 'package.yaml', type: '2', link: '/etc/passwd' }),
  native('package.yaml as a folder', 'missing-member', { name: 'package.yaml/' }),
  native('package.yaml of 17 MiB', 'too-big', { ...yaml, data: Buffer.alloc(17 * 2 ** 20) }),
  native('package.yaml twice', 'layout', yaml, yaml),
  native('a file beside root/', 'layout', yaml, { name: 'rootkit' }),
  native('a file above root/', 'layout', yaml, { name: './' }),
  native('a name that leaves root/', 'traversal', yaml, { name: 'root/../a' }),
  native('an absolute name', 'absolute-path', yaml, { name: '/root/a' }),
  native('a root that is a symlink', 'bad-parent', yaml, { name: 'root', type: '2', link: '/etc' }),
  native('a root that is a file', 'bad-parent', yaml, { name: 'root' }),
  native('a hard link to package.yaml', 'hardlink-target', yaml, { name: 'root/a', type: '1', link: 'package.yaml' }),
  native('a hard link without root/', 'hardlink-target', yaml, { name: 'root/a' }, { name: 'root/b', type: '1', link: 'a' }),
  native('a file beneath a symlink', 'beneath-symlink', yaml, { name: 'root/d', type: '2', link: '/etc' }, { name: 'root/d/a' }),
  native('a device', 'special-file', yaml, { name: 'root/null', type: '3' }),
  native('a file twice', 'duplicate', yaml, { name: 'root/a' }, { name: 'root/./a' }),
]
