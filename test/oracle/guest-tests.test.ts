/** `stage5 test`: what a profile declares is run on real guests, and what is wrong fails for its own reason. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type TestContext, test } from 'node:test'
import { readBootRecord, verifyBootRecord } from '../../src/cli/boot-record.ts'
import { digestOf } from '../../src/base/digest.ts'
import { loadPublicKeys } from '../../src/host/signing.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { builtOnce } from '../helpers/built.ts'
import { type Ran, stage5 } from '../helpers/console.ts'
import type { Built } from '../helpers/guest.ts'

const STORE = process.env['STAGE5_STORE'] ?? resolve(import.meta.dirname, '../.tmp/store')
const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())

const PROFILE = `stage5: 1
parents: [minimal]
images: [initrd, verity]
services:
  - {name: web, run: busybox httpd -f -p 80 -h /srv}
files: [{path: /srv/index.html, content: "hello\\n"}]
tests:
  - boots
  - name: asks
    images: [initrd]
    http: [{port: 80, path: /index.html, contains: hello}, {port: 80, path: /none, status: 404}]
    console: [{run: uname -m, expect: x86_64}, {run: "false", status: 1}]
variants:
  wrong:
    tests:
      - -boots
      - -asks
      - {name: text, console: [{run: uname -m, expect: sparc}]}
      - {name: must-fail, expect: fail}
`

function built(t: TestContext, name: string): Promise<Built | undefined> {
  return builtOnce(t, project.path, name, PROFILE)
}

function program(...words: readonly string[]): Promise<Ran> {
  return stage5(project.path, words, { STAGE5_STORE: STORE })
}

test('declared tests pass on real guests, and a signed record says so', async (t) => {
  const found = await built(t, 'web')
  if (!found) return
  const without = await program('test', 'web')
  assert.match(without.stderr, /there is no key .*boot\.key\n.*stage5 key new/)
  assert.equal((await program('key', 'new', 'boot')).code, 0)
  const { code, stdout, stderr } = await program('test', 'web', '--accel', 'tcg')
  assert.equal(code, 0, stdout + stderr)
  assert.match(stdout, /^passed boots \(kernel\): 1 check, .*\npassed asks \(initrd\): 5 checks, /)
  const record = await readBootRecord(found.directory)
  assert.ok(record)
  const manifest = digestOf(readFileSync(found.file('.manifest.json')))
  const keys = await loadPublicKeys(join(project.path, '.stage5/keys'))
  assert.equal(verifyBootRecord(record, manifest, keys), 'ok')
  assert.deepEqual(
    record.body.files.map(({ name }) => name.replace(/^web_[^.]*\.[0-9a-f]{6}\./, '')),
    ['initrd', 'one.initrd', 'squashfs', 'verity', 'vmlinuz'],
  )
})

test('each thing that is not as declared fails the test for its own reason', async (t) => {
  const found = await built(t, 'web@wrong')
  if (!found) return
  const { code, stdout } = await program('test', 'web@wrong', '--no-record', '--json')
  assert.equal(code, 1)
  const { passed, results, record } = JSON.parse(stdout) as {
    passed: boolean
    record: null
    results: { name: string; result: string; reason: string }[]
  }
  assert.deepEqual([passed, record], [false, null])
  const reasons = new Map(results.map(({ name, result, reason }) => [name, `${result}: ${reason}`]))
  assert.match(
    reasons.get('text') ?? '',
    /^failed: "uname -m": expected "sparc" in the output, found "x86_64"$/,
  )
  assert.equal(reasons.get('must-fail'), 'failed: the guest came up, and it must not')
  assert.equal(await readBootRecord(found.directory), undefined)
})

test('an image that was changed after it was built is not tested', async (t) => {
  const found = await built(t, 'web@wrong')
  if (!found) return
  const path = found.file('.squashfs')
  const bytes = readFileSync(path)
  const flipped = Buffer.from(bytes)
  flipped.writeUInt8((flipped[5000] as number) ^ 1, 5000)
  writeFileSync(path, flipped)
  const { code, stderr } = await program('test', 'web@wrong', '--no-record')
  writeFileSync(path, bytes)
  assert.equal(code, 1)
  assert.match(stderr, /\.squashfs: expected sha256:.*, found sha256:[\s\S]*S5_DIGEST_MISMATCH/)
})
