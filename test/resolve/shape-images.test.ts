/** Images and boot tests of a profile: an option that would be ignored is an error at its line. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { loadProfile } from '../../src/resolve/load-profile.ts'
import type { Profile } from '../../src/resolve/profile.ts'

async function load(text: string): Promise<Profile> {
  const bytes = new TextEncoder().encode(`stage5: 1\n${text}`)
  const read = async (path: string) => (path === 'profiles/x.yaml' ? bytes : undefined)
  return (await loadProfile('x', read, async () => undefined)).profile
}

async function problem(text: string): Promise<string> {
  const error = await load(text).then(
    () => undefined,
    (found: unknown) => found,
  )
  assert.ok(isStage5Error(error, 'S5_PROFILE_INVALID'), String(error))
  return error.message
}

test('each format takes its own options', async () => {
  const { images } = await load(
    'images: [{format: squashfs, level: 3, base: true}, {format: erofs, base: false}, tar,' +
      ' {format: qcow2, esp: 64M}, {format: vhd, esp: 64M, firmware: uefi},' +
      ' {format: sysext, type: erofs, os: _any, over: web}]',
  )
  assert.deepEqual(images.slice(3), [
    { format: 'qcow2', options: { esp: 67_108_864 } },
    { format: 'vhd', options: { esp: 67_108_864, firmware: 'uefi' } },
    { format: 'sysext', options: { type: 'erofs', os: '_any', over: 'web' } },
  ])
})

const WRONG: readonly (readonly [text: string, message: RegExp])[] = [
  [
    'images:\n  - squashfs\n  - format: tar\n    level: 3',
    /^profiles\/x\.yaml:5:5: the format tar has no option "level": it takes none; level belongs to squashfs, sysext, confext$/,
  ],
  [
    'images: [{format: squashfs, firmware: bios}]',
    /x\.yaml:2:29: the format squashfs has no option "firmware": it takes base, codec, .*; firmware belongs to disk, qcow2, /,
  ],
  ['images: [{format: erofs, level: 9}]', /erofs has no option "level": it takes base;/],
  ['images: [{format: verity, root: 1M}]', /verity has no option "root"/],
  [
    'images: [{format: squashfs, codec: gzip, level: 12}]',
    /expected a level from 1 to 9 for gzip, found number 12/,
  ],
  [
    'images: [{format: squashfs, base: true}, {format: erofs, base: true}]',
    /expected one image with base: true, found squashfs and erofs/,
  ],
  [
    'images: [{format: disk, esp: 64M}, {format: qcow2, esp: 80M}]',
    /disk and qcow2 are formats of one disk: expected one esp for both, found 67108864 and 83886080/,
  ],
  ['images: [{format: sysext, os: _any, osVersion: 12}]', /for any ID has no version/],
]

for (const [text, message] of WRONG)
  test(`refused: ${text.replaceAll('\n', ' ')}`, async () => assert.match(await problem(text), message))

test('a boot test has defaults, and says what it checks', async () => {
  const { tests } = await load(
    'tests:\n  - boots\n  - name: serves\n    images: [disk, kernel]\n    firmware: uefi\n    memory: 256M\n    timeout: 2m\n' +
      '    http: [{port: 80, contains: hi}]\n    console: [{run: uname -m, expect: x86_64}]\n',
  )
  const rest = { ready: '', expect: 'pass', reason: '' } as const
  assert.deepEqual(tests, [
    {
      ...rest,
      name: 'boots',
      images: ['kernel'],
      firmware: 'bios',
      memory: 0,
      timeoutSeconds: 0,
      http: [],
      console: [],
    },
    {
      ...rest,
      name: 'serves',
      images: ['disk', 'kernel'],
      firmware: 'uefi',
      memory: 256,
      timeoutSeconds: 120,
      http: [{ port: 80, path: '/', status: 200, contains: 'hi' }],
      console: [{ run: 'uname -m', expect: 'x86_64', status: 0 }],
    },
  ])
})

const WRONG_TESTS: readonly (readonly [text: string, message: RegExp])[] = [
  ['tests: [{name: a, images: [floppy]}]', /expected one of kernel, initrd.*found "floppy"/],
  ['tests: [{name: a, images: []}]', /expected at least one image/],
  ['tests: [{name: a, http: [{port: 0}]}]', /x\.yaml:2:33: /],
  ['tests: [{name: a, http: [{port: 80, path: x}]}]', /a path that begins with \//],
  ['tests: [{name: a, expect: fail, http: [{port: 80}]}]', /cannot be asked/],
  ['tests: [{name: a, reason: damaged}]', /reason belongs to expect: fail/],
  ['tests: [{name: a, memory: 1000}]', /whole mebibytes/],
]

for (const [text, message] of WRONG_TESTS)
  test(`refused: ${text}`, async () => assert.match(await problem(text), message))
