import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { isStage5Error, type Stage5Error } from '../../src/base/errors.ts'
import { portsTakenTwice } from '../../src/resolve/forward.ts'
import type { Group } from '../../src/resolve/group.ts'
import { readGroups } from '../../src/resolve/load-group.ts'
import { driverGuest, expandNames, fillTemplate } from '../../src/resolve/template.ts'

const never = (): Promise<Uint8Array> => Promise.reject(new Error('no source command here'))

async function load(text: string, output?: string): Promise<Group> {
  const run = output === undefined ? never : async () => Buffer.from(output)
  const [group] = await readGroups([{ file: 'groups/web.yaml', bytes: Buffer.from(text) }], run)
  return group as Group
}

async function complaint(text: string, output?: string): Promise<string> {
  const error = await load(text, output).then(
    () => assert.fail('expected an error'),
    (thrown: unknown) => thrown as Stage5Error,
  )
  if (!isStage5Error(error)) throw error
  return `${error.code} ${error.message}`
}

test('a group says little and means everything else', async () => {
  assert.deepEqual(await load('profile: www\nguests: web-1\ndriver: qemu'), {
    name: 'web',
    line: 'www',
    guests: [{ name: 'web-1', canary: false, values: {} }],
    driver: {
      kind: 'qemu',
      options: {
        root: '',
        memory: 0,
        forward: [],
        accel: 'auto',
        append: [],
        arguments: [],
        stopSeconds: 20,
      },
    },
    templates: {},
    secrets: {},
    data: {},
    waves: [],
    maxUnavailable: { percent: 10 },
    minAvailable: { count: 0 },
    allowedFailures: { percent: 2 },
    health: [],
    soakSeconds: 60,
    bootSeconds: 120,
    recoverSeconds: 300,
    tries: 3,
    windows: [],
    approvers: [],
    require: 'built',
    trustSteadyState: false,
  })
})

const FULL = `stage5: 1
profile: www@php
guests:
  - {name: web-1, canary: true, values: {rack: a}}
  - web-{08..10}
values: {http: "{index+8080}", rack: b}
driver: {kind: qemu, memory: 256M, forward: ["{http}:80"]}
templates: {network: "ip=10.0.{rack}.{index}/24"}
secrets: {/etc/key: "secrets/{name}.key"}
data: {www: 2G}
waves: [1, 10%, 100%]
maxUnavailable: 2
minAvailable: 50%
allowedFailures: 0
health:
  - {http: "http://127.0.0.1:{http}/", contains: hello, timeout: 2s}
  - {tcp: "127.0.0.1:{http}"}
  - {command: [./check, "{name}"]}
  - {console: "stage5: ready"}
  - {systemd: [running, degraded]}
soak: 5m
timeouts: {boot: 90s, recover: 2m, tries: 2}
windows:
  - {days: [sat, mon], from: "22:00", to: "04:30"}
  - {from: "12:00", to: "24:00"}
approvers: [alice]
require: booted
trustSteadyState: true
`

test('every key is read, and values are filled in for each guest', async () => {
  const group = await load(FULL)
  assert.deepEqual(
    group.guests.map(({ name, canary, values }) => [name, canary, values]),
    [
      ['web-1', true, { http: '8081', rack: 'a' }],
      ['web-08', false, { http: '8088', rack: 'b' }],
      ['web-09', false, { http: '8089', rack: 'b' }],
      ['web-10', false, { http: '8090', rack: 'b' }],
    ],
  )
  assert.deepEqual(group.waves, [{ count: 1 }, { percent: 10 }, { percent: 100 }])
  assert.deepEqual([group.maxUnavailable, group.minAvailable], [{ count: 2 }, { percent: 50 }])
  assert.deepEqual(group.allowedFailures, { count: 0 })
  assert.deepEqual(group.data, { www: 2 * 2 ** 30 })
  assert.deepEqual(
    group.health.map((check) => [check.kind, check.timeoutMs]),
    [
      ['http', 2000],
      ['tcp', 5000],
      ['command', 5000],
      ['console', 5000],
      ['systemd', 5000],
    ],
  )
  assert.deepEqual(
    [group.soakSeconds, group.bootSeconds, group.recoverSeconds, group.tries],
    [300, 90, 120, 2],
  )
  assert.deepEqual(driverGuest(group, group.guests[0] as Group['guests'][number]), {
    name: 'web-1',
    group: 'web',
    values: {
      hostname: 'web-1',
      name: 'web-1',
      group: 'web',
      index: '1',
      http: '8081',
      rack: 'a',
      network: 'ip=10.0.a.1/24',
    },
  })
})

