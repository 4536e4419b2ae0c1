import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { allocateIds, type WantedIds, wantedIds } from '../../src/stage/ids.ts'
import { parseSysusers } from '../../src/stage/sysusers.ts'
import { memoryContents } from '../../src/tree/contents.ts'
import { profileOf, rootOf } from './scene.ts'

const NOBODY = { users: {}, groups: {} }

function wanted(
  users: { [name: string]: number | 'free' },
  groups: { [name: string]: number | 'free' } = {},
): WantedIds {
  const number = (id: number | 'free'): { id: number; firm: boolean } =>
    id === 'free' ? { id: -1, firm: false } : { id, firm: true }
  return {
    users: Object.entries(users).map(([name, id]) => ({
      name,
      ...number(id),
      group: name,
      gecos: '',
      home: '/',
      shell: '/bin/false',
      groups: [],
      from: 'sysusers',
    })),
    groups: Object.entries(groups).map(([name, id]) => ({ name, ...number(id) })),
  }
}

test('allocateIds gives free numbers downwards from 999, in order of names', () => {
  assert.deepEqual(
    allocateIds(NOBODY, wanted({ zoe: 'free', adam: 'free' }, { adam: 'free', staff: 'free' })),
    {
      users: { adam: 999, zoe: 997 },
      groups: { adam: 999, staff: 998 },
    },
  )
})

test('allocateIds lets a user and the group of its name share a number when either is fixed', () => {
  assert.deepEqual(allocateIds(NOBODY, wanted({ web: 33 }, { web: 'free' })).groups, { web: 33 })
  assert.deepEqual(allocateIds(NOBODY, wanted({ web: 'free' }, { web: 44 })).users, { web: 44 })
})

test('allocateIds keeps the number of someone who is wanted no more, and gives it to nobody else', () => {
  const ledger = allocateIds({ users: { gone: 999 }, groups: {} }, wanted({ fresh: 'free' }))
  assert.deepEqual(ledger.users, { fresh: 998, gone: 999 })
})

test('allocateIds overrules the wish of a package when the number is taken', () => {
  const wish: WantedIds = {
    users: [
      {
        name: 'late',
        id: 101,
        firm: false,
        group: 'late',
        gecos: '',
        home: '/',
        shell: '',
        groups: [],
        from: 'sysusers',
      },
    ],
    groups: [],
  }
  assert.deepEqual(allocateIds({ users: { early: 101 }, groups: {} }, wish).users, { early: 101, late: 999 })
  assert.deepEqual(allocateIds(NOBODY, wish).users, { late: 101 })
})

test('allocateIds refuses a fixed number that the lock contradicts or somebody has', () => {
  const clash = { code: 'S5_STAGE_INVALID' }
  assert.throws(() => allocateIds({ users: { web: 999 }, groups: {} }, wanted({ web: 33 })), {
    ...clash,
    message: /web is to have number 33, but the lock gave it 999/,
  })
  assert.throws(() => allocateIds({ users: { old: 33 }, groups: {} }, wanted({ web: 33 })), {
    ...clash,
    message: /number 33, which old has/,
  })
  const many = Object.fromEntries(Array.from({ length: 901 }, (_, at) => [`u${at}`, 'free' as const]))
  assert.throws(() => allocateIds(NOBODY, wanted(many)), { ...clash, message: /no number from 100 to 999/ })
})

test('allocateIds never changes an old number, gives each name one and each number to one', () => {
  const name = fc.stringMatching(/^[a-e]{1,2}$/)
  const names = fc.uniqueArray(name, { maxLength: 8 })
  fc.assert(
    fc.property(names, names, names, names, (users1, groups1, users2, groups2) => {
      const ask = (users: string[], groups: string[]): WantedIds =>
        wanted(
          Object.fromEntries(users.map((each) => [each, 'free' as const])),
          Object.fromEntries(groups.map((each) => [each, 'free' as const])),
        )
      const first = allocateIds(NOBODY, ask(users1, groups1))
      const second = allocateIds(first, ask(users2, groups2))
      for (const kind of ['users', 'groups'] as const) {
        for (const [each, id] of Object.entries(first[kind])) assert.equal(second[kind][each], id)
        assert.equal(new Set(Object.values(second[kind])).size, Object.keys(second[kind]).length)
      }
      for (const each of users2) assert.ok(second.users[each] !== undefined)
      for (const each of groups2) assert.ok(second.groups[each] !== undefined)
      assert.deepEqual(Object.keys(second.users), Object.keys(second.users).toSorted())
      assert.deepEqual(allocateIds(first, ask(users2.toReversed(), groups2.toReversed())), second)
    }),
  )
})

