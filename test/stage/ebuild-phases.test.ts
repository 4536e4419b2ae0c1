/** Merge phases of ebuilds: what of them has to be acknowledged. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { ebuildPhases } from '../../src/stage/ebuild-phases.ts'
import { scripts } from '../../src/stage/scripts.ts'
import { run } from './scene.ts'

const lines = (control: { readonly [member: string]: string }): string[] =>
  ebuildPhases(control).map(({ member, line, text }) => `${member}:${line}: ${text}`)

test('packages without merge phases bring nothing', () => {
  for (const phases of ['', '-', 'compile configure install', 'setup pretend config prerm postrm nofetch'])
    assert.deepEqual(lines({ DEFINED_PHASES: `${phases}\n` }), [])
  assert.deepEqual(lines({}), [])
})

test('a phase of the ebuild is shown by its lines, without comments and messages', () => {
  const ebuild = [
    'EAPI=8',
    'pkg_preinst() { rm -f "${ED}"/x; }',
    'pkg_postinst () {',
    '\t# comment',
    '\telog "see https://host/; and more"',
    '\tif use ssl; then',
    '\t\tewarn "it is ${PV}"',
    '\tfi',
    '\techo secret > "${EROOT}"/etc/x',
    '\telog $(touch /tmp/x)',
    '\teinfo "ok" && touch /tmp/y',
    '}',
    'src_install() { rm -rf /; }',
  ].join('\n')
  assert.deepEqual(lines({ DEFINED_PHASES: 'install postinst preinst\n', 'demo-1.ebuild': ebuild }), [
    'pkg_preinst:2: rm -f "${ED}"/x;',
    'pkg_postinst:6: if use ssl; then',
    'pkg_postinst:8: fi',
    'pkg_postinst:9: echo secret > "${EROOT}"/etc/x',
    'pkg_postinst:10: elog $(touch /tmp/x)',
    'pkg_postinst:11: einfo "ok" && touch /tmp/y',
  ])
})

test('a phase that only prints needs no word', () => {
  const ebuild = 'pkg_postinst() {\n\telog "read the manual"\n\n\tewarn \'and `this`; $(too)\'\n\t:\n}\n'
  assert.deepEqual(lines({ DEFINED_PHASES: 'postinst', 'demo-1.ebuild': ebuild }), [])
  const hidden = 'pkg_postinst() {\n\telog "`rm -rf /`"\n\telog "$(rm x)"\n}\n'
  assert.equal(lines({ DEFINED_PHASES: 'postinst', 'demo-1.ebuild': hidden }).length, 2)
})

test('a phase that is not in the ebuild names the eclasses', () => {
  assert.deepEqual(
    lines({ DEFINED_PHASES: 'postinst', INHERITED: 'xdg-utils xdg\n', 'demo-1.ebuild': 'inherit xdg\n' }),
    ['pkg_postinst:0: from an eclass, one of: xdg'],
  )
  assert.deepEqual(lines({ DEFINED_PHASES: 'preinst' }), ['pkg_preinst:0: not in the ebuild'])
})

test('what stages replace needs no word; what stands between unknown lines is shown with them', () => {
  const of = (cpv: string, more: { readonly [member: string]: string }) => {
    const [category = '', full = ''] = cpv.split('/')
    return lines({ CATEGORY: `${category}\n`, PF: `${full}\n`, DEFINED_PHASES: 'preinst postinst', ...more })
  }
  const strange = { 'x.ebuild': 'pkg_preinst() { rm x; }\npkg_postinst() { rm y; }\n' }
  for (const cpv of [
    'acct-user/nginx-0-r4',
    'acct-group/x-0',
    'sys-apps/baselayout-2.17',
    'sys-devel/gcc-14.2.1_p20241221',
  ])
    assert.deepEqual(of(cpv, strange), [], cpv)
  assert.equal(of('sys-apps/baselayout-prefix-2.17', strange).length, 2)
  assert.deepEqual(of('a/b-1', { INHERITED: 'systemd tmpfiles fcaps toolchain-funcs' }), [])
  assert.deepEqual(of('a/b-1', { INHERITED: 'fcaps', 'b-1.ebuild': 'FILECAPS=( cap_x ${F} )\n' }), [
    'pkg_postinst:0: from fcaps: FILECAPS has more than plain words',
  ])
  const body = (...text: readonly string[]) =>
    of('a/b-1', { 'b-1.ebuild': `pkg_postinst() {\n${text.join('\n')}\n}\n`, DEFINED_PHASES: 'postinst' })
  assert.deepEqual(
    body(
      'local x y',
      'if use ssl && [[ -n ${A} ]]; then',
      'tmpfiles_process b.conf',
      'else',
      'use x && elog "b"',
      'fi',
      'udev_reload',
    ),
    [],
  )
  assert.deepEqual(body('if use a; then', 'touch x', 'fi').length, 3)
  assert.equal(body('use x && touch y').length, 1)
  assert.equal(body('if $(touch x); then', 'fi').length, 2)
  assert.equal(body('tmpfiles_process b.conf; touch x').length, 1)
  assert.equal(body('tmpfiles_process "$(touch x)"').length, 1)
})

test('phases stop the build until they are acknowledged by the name of the package', async () => {
  const packages = ['dev-libs/one', 'dev-libs/two'].map((name) => ({
    name,
    label: `${name}_1_b1`,
    version: '1',
    arch: 'amd64',
    scheme: 'ebuild',
    control: { DEFINED_PHASES: name.endsWith('one') ? 'postinst' : '-', INHERITED: 'xdg' },
  }))
  await assert.rejects(run(scripts, {}, { scripts: {} }, { packages }), (error: unknown) => {
    assert.ok(isStage5Error(error, 'S5_SCRIPT_UNKNOWN'))
    assert.match(
      error.message,
      /^a package brings scripts .*:\n {2}dev-libs\/one 1\n {4}pkg_postinst: from an eclass/,
    )
    return true
  })
  await run(scripts, {}, { scripts: { 'dev-libs/one': 'no desktop here' } }, { packages })
})
