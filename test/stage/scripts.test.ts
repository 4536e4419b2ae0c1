/** What maintainer scripts would do on a first installation, found by reading them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { classifyScripts, scripts } from '../../src/stage/scripts.ts'
import { memoryContents } from '../../src/tree/contents.ts'
import type { Tree } from '../../src/tree/tree.ts'
import { DATE, rootOf, run, type Spec } from './scene.ts'

function pkg(control: { readonly [member: string]: string }, name = 'demo') {
  return { name, label: `${name}_1`, version: '1', arch: 'amd64', scheme: 'deb', control }
}

async function treeOf(specs: { readonly [path: string]: Spec }): Promise<Tree> {
  return (await rootOf(memoryContents(), specs)).tree
}

/** The unknown lines of a postinst, without the `#!` line. */
function unknown(body: string, tree?: Tree, member = 'postinst'): string[] {
  return classifyScripts(pkg({ [member]: `#!/bin/sh\n${body}\n` }), tree).unknown.map(({ text }) => text)
}

test('boilerplate is known', () => {
  assert.deepEqual(
    unknown(`
set -e
# summary of how this script can be called
case "$1" in
  configure)
    ;;
  abort-upgrade|abort-remove|abort-deconfigure)
    ;;
  *)
    echo "postinst called with unknown argument \\\`$1'" >&2
    exit 1
    ;;
esac

exit 0`),
    [],
  )
  assert.deepEqual(classifyScripts(pkg({})), { unknown: [], copies: [] })
})

test('what debhelper adds is known by its commands, and not by its comment', () => {
  const added = (tool: string, body: string) =>
    unknown(`# Automatically added by ${tool}/13.11.4\n${body}\n# End automatically added section`)
  const when = 'if [ "$1" = "configure" ] || [ "$1" = "abort-upgrade" ]; then'
  for (const [tool, body] of [
    ['dh_installsystemd', `${when}\n deb-systemd-helper unmask 'a.service' >/dev/null || true\nfi`],
    ['dh_installsystemd', `if [ -d /run/systemd/system ]; then systemctl daemon-reload; rm -rf /srv; fi`],
    ['dh_installinit', `if [ "$1" = install ] && [ -n "$2" ]; then chmod +x /etc/init.d/a; fi`],
    [
      'dh_installinit',
      `${when}\n if [ -x /etc/init.d/a ]; then update-rc.d a defaults >/dev/null || exit 1; fi\nfi`,
    ],
    ['dh_makeshlibs', `if [ "$1" = "triggered" ] || [ "$1" = configure ]; then ldconfig; fi`],
    ['dh_python3', `if command -v py3compile >/dev/null 2>&1; then py3compile -p a /usr/lib/a; fi`],
    [
      'dh_installtmpfiles',
      `if [ -x "$(command -v systemd-tmpfiles)" ]; then systemd-tmpfiles \${DPKG_ROOT:+--root="$DPKG_ROOT"} --create a.conf >/dev/null || true; fi`,
    ],
    ['dh_installsysusers', `systemd-sysusers \${DPKG_ROOT:+--root="$DPKG_ROOT"} a.conf`],
    [
      'dh_icons',
      `if which update-icon-caches >/dev/null 2>&1; then update-icon-caches /usr/share/icons/a; fi`,
    ],
    ['dh_installdeb', 'dpkg-maintscript-helper rm_conffile /etc/a 1:1.8\\~ -- "$@"'],
    ['dh_installmenu', `if [ -x "\`command -v update-menus\`" ]; then update-menus; fi`],
  ] as const)
    assert.deepEqual(added(tool, body), [], `${tool}: ${body}`)
  assert.deepEqual(added('dh_icons', 'useradd eve'), ['useradd eve'])
})

