/** Hostile and odd tar archives: what each is about, its bytes, and the word it is refused with or the names it has. */
import type { Refusal } from '../../src/base/errors.ts'
import { makeTar, paxHeader, paxRecord, type TarSpec, tarEntry } from '../helpers/pack.ts'

export interface TarCase {
  readonly name: string
  readonly bytes: Buffer
  /** The word of the refusal, or the paths of the tree. */
  readonly expect: Refusal | readonly string[]
}

type Part = TarSpec | Uint8Array

const file: TarSpec = { name: 'a', data: 'alpha' }

function bad(name: string, expect: Refusal, ...entries: readonly Part[]): TarCase {
  return { name, expect, bytes: makeTar(entries) }
}

function good(name: string, paths: readonly string[], ...entries: readonly Part[]): TarCase {
  return { name, expect: paths, bytes: makeTar(entries) }
}

function longName(name: string, type = 'L'): Buffer {
  return tarEntry({ name: '././@LongLink', type, data: `${name}\0` })
}

function rawPax(data: string, type = 'x'): Buffer {
  return tarEntry({ name: 'PaxHeaders/x', type, data, magic: 'ustar' })
}

function link(name: string, target: string, type = '1'): TarSpec {
  return { name, type, link: target }
}

const whole = makeTar([file, { name: 'b', data: 'beta' }])

const truncation: TarCase[] = [
  ['cut in the first header', 100],
  ['cut in a body', 514],
  ['cut in the padding', 700],
  ['cut in a later header', 1100],
  ['cut before the end-of-archive blocks', 2048],
  ['cut after one end-of-archive block', 2560],
  ['nothing at all', 0],
].map(([name, length]) => ({
  name: name as string,
  bytes: whole.subarray(0, length as number),
  expect: 'truncated',
}))

const strangers: TarCase[] = [
  { name: 'an HTML page', expect: 'magic', bytes: Buffer.alloc(1024, '<!doctype html><p>Not Found</p>\n') },
  { name: 'a short HTML page', expect: 'truncated', bytes: Buffer.from('<html>404</html>') },
  bad('an unknown magic', 'bad-header', { ...file, patch: (header) => void header.write('other!', 257) }),
]

const traversal: TarCase[] = [
  ...['../a', 'a/../../b', 'a/..', '..', './../a', 'a/../b'].map((name) =>
    bad(`a name with ".." (${name})`, 'traversal', { name }),
  ),
  bad('".." in the prefix field', 'traversal', { name: 'a', prefix: '..', magic: 'ustar' }),
  bad('".." across prefix and name', 'traversal', { name: './a', prefix: 'b/..', magic: 'ustar' }),
  bad('".." in a pax path', 'traversal', { name: 'a', pax: { path: '../a' } }),
  bad('".." in a GNU long name', 'traversal', longName('../a'), file),
  bad('an absolute name', 'absolute-path', { name: '/etc/passwd' }),
  bad('an absolute name of two slashes', 'absolute-path', { name: '//etc/passwd' }),
  bad('an absolute pax path', 'absolute-path', { name: 'a', pax: { path: '/a' } }),
  bad('an absolute GNU long name', 'absolute-path', longName('/a'), file),
  bad('an absolute prefix', 'absolute-path', { name: 'a', prefix: '/b', magic: 'ustar' }),
]

const parents: TarCase[] = [
  bad('a file beneath a symlink', 'beneath-symlink', link('d', '/etc', '2'), { name: 'd/a' }),
  bad('a file deep beneath a symlink', 'beneath-symlink', link('d', 'e', '2'), { name: 'd/x/y/a' }),
  bad('a directory beneath a symlink', 'beneath-symlink', link('d', '/etc', '2'), { name: 'd/a/' }),
  bad('a symlink where entries are beneath already', 'beneath-symlink', { name: 'd/a' }, link('d', '/etc', '2')),
  bad('a directory replaced by a symlink', 'duplicate', { name: 'd/' }, link('d', '/etc', '2'), { name: 'd/a' }),
  bad('a symlink replaced by a directory', 'duplicate', link('d', '/etc', '2'), { name: 'd/' }),
  bad('a file beneath a file', 'bad-parent', file, { name: 'a/b' }),
  bad('a file where entries are beneath already', 'bad-parent', { name: 'd/a' }, { name: 'd' }),
  bad('a hard link beneath a symlink', 'beneath-symlink', file, link('d', '/etc', '2'), link('d/b', 'a')),
  bad('a root that is a file', 'bad-parent', { name: '.' }),
  bad('a root that is a symlink', 'bad-parent', link('.', '/etc', '2')),
  good('a directory that is told after its files', ['', 'd', 'd/a'], { name: 'd/a' }, { name: 'd/', mode: 0o700 }),
]

