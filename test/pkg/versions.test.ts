import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { isStage5Error } from '../../src/base/errors.ts'
import { compareVersions, passesVersionTest } from '../../src/pkg/compare.ts'
import { compareDebianVersions, isDebVersion, parseDebVersion } from '../../src/pkg/deb-version.ts'
import { compareEbuildVersions, isEbuildVersion } from '../../src/pkg/ebuild-version.ts'
import { compareSemver, isInRange, isSemver, isSemverRange } from '../../src/pkg/semver-version.ts'

const table = JSON.parse(
  readFileSync(new URL('../conformance/deb-versions.json', import.meta.url), 'utf8'),
) as { compare: [string, number, string][]; valid: [string, boolean][] }

test('Debian versions compare as dpkg does', () => {
  for (const [left, order, right] of table.compare) {
    assert.equal(Math.sign(compareDebianVersions(left, right)), order, `${left} ${right}`)
    assert.equal(Math.sign(compareDebianVersions(right, left)), 0 - order, `${right} ${left}`)
  }
})

test('Debian versions are valid where dpkg says so', () => {
  for (const [version, valid] of table.valid) {
    assert.equal(isDebVersion(version), valid, version)
    if (valid) parseDebVersion(version)
    else
      assert.throws(
        () => parseDebVersion(version),
        (error) => isStage5Error(error, 'S5_VERSION_SYNTAX'),
      )
  }
})

test('a Debian version comes apart at the first colon and the last hyphen', () => {
  assert.deepEqual(parseDebVersion('1:2.36-9-1+deb12u10'), {
    epoch: 1,
    upstream: '2.36-9',
    revision: '1+deb12u10',
  })
  assert.deepEqual(parseDebVersion('2:1:0'), { epoch: 2, upstream: '1:0', revision: '' })
})

const debVersion = fc
  .string({ unit: fc.constantFrom(...'0019aZ.+~-:'.split('')), minLength: 1, maxLength: 7 })
  .filter((text) => isDebVersion(text))

test('the order of Debian versions is total', () => {
  fc.assert(
    fc.property(debVersion, debVersion, debVersion, (one, two, three) => {
      assert.equal(Math.sign(compareDebianVersions(one, two)), 0 - Math.sign(compareDebianVersions(two, one)))
      const sorted = [one, two, three].sort(compareDebianVersions) as [string, string, string]
      assert.ok(compareDebianVersions(sorted[0], sorted[2]) <= 0)
      assert.ok(
        compareDebianVersions(sorted[0], sorted[1]) <= 0 && compareDebianVersions(sorted[1], sorted[2]) <= 0,
      )
    }),
  )
})

test('ebuild versions follow PMS 3.3', () => {
  const ascending = [
    [
      '1_alpha_beta',
      '1_alpha',
      '1_alpha_p',
      '1_alpha1',
      '1_beta',
      '1_pre',
      '1_rc',
      '1',
      '1_p',
      '1_p1',
      '1b',
      '1.0',
      '1.0.1',
    ],
    ['999999999999999999999999999998', '999999999999999999999999999999'],
    ['1.01', '1.1', '1.1b'],
    ['12.2b', '12.2.5'],
    ['1.0', '1.0-r1', '1.0-r10'],
    ['1.010', '1.011', '1.9', '1.10'],
  ]
  for (const row of ascending)
    for (let index = 1; index < row.length; index++) {
      const [left, right] = [row[index - 1] as string, row[index] as string]
      assert.equal(Math.sign(compareEbuildVersions(left, right)), -1, `${left} < ${right}`)
      assert.equal(Math.sign(compareEbuildVersions(right, left)), 1, `${right} > ${left}`)
    }
  for (const [left, right] of [
    ['1.0100', '1.010'],
    ['1_p', '1_p0'],
    ['1.0-r0', '1.0'],
    ['01', '1'],
  ] as const)
    assert.equal(compareEbuildVersions(left, right), 0, `${left} = ${right}`)
  assert.ok(isEbuildVersion('1.2.3b_rc1_p2-r4'))
  assert.ok(!isEbuildVersion('1.2-rc1') && !isEbuildVersion('v1') && !isEbuildVersion('1.2ab'))
})

test('semantic versions order by precedence, builds last', () => {
  const ascending = ['1.0.0-alpha', '1.0.0-alpha.1', '1.0.0-rc.1', '1.0.0', '1.0.0+1', '1.0.0+2', '1.10.0']
  assert.deepEqual([...ascending].reverse().sort(compareSemver), ascending)
  assert.ok(isSemver('1.2.3-rc.1+b5'))
  assert.ok(!isSemver('1.2') && !isSemver('v1.2.3') && !isSemver('1.2.3.4'))
  assert.ok(isSemverRange('^2.1') && !isSemverRange('^^2'))
  assert.ok(isInRange('2.9.0', '^2.1') && !isInRange('3.0.0', '^2.1') && !isInRange('2.2.0-rc.1', '^2.1'))
})

test('version tests hold by the law of their scheme', () => {
  const holds = (
    scheme: 'deb' | 'ebuild',
    op: '<' | '<=' | '=' | '>=' | '>' | '~' | '=*',
    version: string,
    of: string,
  ) => passesVersionTest(scheme, { op, version }, of)
  for (const [op, ...wanted] of [
    ['<', true, false, false],
    ['<=', true, true, false],
    ['=', false, true, false],
    ['>=', false, true, true],
    ['>', false, false, true],
  ] as const)
    assert.deepEqual(
      ['1.0~rc1', '1.00', '1.1'].map((of) => holds('deb', op, '1.0', of)),
      wanted,
      op,
    )
  assert.deepEqual(
    ['1.1', '1.1-r2', '1.1.3', '1.1a', '1.10'].map((of) => holds('ebuild', '=*', '1.1', of)),
    [true, true, true, true, false],
  )
  assert.ok(holds('ebuild', '~', '1', '01-r5') && !holds('ebuild', '~', '1', '1.0'))
  assert.ok(passesVersionTest('semver', { range: '>=1 <3' }, '2.0.0'))
  assert.ok(!passesVersionTest('deb', { range: '>=1' }, '2.0.0'))
  assert.equal(Math.sign(compareVersions('semver', '1.2.0', '1.10.0')), -1)
})