test('only what a first installation comes to counts', () => {
  for (const [body, left] of [
    ['if [ "$1" = triggered ]; then bad; fi', []],
    ['if [ "$1" != configure ]; then bad; fi', []],
    ['if [ -n "$2" ]; then bad; else good; fi', ['if [ -n "$2" ]; then bad; else good; fi']],
    ['[ -n "$2" ] && bad', []],
    ['[ -z "$2" ] && act', ['[ -z "$2" ] && act']],
    ['if dpkg --compare-versions "$2" lt-nl 2.0; then bad; fi', []],
    ['if dpkg --compare-versions "$2" gt 2.0; then bad; fi', []],
    ['if dpkg --compare-versions "$2" lt 2.0\nthen act\nfi', ['then act']],
    ['case "$1" in\nupgrade|abort-*) bad ;;\nconf*) act ;;\n*) bad\nesac', ['conf*) act ;;']],
    ['case "$unset" in\n?*) bad ;;\nesac', []],
    ['exit 0\nbad', []],
    ['if [ "$1" = configure ]; then exit 0; fi\nbad', []],
    ['if some; then exit 0; fi\nact', ['if some; then exit 0; fi', 'act']],
    ['false && bad\ntrue || bad\n! true && bad', []],
    ['f() { bad; }', []],
    [
      'f() { if [ "$1" = x ]; then return 0; fi; return 1; }\nf y && bad\nf x || bad\nf x && act',
      ['f x && act'],
    ],
    [
      'f() { test -e /etc/x && return 0; return 1; }\nif f; then a1; fi\nif ! f; then a2; fi',
      ['if f; then a1; fi', 'if ! f; then a2; fi'],
    ],
    ['for x in a b; do\n [ $x = c ] && bad\ndone', []],
    ['for x in a b; do\n [ $x = b ] && act\ndone', ['[ $x = b ] && act']],
    [
      'while read x; do y=1; done\n[ "$y" = 1 ] && act\n[ -z "$y" ] && act2',
      ['[ "$y" = 1 ] && act', '[ -z "$y" ] && act2'],
    ],
    ['if [ -e /etc/x ]; then y=1; fi\n[ -n "$y" ] && act', ['[ -n "$y" ] && act']],
    ['set -- a b\nshift\n[ "$1" = b ] || bad\n[ $# = 1 ] || bad', []],
    ['f() { local v=inner; }\nv=outer\nf\n[ $v = outer ] || bad', []],
    ['( exit 1 )\nact', ['act']],
    ['a=x\necho | a=y\n[ $a = x ] || bad', []],
  ] as const)
    assert.deepEqual(unknown(body), [...left], body)
})

test('the same script means other things in preinst and postinst', () => {
  const body = 'case "$1" in\ninstall) one ;;\nconfigure) two ;;\nesac'
  assert.deepEqual(unknown(body, undefined, 'preinst'), ['install) one ;;'])
  assert.deepEqual(unknown(body), ['configure) two ;;'])
  assert.deepEqual(unknown('rm -f /etc/old', undefined, 'preinst'), [])
  assert.deepEqual(unknown('rm -f /etc/old'), ['rm -f /etc/old'])
})

test('commands are told by what they change', () => {
  const silent = [
    'grep -q x /etc/y',
    'sed -e s/a/b/ /etc/x',
    'find /etc -name x',
    'echo hello >&2 2>/dev/null',
    'echo x >/tmp/y',
    'mkdir -p /run/x',
    't=$(mktemp)\ncat /etc/x >$t\nrm -f "$t"',
    '. /usr/share/debconf/confmodule\ndb_get a/b\ndb_stop',
    'dpkg-divert --list x',
    'dpkg-statoverride --list /x >/dev/null',
    'update-alternatives --install /usr/bin/a a /usr/bin/b 5',
    '/usr/sbin/ldconfig',
    'run-parts --arg=1 /etc/kernel/postinst.d',
    'command -v x',
  ]
  for (const body of silent) assert.deepEqual(unknown(body), [], body)
  const loud = [
    'sed -i s/a/b/ /etc/x',
    'sed -ri s/a/b/ /etc/x',
    'find /etc -name x -delete',
    'echo x >/etc/y',
    'echo x >>"$file"',
    ': > /etc/x',
    'adduser --system www',
    'chown root:adm /var/log/x',
    'mkdir -p /var/lib/x',
    '. /usr/share/other/helper',
    'dpkg-divert --add --rename --divert /a /b',
    'dpkg-statoverride --add root root 4755 /x',
    'update-alternatives --set a /b',
    'update-alternatives --install $x a /b 5',
    'xargs rm',
    'env X=1 act',
    'command act',
    'eval "$x"',
    '$x y',
    'run-parts /etc/other',
    'dpkg --configure -a',
    '/opt/app/echo x',
    'ldconfig >/etc/x',
    'echo x | tee /etc/y',
    'while read l; do echo $l; done </etc/x >/etc/y',
  ]
  for (const body of loud) assert.deepEqual(unknown(body), [body], body)
})

test('what stands in the tree already needs no script', async () => {
  const tree = await treeOf({
    'usr/lib/ssl': { link: '/etc/ssl' },
    'etc/ssl': {},
    'usr/bin/tool': { text: '', mode: 0o755 },
  })
  assert.deepEqual(unknown('if [ ! -e /usr/lib/ssl ]; then ln -sf /etc/ssl /usr/lib/ssl; fi', tree), [])
  assert.deepEqual(unknown('if [ ! -e /usr/lib/tls ]; then act; fi', tree), [
    'if [ ! -e /usr/lib/tls ]; then act; fi',
  ])
  assert.deepEqual(unknown('if [ -e /usr/lib/tls ]; then bad; fi', tree), [])
  assert.deepEqual(unknown('if [ -x /bin/tool ]; then act; else bad; fi', tree).length, 1)
  assert.deepEqual(unknown('mkdir -p /etc/ssl', tree), [])
  assert.deepEqual(unknown('mkdir -p /etc/tls', tree), ['mkdir -p /etc/tls'])
  assert.deepEqual(unknown('rm -f /etc/old /etc/older', tree), [])
  assert.deepEqual(unknown('rm -f /etc/old /bin/tool', tree), ['rm -f /etc/old /bin/tool'])
  // /etc may have been changed by another script: both ways are gone.
  assert.deepEqual(unknown('if [ -e /etc/x ]; then\nact\nfi', tree), ['act'])
  assert.deepEqual(
    unknown('[ -L /usr/lib/ssl ] || bad\n[ -f /usr/lib/ssl ] && bad\n[ -d /usr/lib/ssl ] || bad', tree),
    [],
  )
})