const duplicates: TarCase[] = [
  bad('a file twice', 'duplicate', file, file),
  bad('a file twice, once with //', 'duplicate', { name: 'd/a' }, { name: 'd//a' }),
  bad('a file twice, once with /./', 'duplicate', { name: 'd/a' }, { name: './d/./a' }),
  bad('a directory twice with other modes', 'duplicate', { name: 'd/', mode: 0o755 }, { name: 'd/', mode: 0o777 }),
  bad('a directory and a file', 'duplicate', { name: 'd/' }, { name: 'd' }),
  good('the same directory twice', ['', 'd'], { name: 'd/' }, { name: './d/./' }),
]

const links: TarCase[] = [
  bad('a hard link to nothing', 'hardlink-target', link('b', 'a')),
  bad('a hard link to a later file', 'hardlink-target', link('b', 'a'), file),
  bad('a hard link to itself', 'hardlink-target', link('b', 'b')),
  bad('a hard link to a directory', 'hardlink-target', { name: 'd/' }, link('b', 'd')),
  bad('a hard link to an implied directory', 'hardlink-target', { name: 'd/a' }, link('b', 'd')),
  bad('a hard link out of the tree', 'hardlink-target', link('b', '../a')),
  bad('a hard link to an absolute path', 'hardlink-target', file, link('b', '/a')),
  bad('a hard link through a symlink', 'hardlink-target', { name: 'd/a' }, link('s', 'd', '2'), link('b', 's/a')),
  bad('a hard link to nowhere', 'hardlink-target', link('b', '')),
  bad('a hard link to a file with a slash', 'hardlink-target', file, link('b', 'a/')),
  bad('a hard link with data', 'bad-size', file, { name: 'b', type: '1', link: 'a', data: 'x' }),
  bad('a symlink with data', 'bad-size', { name: 'b', type: '2', link: 'a', data: 'x' }),
  bad('a directory with data', 'bad-size', { name: 'd/', data: 'x' }),
  bad('a symlink to nowhere', 'bad-name', link('s', '', '2')),
  bad('a symlink target of 4,096 bytes', 'too-long', longName('t'.repeat(4096), 'K'), link('s', 't', '2')),
  good('a hard link to an earlier file', ['', 'a', 'b'], file, link('./b', './a')),
  good('a hard link to an earlier symlink', ['', 'b', 's'], link('s', '/x', '2'), link('b', 's')),
  good('a symlink out of the tree', ['', 's'], link('s', '../../../etc/passwd', '2')),
]

const types: TarCase[] = [
  bad('a character device', 'special-file', { name: 'a', type: '3' }),
  bad('a block device', 'special-file', { name: 'a', type: '4' }),
  bad('a FIFO', 'special-file', { name: 'a', type: '6' }),
  bad('a 0/0 whiteout', 'special-file', { name: '.wh.a', type: '3' }),
  ...['S', 'V', 'M', 'D', 'N', 'A', '8', 'Z', '\xff'].map((type) =>
    bad(`type ${JSON.stringify(type)}`, 'bad-type', { name: 'a', type }),
  ),
  ...['GNU.sparse.major', 'GNU.sparse.map', 'SCHILY.realsize', 'SUN.holesdata'].map((key) =>
    bad(`a sparse file told by ${key}`, 'bad-type', { name: 'a', pax: { [key]: '1' } }),
  ),
  bad('a regular file with a slash behind its name', 'bad-name', { name: 'a/', type: '0' }),
  bad('a symlink with a slash behind its name', 'bad-name', link('s/', 'x', '2')),
  bad('a hard link with a slash behind its name', 'bad-name', file, link('b/', 'a')),
]

/** 2^62 and -1 in base-256. */
const HUGE = '\x80\0\0\0\x40\0\0\0\0\0\0\0'
const NEGATIVE = '\xff'.repeat(12)

