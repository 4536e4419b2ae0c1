/** Alternatives: found in postinsts, and left as update-alternatives leaves them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { alternatives, alternativesOf } from '../../src/stage/alternatives.ts'
import { DATE, type Outcome, run, type Spec } from './scene.ts'

function pkg(body: string, name = 'demo') {
  return {
    name,
    label: `${name}_1`,
    version: '1',
    arch: 'amd64',
    scheme: 'deb',
    control: { postinst: `#!/bin/sh\n${body}\n` },
  }
}

function targets({ root }: Outcome): { [path: string]: string } {
  const found: { [path: string]: string } = {}
  for (const { path, inode } of root.tree.names) {
    const node = root.tree.inodes[inode]
    if (node?.type === 'symlink') found[path] = node.target
  }
  return found
}

async function outcome(
  specs: { readonly [path: string]: Spec },
  ...bodies: readonly string[]
): Promise<Outcome> {
  return await run(alternatives, specs, {}, { packages: bodies.map((body, at) => pkg(body, `p${at}`)) })
}

test('continued lines, slaves, variables, loops and functions are followed', () => {
  const found = alternativesOf(
    pkg(`
set -e
add() {
  if [ -e "$2/$1.x" ]; then
    update-alternatives --quiet --install "$2/$1" "$1" "$2/$1.x" 50 \\
      --slave /usr/share/man/man1/"$1".1.gz "$1".1.gz /usr/share/man/man1/"$1".x.1.gz
  fi
}
if [ "$1" = configure ]; then
  for name in php phar; do
    /usr/sbin/update-alternatives --install /usr/bin/\${name} \${name} /usr/bin/\${name}8 82
  done
  add ps /bin
fi
[ "$1" = triggered ] && update-alternatives --install /usr/bin/no no /usr/bin/never 1
update-alternatives --remove old /usr/bin/old`),
  )
  assert.deepEqual(found, [
    { link: '/usr/bin/php', name: 'php', path: '/usr/bin/php8', priority: 82, slaves: [] },
    { link: '/usr/bin/phar', name: 'phar', path: '/usr/bin/phar8', priority: 82, slaves: [] },
    {
      link: '/bin/ps',
      name: 'ps',
      path: '/bin/ps.x',
      priority: 50,
      slaves: [
        { link: '/usr/share/man/man1/ps.1.gz', name: 'ps.1.gz', path: '/usr/share/man/man1/ps.x.1.gz' },
      ],
    },
  ])
})

test('what is not a proper registration is left alone', () => {
  for (const body of [
    'update-alternatives --install /usr/bin/a a /usr/bin/b high',
    'update-alternatives --install /usr/bin/a a usr/bin/b 5',
    'update-alternatives --install /usr/bin/a ../a /usr/bin/b 5',
    'update-alternatives --install /usr/bin/a .. /usr/bin/b 5',
    'update-alternatives --install $RANDOM_LINK a /usr/bin/b 5',
    'update-alternatives --install /usr/bin/a',
    'update-alternatives --auto a',
    'echo update-alternatives --install /usr/bin/a a /usr/bin/b 5',
  ])
    assert.deepEqual(alternativesOf(pkg(body)), [], body)
})

const awk = (path: string, priority: number, slave = '') =>
  `update-alternatives --install /usr/bin/awk awk ${path} ${priority} ${slave}`

test('the highest priority wins, and brings its own slaves', async () => {
  const specs = { 'usr/bin/mawk': 'm', 'usr/bin/gawk': 'g', 'usr/man/mawk.1': '', 'usr/man/gawk.1': '' }
  const mawk = awk(
    '/usr/bin/mawk',
    5,
    '--slave /usr/man/awk.1 awk.1 /usr/man/mawk.1 --slave /usr/bin/nawk nawk /usr/bin/mawk',
  )
  const gawk = awk(
    '/usr/bin/gawk',
    10,
    '--slave /usr/man/awk.1 awk.1 /usr/man/gawk.1 --slave /usr/x none /usr/absent',
  )
  const expected = {
    'etc/alternatives/awk': '/usr/bin/gawk',
    'etc/alternatives/awk.1': '/usr/man/gawk.1',
    'usr/bin/awk': '/etc/alternatives/awk',
    'usr/man/awk.1': '/etc/alternatives/awk.1',
  }
  assert.deepEqual(targets(await outcome(specs, mawk, gawk)), expected)
  assert.deepEqual(targets(await outcome(specs, gawk, mawk)), expected)
})

test('of equal priorities the first registered wins', async () => {
  const specs = { 'usr/bin/a': '', 'usr/bin/b': '' }
  const one = await outcome(specs, awk('/usr/bin/a', 7), awk('/usr/bin/b', 7))
  assert.equal(targets(one)['etc/alternatives/awk'], '/usr/bin/a')
})

test('a choice that is not in the tree does not count', async () => {
  const made = await outcome({ 'usr/bin/mawk': 'm' }, awk('/usr/bin/gawk', 10), awk('/usr/bin/mawk', 5))
  assert.equal(targets(made)['etc/alternatives/awk'], '/usr/bin/mawk')
  const none = await outcome({ 'usr/bin/x': '' }, awk('/usr/bin/gawk', 10))
  assert.deepEqual(targets(none), {})
})

test('a name that a package brings itself stays', async () => {
  const made = await outcome({ 'usr/bin/awk': 'own', 'usr/bin/mawk': 'm' }, awk('/usr/bin/mawk', 5))
  assert.equal(await made.text('usr/bin/awk'), 'own')
  assert.deepEqual(targets(made), {})
})

test('links are put where merged directories lead', async () => {
  const specs = { bin: { link: 'usr/bin' }, 'usr/bin/ps.x': 'ps' }
  const made = await outcome(specs, 'update-alternatives --install /bin/ps ps /bin/ps.x 50')
  assert.deepEqual(targets(made), {
    bin: 'usr/bin',
    'etc/alternatives/ps': '/bin/ps.x',
    'usr/bin/ps': '/etc/alternatives/ps',
  })
  assert.equal(await made.text('bin/ps'), 'ps')
  assert.equal(made.entry('usr/bin/ps')?.owner, 'stage:alternatives')
  assert.equal(made.inode('etc/alternatives/ps')?.mtime, DATE)
})