test('a preinst cannot see what is not unpacked yet', async () => {
  const tree = await treeOf({ 'usr/lib/ssl': {} })
  assert.deepEqual(unknown('if [ -e /usr/lib/ssl ]; then act; fi', tree, 'preinst').length, 1)
  assert.deepEqual(unknown('if [ ! -e /usr/lib/ssl ]; then act; fi', tree, 'preinst').length, 1)
})

test('a script that is not understood is unknown as a whole', () => {
  const perl = classifyScripts(
    pkg({ postinst: '#!/usr/bin/perl\n# note\nuse strict;\n\nunlink "/etc/x";\n' }),
  )
  assert.deepEqual(perl.unknown, [
    { member: 'postinst', line: 1, text: '#!/usr/bin/perl' },
    { member: 'postinst', line: 3, text: 'use strict;' },
    { member: 'postinst', line: 5, text: 'unlink "/etc/x";' },
  ])
  assert.equal(unknown('if true; then').length, 2)
  assert.deepEqual(unknown('f() { f; }\nf'), ['#!/bin/sh', 'f() { f; }', 'f'])
  assert.ok(unknown('a=x\nfor i in 1 2 3 4 5 6 7 8 9; do\na=$a$a$a$a$a$a$a$a$a\ndone\n$a').includes('$a'))
  assert.ok(unknown(`set -- a b c d\n${'set -- "$@" "$@"\n'.repeat(30)}act`).includes('act'))
})

test('ucf puts a file in place, once, and never over another', async () => {
  const body = '#!/bin/sh\nini=/etc/app/app.ini\nucf --three-way /usr/share/app/app.ini $ini\nucfr app $ini\n'
  assert.deepEqual(classifyScripts(pkg({ postinst: body })), {
    unknown: [],
    copies: [{ from: '/usr/share/app/app.ini', to: '/etc/app/app.ini' }],
  })
  const packages = [pkg({ postinst: body })]
  const made = await run(
    scripts,
    { 'usr/share/app/app.ini': { text: 'x=1', mode: 0o640, owner: 'demo_1' } },
    {},
    { packages },
  )
  assert.equal(await made.text('etc/app/app.ini'), 'x=1')
  assert.deepEqual(made.entry('etc/app/app.ini')?.owner, 'stage:scripts')
  assert.equal(made.inode('etc/app/app.ini')?.mode, 0o640)
  assert.equal(made.inode('etc/app')?.mtime, DATE)
  assert.notEqual(made.inode('etc/app/app.ini'), made.inode('usr/share/app/app.ini'))
  const kept = await run(
    scripts,
    { 'usr/share/app/app.ini': 'x=1', 'etc/app/app.ini': 'mine' },
    {},
    { packages },
  )
  assert.equal(await kept.text('etc/app/app.ini'), 'mine')
  const none = await run(scripts, { 'usr/bin/x': '' }, {}, { packages })
  assert.equal(none.entry('etc/app/app.ini'), undefined)
})

test('unknown scripts stop the build with their packages and first lines, until acknowledged by name', async () => {
  const packages = [
    pkg({ postinst: '#!/bin/sh\none\ntwo\nthree\nfour\n' }, 'first'),
    pkg({ postinst: '#!/bin/sh\nldconfig\n' }, 'quiet'),
    pkg({ preinst: '#!/bin/sh\nuseradd \x1b[31m\n' }, 'second'),
    { ...pkg({ postinst: '#!/bin/sh\nbad\n' }, 'app/native'), scheme: 'semver' },
  ]
  const error = await run(scripts, {}, { scripts: {} }, { packages }).then(
    () => assert.fail('was accepted'),
    (cause: unknown) => cause,
  )
  assert.ok(isStage5Error(error, 'S5_SCRIPT_UNKNOWN'))
  assert.equal(
    error.message,
    '2 packages bring scripts that no stage replaces:\n  first 1\n    postinst:2: one\n    postinst:3: two\n    postinst:4: three\n' +
      '    and 1 more\n  second 1\n    preinst:2: useradd \\x1b[31m',
  )
  assert.match(error.hint ?? '', /scripts: \{first: /)
  assert.deepEqual(
    (error.data['packages'] as { name: string }[]).map(({ name }) => name),
    ['first', 'second'],
  )
  const reasons = { first: 'not needed', second: 'declared under users:' }
  const { root } = await run(scripts, { 'usr/x': '' }, { scripts: reasons }, { packages })
  assert.equal(root.tree.names.length, 3)
  await assert.rejects(
    run(scripts, {}, { scripts: { first: 'not needed' } }, { packages }),
    /a package brings scripts/,
  )
})