const sizes: TarCase[] = [
  bad('a size of 2^62', 'bad-size', { name: 'a', size: HUGE }),
  bad('a negative size', 'bad-size', { name: 'a', size: NEGATIVE }),
  bad('a size in words', 'bad-size', { name: 'a', size: 'twelve bytes' }),
  bad('a size of 8 GiB - 1', 'too-big', { name: 'a', size: '77777777777\0' }),
  bad('a size of 8 GiB - 1 in a pax header', 'too-big', { name: 'a', pax: { size: '8589934591' } }),
  bad('a size with noise behind it', 'bad-size', { name: 'a', size: '0000001\0junk' }),
  bad('a base-256 size that is cut short', 'bad-size', { name: 'a', size: '\x81\0\0\0\0\0\0\0\0\0\0\0' }),
  bad('a user id in words', 'bad-header', { name: 'a', patch: (header) => void header.write('nobody!', 108) }),
  bad('a user id of 2^32 - 1', 'bad-header', { name: 'a', patch: (header) => void header.write('80000000ffffffff', 108, 'hex') }),
  bad('a negative group id', 'bad-header', { name: 'a', patch: (header) => void header.fill(0xff, 116, 124) }),
]

const damage: TarCase[] = [
  bad('a wrong checksum', 'bad-header', file, { name: 'b', damage: (header) => void header.write('x', 0) }),
  bad('noise between entries', 'bad-header', file, Buffer.alloc(512, 'noise'), { name: 'b' }),
  bad('a lone zero block between entries', 'trailing-data', file, Buffer.alloc(512), { name: 'b' }),
  { name: 'a second archive behind the end', expect: 'trailing-data', bytes: Buffer.concat([whole, whole]) },
  { name: 'text behind the end', expect: 'trailing-data', bytes: Buffer.concat([whole, Buffer.from('hello')]) },
  {
    name: 'text in the last of many zero blocks',
    expect: 'trailing-data',
    bytes: Buffer.concat([whole, Buffer.alloc(10_000), Buffer.from('hello')]),
  },
]

