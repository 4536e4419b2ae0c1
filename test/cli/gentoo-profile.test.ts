/** `stage5 lock --import` with profiles of Gentoo and binhosts, as they stand on a machine. */
import assert from 'node:assert/strict'
import { readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadProfile } from '../../src/resolve/load-profile.ts'
import { loadRepository } from '../../src/resolve/load-repository.ts'
import type { Profile } from '../../src/resolve/profile.ts'
import { stage5 } from '../helpers/console.ts'
import { filesFor } from '../helpers/files.ts'
import { folder } from '../resolve/folder.ts'

const PROFILES = 'var/db/repos/gentoo/profiles'

/** A repository of ebuilds as far as profiles go, with the layout and quirks of the real one. */
const GENTOO = {
  [`${PROFILES}/repo_name`]: 'gentoo\n',
  [`${PROFILES}/license_groups`]: 'FREE MIT GPL-2\n',
  [`${PROFILES}/base/eapi`]: '8\n',
  [`${PROFILES}/base/make.defaults`]: [
    'ACCEPT_LICENSE="-* @FREE"',
    'USE_EXPAND="VIDEO_CARDS PYTHON_TARGETS"',
    'USE_EXPAND="${USE_EXPAND} L10N"',
    'BASE="crypt"',
    'USE="${BASE} nls -ldap"',
    'PYTHON_TARGETS="python3_12"',
    'VIDEO_CARDS="vesa"',
  ].join('\n'),
  [`${PROFILES}/base/packages`]: '# comment\n*sys-apps/baselayout\n*sys-apps/busybox\napp/unmarked\n',
  [`${PROFILES}/base/package.use.mask/one`]: 'app/x selinux\n',
  [`${PROFILES}/base/use.mask`]: 'selinux\nstatic # c\n',
  [`${PROFILES}/base/package.mask`]: '>=app/x-9\napp/gone\n',
  [`${PROFILES}/arch/amd64/make.defaults`]:
    'ARCH="amd64"\nACCEPT_KEYWORDS="${ARCH}"\nUSE="mmx"\nPYTHON_TARGETS="-python3_12 python3_13"\n',
  [`${PROFILES}/arch/amd64/parent`]: '../../base\n',
  [`${PROFILES}/arch/amd64/use.force`]: 'amd64\nabi_x86_64\n',
  [`${PROFILES}/arch/amd64/package.mask`]: '-app/gone\n',
  [`${PROFILES}/releases/use.mask`]: '-static\n',
  [`${PROFILES}/releases/package.use.force`]: 'app/x -abi_x86_64 multilib\n',
  [`${PROFILES}/default/23.0/parent`]: ':arch/amd64\n../../releases # two parents\n',
  [`${PROFILES}/default/23.0/packages`]: '-*sys-apps/busybox\n*sys-apps/coreutils\n',
  [`${PROFILES}/default/23.0/package.use`]: 'app/x bindist\n',
  [`${PROFILES}/default/23.0/make.defaults`]: 'USE="-nls acl"\n',
}

const MACHINE = {
  'etc/portage/make.conf':
    'USE="X"\nPYTHON_TARGETS="python3_14"\nPORTAGE_BINHOST="https://old.example/x86-64/"\nACCEPT_KEYWORDS="~amd64"\n',
  'etc/portage/profile/use.mask': '-selinux\n',
  'etc/portage/profile/package.provided': 'virtual/editor-0\n',
  'etc/portage/binrepos.conf/house.conf':
    '[house]\nsync-uri = /srv/pkgdir\nverify-signature = true\ngetbinpkg-exclude = app/y:0\n',
  'var/lib/portage/world': 'app/x\n',
}

async function imported(root: string, name: string): Promise<Profile> {
  const path = `profiles/${name}.yaml`
  const { read, list } = folder({ [path]: readFileSync(join(root, path), 'utf8') })
  return (await loadProfile(name, read, list)).profile
}

