/** Archives as they should be: every dialect reads to the entries that were meant, however the bytes are cut. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type TarEntry, tarReader } from '../../src/format/tar.ts'
import { makeTar, paxHeader, type TarSpec, tarEntry } from '../helpers/pack.ts'

type Seen = Partial<TarEntry> & { body: string }

function read(bytes: Uint8Array, step: number = bytes.length): Seen[] {
  const seen: (TarEntry & { body: string; closed: boolean })[] = []
  const reader = tarReader('test.tar', {
    entry: (header) => void seen.push({ ...header, body: '', closed: false }),
    data: (piece) => {
      const last = seen.at(-1)
      assert.ok(last && !last.closed)
      last.body += Buffer.from(piece).toString('latin1')
    },
    close: () => {
      const last = seen.at(-1)
      assert.ok(last && !last.closed)
      last.closed = true
    },
  })
  for (let at = 0; at < bytes.length; at += step) reader.push(bytes.subarray(at, at + step))
  reader.end()
  assert.ok(seen.every((entry) => entry.closed))
  return seen
}

/** Reads whole, byte by byte and in two odd steps; all must agree. */
function readAnyway(entries: readonly (TarSpec | Uint8Array)[], end?: Uint8Array): Seen[] {
  const bytes = makeTar(entries, end)
  const whole = read(bytes)
  for (const step of [1, 7, 513]) assert.deepEqual(read(bytes, step), whole)
  return whole
}

function one(entries: readonly (TarSpec | Uint8Array)[]): Seen {
  const seen = readAnyway(entries)
  assert.equal(seen.length, 1)
  return seen[0] as Seen
}

test('a plain file has all its metadata and its bytes', () => {
  const entry = one([{ name: './a', data: 'hello', mode: 0o104755, uid: 33, gid: 42, mtime: 5 }])
  assert.deepEqual(entry, {
    path: './a',
    type: 'file',
    mode: 0o4755,
    uid: 33,
    gid: 42,
    mtime: 5,
    size: 5,
    linkname: '',
    major: 0,
    minor: 0,
    xattrs: [],
    body: 'hello',
    closed: true,
  })
})

test('bodies of every length around a block come out whole', () => {
  for (const length of [0, 1, 511, 512, 513, 1024, 1025]) {
    const [first, second] = readAnyway([
      { name: 'a', data: 'x'.repeat(length) },
      { name: 'b', data: 'end' },
    ])
    assert.equal(first?.body.length, length)
    assert.equal(second?.body, 'end')
  }
})

test('types are told by their flags', () => {
  const flags: [string, string][] = [
    ['0', 'file'],
    ['\0', 'file'],
    ['7', 'file'],
    ['1', 'hardlink'],
    ['2', 'symlink'],
    ['3', 'char'],
    ['4', 'block'],
    ['5', 'dir'],
    ['6', 'fifo'],
  ]
  for (const [type, meant] of flags) assert.equal(one([{ name: 'a', type, link: 'b' }]).type, meant)
})

test('an old directory is a name with a slash and the flag NUL', () => {
  assert.equal(one([{ name: 'a/', type: '\0', magic: 'v7' }]).type, 'dir')
})

test('only links have a link name and only devices have numbers', () => {
  const patch = (header: Buffer): void => void header.write('0000012\0', 329, 'latin1')
  assert.equal(one([{ name: 'a', link: 'b' }]).linkname, '')
  assert.equal(one([{ name: 'a', type: '2', link: 'b/c' }]).linkname, 'b/c')
  assert.equal(one([{ name: 'a', patch }]).major, 0)
  assert.equal(one([{ name: 'a', type: '3', patch }]).major, 10)
})

test('the prefix belongs to the name only under the POSIX magic', () => {
  assert.equal(one([{ name: 'a', prefix: 'p/q', magic: 'ustar' }]).path, 'p/q/a')
  assert.equal(one([{ name: 'a', prefix: 'p/q', magic: 'gnu' }]).path, 'a')
  assert.equal(one([{ name: 'a', prefix: '', magic: 'ustar' }]).path, 'a')
})

test('a name may fill its field without a NUL', () => {
  assert.equal(one([{ name: 'n'.repeat(100) }]).path, 'n'.repeat(100))
})