const pax: TarCase[] = [
  ...[
    ['a length too small', '1 path=a\n'],
    ['a length of zero', '0 path=a\n'],
    ['a length too large', '99 path=a\n'],
    ['a length one too large', '11 path=a\n'],
    ['a length one too small', '8 path=a\n'],
    ['a negative length', '-10 path=a\n'],
    ['a length in words', 'ten path=a\n'],
    ['no length', 'path=a\n'],
    ['a length of many digits', '000000000010 path=a\n'],
    ['no =', '9 path a\n'],
    ['no key', '6 =ab\n'],
    ['no newline', '10 path=ab'],
    ['zeros behind a record', `${paxRecord('path', 'a')}\0\0`],
    ['a NUL in path', paxRecord('path', 'a\0b')],
    ['a NUL in linkpath', paxRecord('linkpath', 'a\0b')],
    ['an empty path', paxRecord('path', '')],
    ['an empty linkpath', paxRecord('linkpath', '')],
    ['path twice', paxRecord('path', 'a') + paxRecord('path', 'b')],
    ['a size in words', paxRecord('size', 'five')],
    ['a negative size', paxRecord('size', '-1')],
    ['a size with a fraction', paxRecord('size', '1.5')],
    ['a size in hexadecimal', paxRecord('size', '0x10')],
    ['an empty size', paxRecord('size', '')],
    ['a size of 2^64', paxRecord('size', '18446744073709551616')],
    ['a negative uid', paxRecord('uid', '-1')],
    ['a gid in words', paxRecord('gid', 'staff')],
    ['an mtime in words', paxRecord('mtime', 'today')],
    ['an mtime with two points', paxRecord('mtime', '1.2.3')],
    ['an attribute without a name', paxRecord('SCHILY.xattr.', 'v')],
    ['an attribute with a NUL in its name', paxRecord('SCHILY.xattr.user.a\0b', 'v')],
    [
      'an attribute twice in two spellings',
      paxRecord('SCHILY.xattr.user.%25', 'v') + paxRecord('SCHILY.xattr.user.%', 'v'),
    ],
  ].map(([name, data]) => bad(`pax: ${name}`, 'bad-pax', rawPax(data as string), { name: 'a' })),
  bad('pax: a uid of 2^32', 'bad-header', { name: 'a', pax: { uid: '4294967296' } }),
  bad('pax: another size than the header', 'bad-pax', { name: 'a', data: 'alpha', pax: { size: '512' } }),
  bad('pax: a size of zero over a body', 'bad-pax', { name: 'a', data: 'alpha', pax: { size: '0' } }),
  bad('pax: a global path', 'bad-pax', paxHeader({ path: 'b' }, 'g'), file),
  bad('pax: a global link', 'bad-pax', paxHeader({ linkpath: 'b' }, 'g'), file),
  bad('pax: a global size', 'bad-pax', paxHeader({ size: '0' }, 'g'), file),
  bad('pax: a global attribute', 'bad-pax', paxHeader({ 'SCHILY.xattr.user.a': 'v' }, 'g'), file),
  bad('pax: a header that no entry follows', 'bad-pax', paxHeader({ path: 'b' })),
  bad('pax: two headers for one entry', 'bad-pax', paxHeader({ path: 'b' }), paxHeader({ path: 'c' }), file),
  bad('pax: a global header between header and entry', 'bad-pax', paxHeader({ path: 'b' }), paxHeader({ comment: 'b' }, 'g'), file),
  bad('pax: a header of 1 GiB', 'too-long', tarEntry({ name: 'x', type: 'x', size: 2 ** 30 })),
  bad('pax: a header of 1 MiB and a byte', 'too-long', tarEntry({ name: 'x', type: 'x', size: 2 ** 20 + 1 })),
  bad('pax: a size on a header of a header', 'bad-pax', paxHeader({ size: '1024' }), paxHeader({ path: 'c' }), file),
  bad('pax: an attribute of 64 KiB and a byte', 'too-big', { name: 'a', pax: { 'SCHILY.xattr.user.a': 'v'.repeat(65_537) } }),
  bad('pax: an attribute with a name of 256 bytes', 'too-long', { name: 'a', pax: { [`SCHILY.xattr.${'n'.repeat(256)}`]: 'v' } }),
  bad('pax and GNU name one entry', 'bad-pax', longName('b'), { name: 'a', pax: { path: 'c' } }),
  bad('GNU: a long name that no entry follows', 'bad-pax', longName('b')),
  bad('GNU: two long names', 'bad-pax', longName('b'), longName('c'), file),
  bad('GNU: an empty long name', 'bad-name', tarEntry({ name: 'x', type: 'L', data: '\0' }), file),
  bad('GNU: a long name of no bytes', 'bad-name', tarEntry({ name: 'x', type: 'L' }), file),
  bad('GNU: a long name with a NUL inside', 'bad-name', longName('a\0b'), file),
  bad('GNU: a long name of 1 GiB', 'too-long', tarEntry({ name: 'x', type: 'L', size: 2 ** 30 })),
  good('pax: a size over a zero header whose data looks like headers', ['', 'a', 'b'],
    { name: 'a', data: whole, size: 0, pax: { size: String(whole.length) } }, { name: 'b' }),
]

const deep = 'd/'.repeat(1025)

const names: TarCase[] = [
  bad('an empty name', 'bad-name', { name: '' }),
  bad('a component of 256 bytes', 'too-long', longName('n'.repeat(256)), file),
  bad('a path of 5,000 bytes', 'too-long', longName(`${'nnnn/'.repeat(999)}nnnnn`), file),
  bad('a path 20,000 deep', 'too-long', longName(`${'d/'.repeat(19_999)}d`), file),
  bad('a path 1,025 deep', 'too-long', { name: 'd', type: '5', pax: { path: deep } }),
  good('a component of 255 bytes', ['', 'n'.repeat(255)], longName('n'.repeat(255)), file),
  good(
    'names that are only odd',
    ['', '\x01\n\x1b[31m', '-rf', '.wh.a', 'C:\\x', '\\..\\a', 'a\u00e4', 'caf\xc3\xa9', 'cafe\xcc\x81', '...'].sort(),
    ...['\x01\n\x1b[31m', '-rf', '.wh.a', 'C:\\x', '\\..\\a', 'a\u00e4', 'caf\xc3\xa9', 'cafe\xcc\x81', '...'].map((name) => ({ name })),
  ),
  good('names that differ in case only', ['', 'A', 'a'], { name: 'a' }, { name: 'A' }),
]

export const TAR_CASES: readonly TarCase[] = [
  ...truncation,
  ...strangers,
  ...traversal,
  ...parents,
  ...duplicates,
  ...links,
  ...types,
  ...sizes,
  ...damage,
  ...pax,
  ...names,
]