test('parseSysusers reads the forms of sysusers.d(5)', () => {
  const found = parseSysusers(
    [
      '# comment',
      'u     httpd    404            "HTTP User"',
      'u! _authd   /usr/bin/authd   "Authorization user" /var/lib/authd /bin/sh',
      "u postgres  -   'Postgresql Database'  /var/lib/pgsql /usr/libexec/postgresdb",
      'u two 33:www-data - /srv',
      'g input     -    -',
      'm _authd    input',
      'r - 500-900',
      'q what is this',
      'r - many',
      'x - 5-6',
      '',
    ].join('\n'),
  )
  const none = { idFrom: '', group: '', gecos: '', home: '', shell: '' }
  assert.deepEqual(found.users, [
    { ...none, name: 'httpd', id: 404, gecos: 'HTTP User' },
    {
      ...none,
      name: '_authd',
      id: -1,
      idFrom: '/usr/bin/authd',
      gecos: 'Authorization user',
      home: '/var/lib/authd',
      shell: '/bin/sh',
    },
    {
      ...none,
      name: 'postgres',
      id: -1,
      gecos: 'Postgresql Database',
      home: '/var/lib/pgsql',
      shell: '/usr/libexec/postgresdb',
    },
    { ...none, name: 'two', id: 33, group: 'www-data', home: '/srv' },
  ])
  assert.deepEqual(found.groups, [{ name: 'input', id: -1, idFrom: '' }])
  assert.deepEqual(found.members, [{ user: '_authd', group: 'input' }])
  assert.deepEqual(found.ranges, [{ from: 500, to: 900 }])
  assert.deepEqual(found.strange, ['line 9: q what is this', 'line 10: r - many', 'line 11: x - 5-6'])
})

test('wantedIds understands primary groups by name and by number', async () => {
  const contents = memoryContents()
  const { tree } = await rootOf(contents, {
    'usr/lib/sysusers.d/a.conf':
      'g staff 50\nu one 101:50\nu two 102:staff\nu three 103:77\nu four 104\nu five 105:own\n',
  })
  const found = await wantedIds(tree, contents, profileOf())
  const mine = found.users.slice(2)
  assert.deepEqual(
    mine.map(({ name, id, group }) => [name, id, group]),
    [
      ['one', 101, 'staff'],
      ['two', 102, 'staff'],
      ['three', 103, 'three'],
      ['four', 104, 'four'],
      ['five', 105, 'own'],
    ],
  )
  const groups = new Map(found.groups.map(({ name, id }) => [name, id]))
  assert.deepEqual(
    ['staff', 'three', 'four', 'own'].map((name) => groups.get(name)),
    [50, 103, 104, -1],
  )
})

test('parseSysusers keeps what would break a line of passwd out of it', () => {
  const [user] = parseSysusers('u evil - "a:b" /home:0 sh').users
  assert.deepEqual([user?.gecos, user?.home, user?.shell], ['a b', '', ''])
})

test('parseSysusers reads what printf %q of acct-user packages wrote', () => {
  const line = 'u\tmessagebus\t101:messagebus\tSystem\\ user\\;\\ messagebus\t/dev/null\t/sbin/nologin\n'
  assert.deepEqual(parseSysusers(line).users, [
    {
      name: 'messagebus',
      id: 101,
      idFrom: '',
      group: 'messagebus',
      gecos: 'System user; messagebus',
      home: '/dev/null',
      shell: '/sbin/nologin',
    },
  ])
})

test('wantedIds puts masters before sysusers.d, and the profile before both', async () => {
  const contents = memoryContents()
  const { tree } = await rootOf(contents, {
    'usr/share/base-passwd/passwd.master':
      'root:*:0:0:root:/root:/bin/bash\nwww-data:*:33:33:www-data:/var/www:/usr/sbin/nologin\n',
    'usr/share/base-passwd/group.master': 'root:*:0:\nwww-data:*:33:\nnogroup:*:65534:\n',
    'usr/lib/sysusers.d/a.conf':
      'u www-data 77\nu app - "An app" /srv/app\nm app www-data\nu file /srv/owned\n',
    'usr/lib/sysusers.d/masked.conf': 'u masked -\n',
    'usr/lib/sysusers.d/readme': 'u readme -\n',
    'lib/sysusers.d/old.conf': 'u old 44\n',
    'usr/lib/sysusers.d/sub/deep.conf': 'u deep -\n',
    'etc/sysusers.d/masked.conf': { link: '/dev/null' },
    'srv/owned': { text: '', uid: 555 },
  })
  const user = {
    name: 'app',
    uid: 400,
    group: 'app',
    home: '/opt/app',
    shell: '/bin/sh',
    gecos: 'mine',
    groups: ['video'],
  }
  const found = await wantedIds(
    tree,
    contents,
    profileOf({ users: [user], groups: [{ name: 'audio', gid: 29 }] }),
  )
  assert.deepEqual(
    found.users.map(({ name, id, firm, from, home }) => [name, id, firm, from, home]),
    [
      ['root', 0, true, 'base', '/root'],
      ['nobody', 65_534, true, 'base', '/nonexistent'],
      ['www-data', 33, true, 'base', '/var/www'],
      ['app', 400, true, 'profile', '/opt/app'],
      ['file', 555, false, 'sysusers', '/'],
      ['old', 44, false, 'sysusers', '/'],
    ],
  )
  assert.deepEqual(found.users.find(({ name }) => name === 'app')?.groups, ['video', 'www-data'])
  const groups = Object.fromEntries(found.groups.map(({ name, id, firm }) => [name, firm ? id : 'free']))
  assert.deepEqual(groups, {
    root: 0,
    nogroup: 65_534,
    'www-data': 33,
    app: 'free',
    file: 'free',
    old: 'free',
    audio: 29,
    video: 'free',
  })
})
