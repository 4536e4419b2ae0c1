/** Keys and signatures, with openssl and RFC 8032 as witnesses. */
import assert from 'node:assert/strict'
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { findTool, run } from '../../src/host/run.ts'
import {
  loadPrivateKey,
  loadPublicKey,
  loadPublicKeys,
  newKey,
  signBytes,
  verifyBytes,
} from '../../src/host/signing.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'

const BYTES = Buffer.from('what is signed\n')

test('a new key signs, its public half verifies, and both have one id', async () => {
  using folder = temporaryDirectory()
  const made = await newKey(join(folder.path, 'keys'), 'release')
  assert.equal(statSync(made.privateFile).mode & 0o777, 0o600)
  const [own, open] = [await loadPrivateKey(made.privateFile), await loadPublicKey(made.publicFile)]
  assert.deepEqual([own.keyid, open.keyid], [made.keyid, made.keyid])
  assert.equal(open.keyid, createHash('sha256').update(open.raw).digest('hex'))
  const { keyid, sig } = signBytes(own, BYTES)
  assert.equal(keyid, made.keyid)
  assert.ok(verifyBytes(open, BYTES, sig))
  assert.equal(signBytes(own, BYTES).sig, sig)
})

test('other bytes, another key, a damaged and a foreign writing of a signature are refused', async () => {
  using folder = temporaryDirectory()
  const own = await loadPrivateKey((await newKey(folder.path, 'a')).privateFile)
  const open = await loadPublicKey(join(folder.path, 'a.pub'))
  const other = await loadPublicKey((await newKey(folder.path, 'b')).publicFile)
  const { sig } = signBytes(own, BYTES)
  const damaged = Buffer.from(sig, 'base64')
  damaged.writeUInt8((damaged[5] as number) ^ 1, 5)
  assert.equal(verifyBytes(open, Buffer.from('what is signed'), sig), false)
  assert.equal(verifyBytes(other, BYTES, sig), false)
  for (const bad of [
    '',
    'AAAA',
    damaged.toString('base64'),
    `${sig} `,
    sig.slice(0, -2),
    sig.replace('=', ''),
  ])
    assert.equal(verifyBytes(open, BYTES, bad), false, JSON.stringify(bad))
  assert.deepEqual(
    (await loadPublicKeys(folder.path)).map(({ keyid }) => keyid),
    [open.keyid, other.keyid],
  )
  assert.deepEqual(await loadPublicKeys(join(folder.path, 'none')), [])
})

/** RFC 8032, 7.1, TEST 2: secret key, public key, message, signature. */
const RFC = {
  secret: '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
  open: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
  message: '72',
  signature:
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
}

test('the second vector of RFC 8032', async () => {
  using folder = temporaryDirectory()
  const der = Buffer.from(`302e020100300506032b657004220420${RFC.secret}`, 'hex')
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const path = join(folder.path, 'rfc.key')
  writeFileSync(path, key.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  writeFileSync(join(folder.path, 'rfc.pub'), createPublicKey(key).export({ type: 'spki', format: 'pem' }))
  const open = await loadPublicKey(join(folder.path, 'rfc.pub'))
  assert.equal(Buffer.from(open.raw).toString('hex'), RFC.open)
  const { sig } = signBytes(await loadPrivateKey(path), Buffer.from(RFC.message, 'hex'))
  assert.equal(Buffer.from(sig, 'base64').toString('hex'), RFC.signature)
})

test('openssl accepts our signature, and refuses it for other bytes', async (t) => {
  if (!findTool('openssl')) return t.skip('needs openssl')
  using folder = temporaryDirectory()
  const made = await newKey(folder.path, 'own')
  const [text, sig] = [join(folder.path, 'text'), join(folder.path, 'sig')]
  writeFileSync(text, BYTES)
  writeFileSync(sig, Buffer.from(signBytes(await loadPrivateKey(made.privateFile), BYTES).sig, 'base64'))
  const words = ['openssl', 'pkeyutl', '-verify', '-pubin', '-inkey', made.publicFile, '-rawin', '-in', text]
  assert.match((await run([...words, '-sigfile', sig])).stdout.toString(), /Verified Successfully/)
  writeFileSync(text, 'others')
  assert.notEqual((await run([...words, '-sigfile', sig], { accept: 'any' })).code, 0)
})

test('what is no key, or not for this use, is refused with its reason', async () => {
  using folder = temporaryDirectory()
  const made = await newKey(folder.path, 'own')
  const place = (name: string, text: string): string => {
    writeFileSync(join(folder.path, name), text, { mode: 0o600 })
    return join(folder.path, name)
  }
  const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const cases: [string, () => Promise<unknown>, RegExp][] = [
    ['S5_KEY_EXISTS', () => newKey(folder.path, 'own'), /there is a key .*own\.key already/],
    ['S5_KEY_INVALID', () => newKey(folder.path, '../x'), /found "\.\.\/x"/],
    ['S5_KEY_INVALID', () => loadPrivateKey(place('text', 'no key')), /found something else/],
    ['S5_KEY_INVALID', () => loadPrivateKey(made.publicFile), /0644/],
    ['S5_KEY_INVALID', () => loadPublicKey(made.privateFile), /found a private one/],
    [
      'S5_KEY_INVALID',
      () => loadPublicKey(place('rsa', rsa.publicKey.export({ type: 'spki', format: 'pem' }) as string)),
      /found a key of type rsa/,
    ],
    ['S5_FILE_MISSING', () => loadPrivateKey(join(folder.path, 'none.key')), /there is no key/],
  ]
  for (const [code, action, message] of cases)
    await assert.rejects(
      action,
      (error) => isStage5Error(error, code as never) && message.test(error.message),
      code,
    )
  const before = readFileSync(made.privateFile)
  await assert.rejects(newKey(folder.path, 'own'))
  assert.deepEqual(readFileSync(made.privateFile), before)
  chmodSync(made.privateFile, 0o640)
  await assert.rejects(loadPrivateKey(made.privateFile), /0640/)
})
