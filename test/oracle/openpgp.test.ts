/** Keyrings and signatures that gpg and gpgv take, and change of any kind that they do not. */
import assert from 'node:assert/strict'
import { createPrivateKey, generateKeyPairSync, sign as signOf } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openpgpKeyring, openpgpSignature, type Sign } from '../../src/format/openpgp.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'

function newKey(): { readonly raw: Uint8Array; readonly sign: Sign } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const { x = '' } = publicKey.export({ format: 'jwk' })
  return { raw: Buffer.from(x, 'base64url'), sign: (bytes) => signOf(null, bytes, privateKey) }
}

const NOW = Math.floor(Date.now() / 1000)

test('gpgv takes a signature of the key in the keyring, for all of these keys', async (t) => {
  if (!findTool('gpgv')) return t.skip('needs gpgv')
  using folder = temporaryDirectory()
  const at = (name: string): string => join(folder.path, name)
  const verify = async (text: string) => {
    writeFileSync(at('file'), text)
    return await run(['gpgv', '--keyring', at('ring.gpg'), at('file.gpg'), at('file')], { accept: 'any' })
  }
  // Numbers with zero bits or bytes in front are written shorter: many keys meet all of them.
  for (let nth = 0; nth < 40; nth++) {
    const { raw, sign } = newKey()
    writeFileSync(at('ring.gpg'), openpgpKeyring(raw, 'stage5 release', sign))
    writeFileSync(at('file.gpg'), openpgpSignature(raw, Buffer.from(`text ${nth}`), NOW, sign))
    const good = await verify(`text ${nth}`)
    assert.equal(good.code, 0, good.stderr)
    assert.match(good.stderr, /Good signature from "stage5 release"/)
  }
  const changed = await verify('text x')
  assert.match(changed.stderr, /BAD signature/)
  assert.notEqual(changed.code, 0)
  const [thief, owner] = [newKey(), newKey()]
  writeFileSync(at('ring.gpg'), openpgpKeyring(owner.raw, 'stage5 release', owner.sign))
  writeFileSync(at('file.gpg'), openpgpSignature(thief.raw, Buffer.from('text'), NOW, thief.sign))
  assert.match((await verify('text')).stderr, /No public key/)
})

test('gpg lists the key, and refuses a name that the key did not bind to itself', async (t) => {
  if (!findTool('gpg')) return t.skip('needs gpg')
  using folder = temporaryDirectory()
  const ring = join(folder.path, 'ring.gpg')
  const gpg = async (home: string, ...words: string[]) => {
    mkdirSync(join(folder.path, home), { recursive: true, mode: 0o700 })
    return await run(['gpg', '--homedir', join(folder.path, home), '--batch', ...words], { accept: 'any' })
  }
  // RFC 8032, 7.1, test 1.
  const seed = '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60'
  const der = Buffer.from(`302e020100300506032b657004220420${seed}`, 'hex')
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const raw = Buffer.from('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', 'hex')
  writeFileSync(
    ring,
    openpgpKeyring(raw, 'stage5 release', (bytes) => signOf(null, bytes, key)),
  )
  const shown = (await gpg('one', '--show-keys', '--with-colons', ring)).stdout.toString()
  assert.match(shown, /^pub:-:255:22:[0-9A-F]{16}:1577836800:::.*:scSC:/m)
  assert.match(shown, /^uid:.*:stage5 release:/m)
  assert.equal((await gpg('one', '--import', ring)).code, 0)
  writeFileSync(ring, openpgpKeyring(raw, 'stage5 release', newKey().sign))
  const forged = await gpg('two', '--import', ring)
  assert.match(forged.stderr, /1 bad signature\n.*contains no user ID - skipped/)
})
