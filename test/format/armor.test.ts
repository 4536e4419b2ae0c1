import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { clearSignedFrame, dearmorKeys, isArmoredKey } from '../../src/format/armor.ts'

const BEGIN = '-----BEGIN PGP PUBLIC KEY BLOCK-----'
const END = '-----END PGP PUBLIC KEY BLOCK-----'

function armor(bytes: Uint8Array, headers = '', line = '\n'): string {
  const body = Buffer.from(bytes).toString('base64').replace(/.{64}/g, `$&${line}`)
  return [BEGIN, `${headers}`, body, '=AbC+', END, ''].join(line)
}

test('armour comes off, whatever the bytes, the line ends and the headers', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 300 }),
      fc.constantFrom('', 'Version: 1\nComment: x\n'),
      fc.constantFrom('\n', '\r\n'),
      (bytes, headers, line) => {
        const text = armor(bytes, headers, line)
        assert.deepEqual(Buffer.from(dearmorKeys(text) ?? []), Buffer.from(bytes))
        assert.deepEqual(
          Buffer.from(dearmorKeys(`two\n${text}keys\n${text}`) ?? []),
          Buffer.concat([bytes, bytes]),
        )
        assert.ok(isArmoredKey(Buffer.from(text)))
      },
    ),
  )
})

test('blocks that are cut or no base64 are no keys', () => {
  assert.equal(dearmorKeys(''), undefined)
  assert.equal(dearmorKeys(`${BEGIN}\n\nAAAA\n`), undefined)
  assert.equal(dearmorKeys(`${BEGIN}\n\n${BEGIN}\n\nAAAA\n${END}\n`), undefined)
  assert.equal(dearmorKeys(`${BEGIN}\n\nA A!\n${END}\n`), undefined)
  assert.equal(dearmorKeys(`${BEGIN}\n\n${END}\n`), undefined)
  assert.equal(dearmorKeys(`AAAA\n${END}\n`), undefined)
  assert.equal(isArmoredKey(Buffer.from([0x99, 1, 2])), false)
})

test('one clear-signed message and nothing else', () => {
  const whole =
    '-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\ntext\n- -----BEGIN PGP SIGNED MESSAGE-----\n' +
    '-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n'
  const frame = (text: string): string => clearSignedFrame(Buffer.from(text))
  assert.equal(frame(whole), 'whole')
  assert.equal(frame(whole.trimEnd()), 'whole')
  assert.equal(frame(`${whole}\n \n`), 'whole')
  assert.equal(frame(whole.replaceAll('\n', '\r\n')), 'whole')
  assert.equal(frame(`x\n${whole}`), 'outside-text')
  assert.equal(frame(`\n${whole}`), 'outside-text')
  assert.equal(frame(`${whole}x`), 'outside-text')
  assert.equal(frame(whole + whole), 'outside-text')
  assert.equal(frame(''), 'unsigned')
  assert.equal(frame(whole.replace('-----BEGIN PGP SIGNATURE-----', '')), 'unsigned')
  assert.equal(frame(whole.slice(0, -30)), 'unsigned')
  assert.equal(frame(` ${whole}`), 'unsigned')
  const [message = '', signature = ''] = whole.split(/(?=^-----BEGIN PGP SIGNATURE)/m)
  assert.equal(frame(signature + message), 'outside-text')
})
