import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { PACKAGE_FIELDS, packageOfStanza } from '../../src/pkg/deb-package.ts'
import { itemsOf, printExpr } from '../../src/pkg/dep-expr.ts'

const stanza = {
  Package: 'nginx-light',
  Version: '1.22.1-9',
  Architecture: 'amd64',
  Filename: 'pool/main/n/nginx/nginx-light_1.22.1-9_amd64.deb',
  Size: '12345',
  SHA256: 'ab',
  MD5sum: 'cd',
  'Installed-Size': '40',
  'Pre-Depends': 'init-system-helpers (>= 1.54~)',
  Depends: 'libc6 (>= 2.34), a | b',
  Recommends: 'c',
  Conflicts: 'nginx-full',
  Breaks: 'old (<< 2)',
  Provides: 'httpd, nginx (= 1.22.1)',
  'Multi-Arch': 'foreign',
  Essential: 'yes',
  Priority: 'important',
  Description: 'small server\n more text',
}

function read(fields: { readonly [field: string]: string | undefined }): ReturnType<typeof packageOfStanza> {
  const asked = (field: string): string | undefined => {
    assert.ok((PACKAGE_FIELDS as readonly string[]).includes(field), `${field} is not in PACKAGE_FIELDS`)
    return fields[field]
  }
  return packageOfStanza({ get: asked }, 'debian', 'bookworm')
}

test('a stanza becomes a package', () => {
  const { needs, before, recommends, ...rest } = read(stanza)
  assert.deepEqual(itemsOf(needs).map(printExpr), [
    'init-system-helpers (>= 1.54~)',
    'libc6 (>= 2.34)',
    'a | b',
    '!nginx-full',
    '!old (<< 2)',
  ])
  assert.ok(before && itemsOf(before).length === 1 && itemsOf(needs)[0] === itemsOf(before)[0])
  assert.equal(printExpr(recommends), 'c')
  assert.deepEqual(rest, {
    scheme: 'deb',
    name: 'nginx-light',
    version: '1.22.1-9',
    arch: 'amd64',
    repo: 'debian',
    slot: '0',
    subslot: '0',
    use: [],
    iuse: [],
    buildId: 0,
    buildTime: 0,
    provides: [{ name: 'httpd' }, { name: 'nginx', version: '1.22.1' }],
    essential: true,
    rank: 1,
    multiArch: 'foreign',
    installedSize: 40960,
    summary: 'small server',
    file: {
      path: stanza.Filename,
      origin: 'bookworm',
      size: 12345,
      sums: { sha256: 'ab' },
    },
  })
})

test('what a stanza leaves out has its usual value', () => {
  const { Package, Version, Architecture, Filename, Size } = stanza
  const pkg = read({ Package, Version, Architecture, Filename, Size })
  assert.deepEqual(itemsOf(pkg.needs), [])
  assert.equal(pkg.multiArch, 'no')
  assert.equal(pkg.essential, false)
  assert.equal(pkg.installedSize, 0)
  assert.equal(pkg.rank, 3)
  assert.deepEqual(pkg.file.sums, {})
})

test('a stanza that cannot be used is refused and named', () => {
  for (const [field, value] of [
    ['Package', undefined],
    ['Package', '../x'],
    ['Version', 'a b'],
    ['Architecture', ''],
    ['Filename', undefined],
    ['Size', '12x'],
    ['Size', '-1'],
    ['Installed-Size', 'x'],
  ] as const)
    assert.throws(
      () => read({ ...stanza, [field]: value }),
      (error) => isStage5Error(error, 'S5_INDEX_REFUSED') && error.data['reason'] === 'bad-metadata',
      field,
    )
})

test('a broken relation shows when it is read, not before', () => {
  const pkg = read({ ...stanza, Depends: 'a b c' })
  assert.throws(
    () => pkg.needs,
    (error) => isStage5Error(error, 'S5_ATOM_SYNTAX'),
  )
})
