import assert from 'node:assert/strict'
import { test } from 'node:test'
import { users } from '../../src/stage/users.ts'
import { DATE, run } from './scene.ts'

const web = {
  name: 'web',
  uid: 80,
  group: 'web',
  home: '/var/www',
  shell: '/bin/sh',
  gecos: 'Web',
  groups: ['log'],
}

test('the users stage writes the four files, with locked passwords and lines by number', async () => {
  const { text, inode, entry } = await run(users, {}, { users: [web], groups: [{ name: 'log', gid: 70 }] })
  assert.equal(
    await text('etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nweb:x:80:80:Web:/var/www:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n',
  )
  assert.equal(await text('etc/group'), 'root:x:0:\nlog:x:70:web\nweb:x:80:\nnogroup:x:65534:\n')
  assert.equal(await text('etc/shadow'), 'root:!*:::::::\nweb:!*:::::::\nnobody:!*:::::::\n')
  assert.equal(await text('etc/gshadow'), 'root:!*::\nlog:!*::web\nweb:!*::\nnogroup:!*::\n')
  assert.equal(inode('etc/shadow')?.mode, 0o600)
  assert.deepEqual([entry('etc/passwd')?.owner, inode('etc/passwd')?.mtime], ['stage:users', DATE])
})

test('the users stage makes homes, keeps those that packages bring, and none for accounts without one', async () => {
  const { inode, paths } = await run(
    users,
    {
      'var/www': { mode: 0o711 },
      'usr/lib/sysusers.d/x.conf': 'u a - - /var/lib/a\nu b - - /run/b\nu c -\n',
    },
    { users: [web] },
  )
  assert.equal(inode('var/www')?.mode, 0o711)
  assert.deepEqual([inode('root')?.mode, inode('root')?.uid], [0o700, 0])
  assert.equal(inode('var/lib/a')?.uid, 999)
  assert.equal(
    paths().some((path) => path.startsWith('run')),
    false,
  )
})

test('the users stage follows links on the way to a home', async () => {
  const { inode } = await run(
    users,
    { home: { link: 'srv/home' }, 'srv/home': {} },
    { users: [{ ...web, home: '/home/web' }] },
  )
  assert.equal(inode('srv/home/web')?.type, 'dir')
  assert.equal(inode('home')?.type, 'symlink')
})

test('the users stage takes base-passwd as it is, except for shells that are not in the root', async () => {
  const { text, inode } = await run(users, {
    'usr/share/base-passwd/passwd.master':
      'root:*:0:0:root:/root:/bin/bash\nsync:*:4:65534:sync:/bin:/bin/sync\nmail:*:8:8:mail:/var/mail:/usr/sbin/nologin\n',
    'usr/share/base-passwd/group.master': 'root:*:0:\nmail:*:8:\nshadow:*:42:\nnogroup:*:65534:\n',
    'usr/sbin/nologin': 'x',
  })
  assert.deepEqual((await text('etc/passwd')).split('\n').slice(0, 3), [
    'root:x:0:0:root:/root:/bin/sh',
    'sync:x:4:65534:sync:/bin:/bin/false',
    'mail:x:8:8:mail:/var/mail:/usr/sbin/nologin',
  ])
  assert.deepEqual([inode('etc/shadow')?.mode, inode('etc/shadow')?.gid], [0o640, 42])
  assert.equal(inode('var/mail'), undefined)
})

test('the users stage refuses a home below something that is no directory', async () => {
  await assert.rejects(run(users, { srv: 'a file' }, { users: [{ ...web, home: '/srv/web' }] }), {
    code: 'S5_STAGE_INVALID',
    message: /\/srv \(pkg_1\) is no directory/,
  })
})