test('a window over midnight is two, the second on the day after', async () => {
  const { windows } = await load(FULL)
  assert.deepEqual(windows, [
    { days: [1, 6], fromMinute: 1320, toMinute: 1440 },
    { days: [0, 2], fromMinute: 0, toMinute: 270 },
    { days: [0, 1, 2, 3, 4, 5, 6], fromMinute: 720, toMinute: 1440 },
  ])
})

test('problems name line, column and the nearest key', async () => {
  const head = 'profile: www\nguests: web-1\n'
  const cases: readonly [string, RegExp][] = [
    [
      'profile: www\nguests: [a]\ndriver: qmu',
      /^S5_PROFILE_INVALID groups\/web\.yaml:3:9: .*did you mean "qemu"/,
    ],
    [`${head}driver: qemu\nheatlh: []`, /web\.yaml:4:1: unknown key "heatlh", did you mean "health"/],
    [`${head}driver: {kind: qemu, memroy: 1G}`, /:3:22: unknown key "memroy", did you mean "memory"/],
    [`${head}driver: {memory: 1G}`, /:3:9: expected the key "kind"/],
    [`${head}driver: {kind: exec}`, /:3:9: expected the key "command"/],
    [head, /:1:1: expected the key "driver"/],
    ['profile: www\nguests: [a, b, a]\ndriver: dir', /:2:16: "a" is listed twice/],
    ['profile: www\nguests: [web_1]\ndriver: dir', /:2:10: expected a name of letters.*"web_1"/],
    ['profile: www\nguests: web-{1..9999999}\ndriver: dir', /:2:9: .* more than 1000000 guests/],
    [
      `${head}driver: dir\nwaves: [0]`,
      /:4:9: expected a number such as 1, or a share such as 10%, found "0"/,
    ],
    [`${head}driver: dir\nmaxUnavailable: 101%`, /:4:17: expected a number/],
    [`${head}driver: dir\nhealth: [{tcp: "a:1", http: "b"}]`, /:4:10: expected exactly one .* http and tcp/],
    [`${head}driver: dir\nhealth: [{http: "http://a:{prot}/"}]`, /:4:17: for web-1: unknown \{prot\}/],
    [`${head}driver: dir\nvalues: {a: "{rack+1}"}`, /:2:9: values of web-1: a: unknown \{rack\}/],
    [
      'profile: www\nguests: alpha\ndriver: dir\ntemplates: {hostname: "h{index}"}',
      /:4:23: for alpha: unknown/,
    ],
    [`${head}driver: dir\nwindows: [{from: "25:00", to: "01:00"}]`, /:4:18: expected a time/],
    [`${head}driver: dir\nwindows: [{from: "01:00", to: "01:00"}]`, /:4:11: .*another time/],
    ['profile: www\nguests: {source: []}\ndriver: dir', /:2:9: expected a program/],
  ]
  for (const [text, expected] of cases) assert.match(await complaint(text), expected, text)
})

test('a forward is two ports once it is filled for each guest', async () => {
  const text = (forward: string, values = 'http: "{index+8080}"'): string =>
    `profile: w\nguests: ["web-{1..3}"]\nvalues: {${values}}\ndriver: {kind: qemu, forward: [${forward}]}`
  assert.equal((await load(text('"{http}:80", "1:65535"'))).guests.length, 3)
  for (const bad of ['"{http}"', '"80:http"', '"0:80"', '"{http}:65536"', '"80:80:80"', '":80"', '" 80:80"'])
    assert.match(
      await complaint(text(bad)),
      /S5_PROFILE_INVALID groups\/web.yaml:4:\d+: (?:for web-1: )?expected .*, found/,
      bad,
    )
  const late = await complaint(text('"{http}:80"', 'http: "{index+65533}"'))
  assert.match(late, /^S5_PROFILE_INVALID groups\/web.yaml:4:\d+: for web-3: .*65535, found "65536:80"/)
})

