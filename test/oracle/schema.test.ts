import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { schemas } from '../../src/resolve/schema.ts'

const TOP = join(import.meta.dirname, '../..')

const VALIDATE = `
import json, sys, jsonschema
given = json.load(sys.stdin)
jsonschema.Draft7Validator.check_schema(given['schema'])
validator = jsonschema.Draft7Validator(given['schema'])
print(json.dumps([[e.message for e in validator.iter_errors(each)] for each in given['documents']]))
`

/** Complaints of Python's jsonschema about each document; undefined when it is not installed. */
function complaints(schema: string, documents: readonly unknown[]): string[][] | undefined {
  const input = JSON.stringify({ schema: schemas()[schema], documents })
  // Debian's module belongs to Debian's Python, which need not be the first one on the path.
  const python = existsSync('/usr/lib/python3/dist-packages/jsonschema') ? '/usr/bin/python3' : 'python3'
  const { status, stdout, stderr, error } = spawnSync(python, ['-c', VALIDATE], {
    input,
    encoding: 'utf8',
  })
  if (error || /No module named/.test(stderr)) return undefined
  assert.equal(status, 0, stderr)
  return JSON.parse(stdout) as string[][]
}

test('the schemas accept every bundled file', (t) => {
  for (const schema of Object.keys(schemas())) {
    const folder =
      schema === 'profiles/group.schema.json' ? 'test/fixtures/groups' : (schema.split('/')[0] as string)
    const names = readdirSync(join(TOP, folder)).filter((name) => {
      if (!name.endsWith('.yaml') || name.endsWith('.lock.yaml')) return false
      return folder !== 'stages' || (name === 'strip.yaml') === (schema === 'stages/strip.schema.json')
    })
    const found = complaints(
      schema,
      names.map((name) => parse(readFileSync(join(TOP, folder, name), 'utf8')) ?? {}),
    )
    if (!found) return t.skip('needs python3-jsonschema')
    for (const [at, name] of names.entries()) assert.deepEqual(found[at], [], `${folder}/${name}`)
  }
})

test('the profile schema accepts every form and refuses what the loader refuses', (t) => {
  const good = [
    'packages: [nginx, "libc6 (>= 2.36)", app/shop: ^2.1, {atom: a, use: [ssl, -x]}, -old, "-*"]',
    'version: 1.10\nkernel: none\nrecommends: [a]',
    'users: [www, {name: a, uid: 5}]\ngroups: [-old]\nimages: [squashfs, {format: a, level: 3, blockSize: 64K}]',
    'files: [{path: /a, content: "", mode: 0644}, {path: /b, from: c}, -/d]',
    'scripts: {a: null, b: c}\nparents: base\nvariants: {x: {kernel: {}, parents: [a, b@c]}}',
    'boot: {memory: 1G, timeout: 5}\ndata: [{name: a, size: 1M, paths: [/a]}]',
  ]
  const bad = [
    'packges: [a]',
    'id: A_b',
    'network: dchp',
    'repositories: debian',
    'strip: {class: []}',
    'stage5: 2',
    'provided: [{name: a}]',
    'variants: {x: {variants: {}}}',
    'variants: {x: {hostnme: a}}',
    'users: [{name: A}]',
    'collisions: [{path: usr, owner: a}]',
    'data: [{name: a, size: big, paths: [/a]}]',
    'kernel: yes',
    'description: 5',
  ]
  const found = complaints(
    'profiles/profile.schema.json',
    [...good, ...bad].map((text) => parse(text) as unknown),
  )
  if (!found) return t.skip('needs python3-jsonschema')
  for (const [at, text] of good.entries()) assert.deepEqual(found[at], [], text)
  for (const [at, text] of bad.entries()) assert.notDeepEqual(found[good.length + at], [], text)
})

test('the group schema refuses what the loader refuses', (t) => {
  const head = 'profile: w\nguests: [a]\n'
  const good = ['driver: dir\nwaves: [1, 10%]', 'driver: {kind: exec, command: [a]}\nhealth: [{tcp: "a:1"}]']
  const bad = [
    'driver: vmware',
    'driver: {kind: qemu, memroy: 1G}',
    'driver: {kind: exec}',
    'driver: dir\nwaves: [x]',
    'driver: dir\nrequire: tested',
    'driver: dir\nwindows: [{from: "02:00"}]',
    'driver: dir\nsecrets: {relative: a}',
  ]
  const found = complaints(
    'profiles/group.schema.json',
    [...good, ...bad].map((text) => parse(head + text) as unknown),
  )
  if (!found) return t.skip('needs python3-jsonschema')
  for (const [at, text] of good.entries()) assert.deepEqual(found[at], [], text)
  for (const [at, text] of bad.entries()) assert.notDeepEqual(found[good.length + at], [], text)
})