test('make.profile and its parents become a profile', async (t) => {
  const root = filesFor(t, { ...GENTOO, ...MACHINE })
  symlinkSync(`../../${PROFILES}/default/23.0`, join(root, 'etc/portage/make.profile'))
  const { code, stderr, stdout } = await stage5(root, ['lock', '--import', 'etc/portage', 'web'])
  assert.equal(code, 0, stderr)
  assert.match(stdout, /repos\/web\.yaml: binhosts\nrepos\/web-unsigned\.yaml: binhosts\nprofiles\/web\.yaml/)
  const profile = await imported(root, 'web')
  assert.deepEqual(
    profile.profileUse.map(({ atom, flags }) => `${atom} ${flags.join(' ')}`.trim()),
    ['crypt', '-ldap', 'video_cards_vesa', 'mmx', '-nls', 'acl', 'app/x bindist'],
    'later folders win; what make.conf says of a variable replaces what the profile says',
  )
  assert.deepEqual(profile.use, ['X', 'python_targets_python3_14'])
  assert.deepEqual(profile.useForce, [
    { atom: '', flags: ['amd64'] },
    { atom: '', flags: ['abi_x86_64'] },
    { atom: 'app/x', flags: ['-abi_x86_64', 'multilib'] },
  ])
  assert.deepEqual(profile.useMask, [{ atom: 'app/x', flags: ['selinux'] }], 'both general masks are lifted')
  assert.deepEqual(profile.keywords, ['amd64', '~amd64'])
  assert.deepEqual(profile.licenses, ['@FREE'])
  assert.deepEqual(profile.licenseGroups, { FREE: ['MIT', 'GPL-2'] })
  assert.deepEqual(
    profile.mask.map(({ atom }) => atom),
    ['>=app/x-9'],
  )
  assert.deepEqual(profile.sets, { system: ['sys-apps/baselayout', 'sys-apps/coreutils'] })
  assert.deepEqual(profile.provided, [{ name: 'virtual/editor', version: '0', reason: 'package.provided' }])
  assert.deepEqual(profile.repositories, ['web', 'web-unsigned'])
  assert.match(stdout, /@system: 2 packages/)

  const read = (path: string) => Promise.resolve(readFileSync(join(root, path)))
  const spec = async (name: string) => (await loadRepository(name, read, () => Promise.resolve([]))).gentoo
  const house = await spec('web')
  assert.deepEqual(house?.binhosts, [
    { name: 'house', uri: '/srv/pkgdir', priority: 0, index: '', include: [], exclude: ['app/y:0'] },
  ])
  assert.deepEqual(house?.keyring, [join(root, 'etc/portage/gnupg/pubring.kbx')])
  assert.equal(house?.signatures, 'require')
  const old = await spec('web-unsigned')
  assert.deepEqual(
    old?.binhosts.map(({ name, uri, priority }) => [name, uri, priority]),
    [['binhost1', 'https://old.example/x86-64', 1]],
  )
  assert.equal(old?.signatures, 'off')

  rmSync(join(root, 'profiles/web.yaml'))
  const again = await stage5(root, ['lock', '--import', 'etc/portage', 'web'])
  assert.match(again.stderr, /repos\/web\.yaml exists already/)
})

test('a profile of a checkout is imported by itself', async (t) => {
  const root = filesFor(t, GENTOO)
  const { code, stderr } = await stage5(root, ['lock', '--import', `${PROFILES}/default/23.0`, 'plain'])
  assert.equal(code, 0, stderr)
  const profile = await imported(root, 'plain')
  assert.equal(profile.arch, 'amd64')
  assert.deepEqual(profile.repositories, ['gentoo-amd64'])
  assert.ok(profile.profileUse.some(({ flags }) => flags.includes('python_targets_python3_13')))
  assert.ok(!profile.profileUse.some(({ flags }) => flags.includes('python_targets_python3_12')))
  assert.deepEqual(profile.packages, [])
})

test('parents that are not there, and circles, are said', async (t) => {
  const root = filesFor(t, {
    [`${PROFILES}/repo_name`]: 'gentoo\n',
    [`${PROFILES}/a/parent`]: '../b\n',
    [`${PROFILES}/b/parent`]: '# c\n../a\n',
    [`${PROFILES}/lost/parent`]: 'other:base\n',
    'var/db/repos/other/profiles/repo_name': 'other\n',
    'var/db/repos/other/profiles/found/make.defaults': 'USE="far"\n',
    [`${PROFILES}/far/parent`]: 'other:found\n',
  })
  const say = async (name: string) =>
    (await stage5(root, ['lock', '--import', `${PROFILES}/${name}`, `p${name}`])).stderr
  assert.match(await say('a'), /profiles in a circle: \S+\/a > \S+\/b > \S+\/a/)
  assert.match(await say('lost'), /lost\/parent:1: there is no profile other:base/)
  assert.equal((await stage5(root, ['lock', '--import', `${PROFILES}/far`, 'far'])).code, 0)
  assert.deepEqual((await imported(root, 'far')).profileUse, [{ atom: '', flags: ['far'] }])
})