test('ports of this host that two guests want are found across groups, each with who wants it', async () => {
  const group = async (guests: string, forward: string, kind = 'qemu'): Promise<Group> =>
    await load(`profile: w\nguests: [${guests}]\ndriver: {kind: ${kind}${forward}}`)
  const one = await group('web-1, web-2', ', forward: ["{index+8080}:80", "9000:443"]')
  const other = await group('db-2', ', forward: ["{index+8080}:80"]')
  assert.deepEqual(portsTakenTwice([other, await group('d-1', '', 'dir')]), [])
  assert.deepEqual(portsTakenTwice([one, other]), [
    { port: 9000, guests: ['web-1', 'web-2'] },
    { port: 8082, guests: ['web-2', 'db-2'] },
  ])
})

test('guests may come from a command: lines, or JSON', async () => {
  const text = 'profile: www\nguests: {source: [./guests]}\ndriver: dir'
  const lines = await load(text, '# fleet\nweb-1\n\n  db.example  # the old one\n')
  assert.deepEqual(
    lines.guests.map(({ name }) => name),
    ['web-1', 'db.example'],
  )
  const json = await load(text, '["a-1", {"name": "b-{1..2}", "canary": true, "values": {"rack": "7"}}]')
  assert.deepEqual(json.guests[2], { name: 'b-2', canary: true, values: { rack: '7' } })
  assert.match(
    await complaint(text, '["a",\n {"nmae": "b"}]'),
    /output of \.\/guests:2:3: unknown key "nmae"/,
  )
  assert.match(await complaint(text, 'ok\nnot_ok\n'), /output of \.\/guests:2:1: expected a name/)
})

test('a guest is in one group only; both places are named', async () => {
  const group = (guests: string): Buffer => Buffer.from(`profile: w\ndriver: dir\nguests:\n${guests}`)
  const documents = [
    { file: 'groups/b.yaml', bytes: group('  - y\n  - x-{1..3}\n') },
    { file: 'groups/a.yaml', bytes: group('  - x-2\n') },
  ]
  await assert.rejects(readGroups(documents, never), (error) => {
    assert.ok(isStage5Error(error, 'S5_GUEST_TWICE'))
    assert.deepEqual(error.data, { guest: 'x-2', places: ['groups/a.yaml:4:5', 'groups/b.yaml:5:5'] })
    return true
  })
})

test('patterns count with the zeros of their first number', () => {
  assert.deepEqual(expandNames('a-{9..11}', 10), ['a-9', 'a-10', 'a-11'])
  assert.deepEqual(expandNames('{x,y}{01..02}', 10), ['x01', 'x02', 'y01', 'y02'])
  assert.deepEqual(expandNames('a{2..1}', 10), [])
  assert.equal(expandNames('{1..5}{1..5}', 24), undefined)
  assert.equal(expandNames('{1..5}{1..5}', 25)?.length, 25)
})

test('templates count, spare doubled braces, and know no word by accident', () => {
  const values = { name: 'n', index: '7' }
  const cases: readonly [string, object][] = [
    ['{index-2}/{{name}}/{ x }', { text: '5/{name}/{ x }' }],
    ['{name+1}', { problem: 'expected a number for {name} in {name+1}, found "n"' }],
    ['{constructor}', { problem: 'unknown {constructor}' }],
  ]
  for (const [template, expected] of cases) assert.deepEqual(fillTemplate(template, values), expected)
})

test('the example groups of the fixtures load together', async () => {
  const folder = new URL('../fixtures/groups/', import.meta.url)
  const documents = ['web.yaml', 'db.yaml'].map((name) => ({
    file: `groups/${name}`,
    bytes: readFileSync(new URL(name, folder)),
  }))
  const groups = await readGroups(documents, never)
  assert.deepEqual(
    groups.map(({ name, guests }) => [name, guests.length]),
    [
      ['db', 2],
      ['web', 12],
    ],
  )
})
