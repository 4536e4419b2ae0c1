import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FileSpec } from '../../src/resolve/profile.ts'
import { capabilityValue } from '../../src/stage/capabilities.ts'
import { files } from '../../src/stage/files.ts'
import { run } from './scene.ts'

function spec(path: string, more: Partial<FileSpec> = {}): FileSpec {
  return {
    path,
    type: 'file',
    content: '',
    target: '',
    mode: 0o644,
    owner: 'root',
    group: 'root',
    major: 0,
    minor: 0,
    capabilities: '',
    ...more,
  }
}

test('the files stage writes bytes, owners by name or number, and capabilities', async () => {
  const { inode, contents, entry } = await run(
    files,
    { 'etc/passwd': 'root:x:0:0::/:\nweb:x:80:81::/:\n', 'etc/group': 'log:x:70:\n' },
    {
      files: [
        spec('/opt/a', { content: '\xff\x00', owner: 'web', group: 'log', capabilities: 'cap_net_raw+p' }),
        spec('/opt/b', { owner: '12', group: '13' }),
      ],
    },
  )
  const a = inode('opt/a')
  assert.equal(a?.type, 'file')
  assert.deepEqual([a?.uid, a?.gid], [80, 70])
  assert.deepEqual([...(a?.type === 'file' ? await contents.read(a.content) : [])], [255, 0])
  assert.deepEqual(
    a?.xattrs?.map(([name, value]) => [name, value.length]),
    [['security.capability', 20]],
  )
  assert.deepEqual([inode('opt/b')?.uid, inode('opt/b')?.gid], [12, 13])
  assert.equal(entry('opt')?.owner, 'stage:files')
})

test('the files stage makes links, pipes and devices', async () => {
  const { inode } = await run(
    files,
    {},
    {
      files: [
        spec('/dev/tty9', { type: 'char', major: 4, minor: 9, mode: 0o620 }),
        spec('/dev/sda', { type: 'block', major: 8, minor: 0, mode: 0o660 }),
        spec('/run/pipe', { type: 'fifo', mode: 0o600 }),
        spec('/etc/link', { type: 'symlink', target: '../\xff' }),
      ],
    },
  )
  const tty = inode('dev/tty9')
  assert.deepEqual(tty?.type === 'char' && [tty.major, tty.minor, tty.mode], [4, 9, 0o620])
  assert.equal(inode('dev/sda')?.type, 'block')
  assert.equal(inode('run/pipe')?.type, 'fifo')
  const link = inode('etc/link')
  assert.equal(link?.type === 'symlink' && link.target, '../\xff')
})

test('a file replaces the file of a package, and a link that stood there, not its target', async () => {
  const { text, inode } = await run(
    files,
    { 'etc/motd': 'old', 'etc/conf': { link: '../usr/conf' }, 'usr/conf': 'packaged' },
    { files: [spec('/etc/motd', { content: 'new' }), spec('/etc/conf', { content: 'mine' })] },
  )
  assert.equal(await text('etc/motd'), 'new')
  assert.equal(await text('usr/conf'), 'packaged')
  assert.equal(inode('etc/conf')?.type, 'file')
})

test('paths are followed through linked directories, also those of the profile itself', async () => {
  const { paths, inode } = await run(
    files,
    { lib: { link: 'usr/lib' }, 'usr/lib': {} },
    {
      files: [
        spec('/srv/real', { type: 'dir' }),
        spec('/srv/alias', { type: 'symlink', target: 'real' }),
        spec('/srv/alias/x'),
        spec('/lib/y'),
        spec('/lib', { type: 'dir', mode: 0o700 }),
      ],
    },
  )
  assert.deepEqual(paths(), [
    '',
    'lib',
    'srv',
    'srv/alias',
    'srv/real',
    'srv/real/x',
    'usr',
    'usr/lib',
    'usr/lib/y',
  ])
  assert.equal(inode('lib')?.type, 'symlink')
  assert.equal(inode('usr/lib')?.mode, 0o700)
})

test('the files stage refuses unknown owners and a file where a directory with files is', async () => {
  await assert.rejects(run(files, {}, { files: [spec('/a', { owner: 'rot' })] }), {
    code: 'S5_STAGE_INVALID',
    message: /unknown user "rot", did you mean root/,
  })
  await assert.rejects(run(files, { 'etc/x/y': '' }, { files: [spec('/etc/x')] }), {
    code: 'S5_STAGE_INVALID',
    message: 'files: cannot put a file at /etc/x: there is a directory of pkg_1 with files in it',
  })
  await assert.rejects(run(files, {}, { files: [spec('/a'), spec('/a/b/c')] }), {
    code: 'S5_STAGE_INVALID',
    message: 'files: cannot put a file at /a/b/c: /a (stage:files) is no directory',
  })
  await assert.rejects(run(files, { a: 'x' }, { files: [spec('/a/b')] }), { code: 'S5_STAGE_INVALID' })
})

// Frozen from setcap(8) and getfattr(1) of libcap 2.66: `setcap TEXT f && getfattr -e hex -n security.capability f`
for (const [text, hex] of [
  ['cap_net_bind_service=ep', '0100000200040000000000000000000000000000'],
  ['cap_net_raw+p', '0000000200200000000000000000000000000000'],
  ['cap_setuid,cap_setgid=ei', '0100000200000000c00000000000000000000000'],
  ['cap_chown,cap_setuid=ei cap_chown=ep cap_setuid-ei', '0100000201000000000000000000000000000000'],
  ['all=ep', '01000002ffffffff00000000ff01000000000000'],
  ['cap_bpf,cap_perfmon=ep', '010000020000000000000000c000000000000000'],
  ['=p cap_chown-p', '00000002feffffff00000000ff01000000000000'],
] as const)
  test(`capabilityValue of ${text} is what setcap writes`, () => {
    assert.equal(Buffer.from(capabilityValue(text), 'latin1').toString('hex'), hex)
  })

for (const [text, why] of [
  ['', /expected a clause/],
  ['cap_net_raw', /expected names and =, \+ or -/],
  ['cap_net_ray=ep', /unknown capability "cap_net_ray"/],
  ['+ep', /only = may stand without names/],
  ['cap_net_raw=ep cap_chown=p', /effective must be empty or equal/],
] as const)
  test(`capabilityValue refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => capabilityValue(text), { code: 'S5_STAGE_INVALID', message: why })
  })