test('numbers may have leading blanks, no end, nothing at all, or be base-256', () => {
  const put = (at: number, hex: string) => (header: Buffer) => void header.write(hex, at, 'hex')
  assert.equal(one([{ name: 'a', patch: put(108, '2020373700202000') }]).uid, 63)
  assert.equal(one([{ name: 'a', patch: put(108, '3737373737373737') }]).uid, 0o77777777)
  assert.equal(one([{ name: 'a', patch: put(108, '0000000000000000') }]).uid, 0)
  assert.equal(one([{ name: 'a', patch: put(108, '80000000fffffffe') }]).uid, 0xfffffffe)
  assert.equal(one([{ name: 'a', patch: put(136, '800000000000000100000000') }]).mtime, 2 ** 32)
  assert.equal(one([{ name: 'a', patch: put(136, 'ffffffffffffffffffffffff') }]).mtime, -1)
})

test('a checksum over signed bytes is taken too', () => {
  const signed = (header: Buffer): void => {
    const high = header.subarray(0, 148).filter((byte) => byte > 127).length
    const sum = Number.parseInt(header.toString('latin1', 148, 154), 8) - 256 * high
    header.write(sum.toString(8).padStart(6, '0'), 148, 'latin1')
  }
  assert.equal(one([{ name: 'caf\xe9', damage: signed }]).path, 'caf\xe9')
})

test('GNU long names and links apply to the next entry only, in either order', () => {
  const long = 'd/'.repeat(200)
  const name = tarEntry({ name: '././@LongLink', type: 'L', data: `${long}name\0` })
  const link = tarEntry({ name: '././@LongLink', type: 'K', data: `${long}link\0` })
  const next: TarSpec = { name: 'short', type: '2', link: 'short' }
  for (const order of [
    [name, link],
    [link, name],
  ]) {
    const [first, second] = readAnyway([...order, next, next])
    assert.deepEqual([first?.path, first?.linkname], [`${long}name`, `${long}link`])
    assert.deepEqual([second?.path, second?.linkname], ['short', 'short'])
  }
})

test('pax records override the header, for one entry only', () => {
  const pax = { path: 'long/\xff', size: '3', uid: '4000000', gid: '7', mtime: '12.9', comment: 'x=y\nz' }
  const [first, second] = readAnyway([
    { name: 'a', data: 'abc', size: 0, pax, magic: 'ustar' },
    { name: 'b', uid: 1 },
  ])
  assert.deepEqual(
    [first?.path, first?.body, first?.uid, first?.gid, first?.mtime],
    ['long/\xff', 'abc', 4_000_000, 7, 12],
  )
  assert.deepEqual([second?.path, second?.uid, second?.mtime], ['b', 1, 1_700_000_000])
})

test('pax times are rounded towards the past', () => {
  const seconds = (mtime: string) => one([{ name: 'a', pax: { mtime } }]).mtime
  assert.deepEqual(['-0.5', '-1', '-1.000', '-1.001', '0.999', '7.'].map(seconds), [-1, -1, -1, -2, 0, 7])
})

test('a pax size over a zero header hides no entry in its data', () => {
  const hidden = makeTar([{ name: 'hidden', data: 'x' }])
  const seen = readAnyway([
    { name: 'a', data: hidden, size: 0, pax: { size: String(hidden.length) } },
    { name: 'b' },
  ])
  assert.deepEqual(
    seen.map(({ path }) => path),
    ['a', 'b'],
  )
  assert.equal(seen[0]?.body.length, hidden.length)
})

test('a global pax header gives defaults that an entry may override', () => {
  const seen = readAnyway([
    paxHeader({ comment: 'commit', uid: '5', mtime: '9' }, 'g'),
    { name: 'a', uid: 1 },
    { name: 'b', uid: 1, pax: { uid: '6' } },
  ])
  assert.deepEqual(
    seen.map(({ uid, mtime }) => [uid, mtime]),
    [
      [5, 9],
      [6, 9],
    ],
  )
})

test('extended attributes are byte strings sorted by name', () => {
  const capability = '\x01\0\0\x02\0\x04\0\0\0\0\0\0\n=\xff\0\0\0\0\0'
  const pax = {
    'SCHILY.xattr.user.z': '',
    'SCHILY.xattr.security.capability': capability,
    'SCHILY.xattr.user.a%3Db%25': 'v',
  }
  assert.deepEqual(one([{ name: 'a', pax }]).xattrs, [
    ['security.capability', capability],
    ['user.a=b%', 'v'],
    ['user.z', ''],
  ])
})

test('zeros may follow the end, also in part of a block', () => {
  for (const length of [1024, 1025, 10_240]) readAnyway([{ name: 'a' }], Buffer.alloc(length))
  assert.deepEqual(readAnyway([]), [])
})
