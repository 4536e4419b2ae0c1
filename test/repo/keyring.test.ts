import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { Stage5Error } from '../../src/base/errors.ts'
import { judgeStatus, verifyDetached, verifyInRelease, type Keyrings } from '../../src/repo/keyring.ts'
import { openKeys, type Keys } from './keys.ts'

const signal = new AbortController().signal
const TEXT = 'Suite: test\nDate: Sat, 11 Jul 2026 10:16:37 UTC\n-----not armour\n'
const LONG_AGO = { at: '20200101T000000' }
const keys = openKeys()
const [good, other] = keys
  ? [keys.make('Good <good@test>', LONG_AGO), keys.make('Other <other@test>', LONG_AGO)]
  : ['', '']
after(() => keys?.[Symbol.dispose]())

const MISSING = 'needs gpg and gpgv'

/** A keyring file of these keys. */
function ring(fingerprints: readonly string[], options: { armor?: boolean } = {}): Keyrings {
  const file = join(
    (keys as Keys).folder,
    `ring-${fingerprints.join('-').slice(0, 90)}${options.armor ? '.asc' : '.gpg'}`,
  )
  writeFileSync(file, (keys as Keys).export(fingerprints, options))
  return { files: [file], blocks: [], fingerprints: [] }
}

async function refused(bytes: Uint8Array, keyrings: Keyrings, reason: string): Promise<void> {
  await assert.rejects(verifyInRelease(bytes, keyrings, signal, 'x'), (error: Stage5Error) => {
    assert.equal(error.code, 'S5_SIGNATURE_BAD', String(error))
    assert.equal(error.data['reason'], reason)
    assert.match(error.message, new RegExp(`^x: ${reason}: `))
    return true
  })
}

test('a good signature: the text that was signed, the primary key, the time', async (t) => {
  if (!keys) return t.skip(MISSING)
  const signed = keys.sign(TEXT, [good], { at: '20210701T000000' })
  const { text, fingerprint, timestamp } = await verifyInRelease(signed, ring([good, other]), signal)
  assert.equal(Buffer.from(text).toString(), TEXT)
  assert.equal(fingerprint, good)
  assert.equal(timestamp, Date.UTC(2021, 6, 1) / 1000)
})

test('one good and one unknown signature: accepted, in both orders', async (t) => {
  if (!keys) return t.skip(MISSING)
  for (const by of [
    [good, other],
    [other, good],
  ]) {
    const { fingerprint } = await verifyInRelease(keys.sign(TEXT, by), ring([good]), signal)
    assert.equal(fingerprint, good)
  }
})

test('only unknown keys: refused', async (t) => {
  if (!keys) return t.skip(MISSING)
  await refused(keys.sign(TEXT, [other]), ring([good]), 'unknown-key')
})

test('an expired key: refused, although gpgv exits with 0', async (t) => {
  if (!keys) return t.skip(MISSING)
  const expired = keys.make('Expired', { at: '20200101T000000', expire: '20200201T000000' })
  const signed = keys.sign(TEXT, [expired], { at: '20200102T000000' })
  await refused(signed, ring([expired]), 'expired')
})

test('a revoked key: refused, although gpgv exits with 0', async (t) => {
  if (!keys) return t.skip(MISSING)
  const revoked = keys.make('Revoked')
  const signed = keys.sign(TEXT, [revoked])
  await verifyInRelease(signed, ring([revoked]), signal)
  keys.revoke(revoked)
  await refused(signed, ring([revoked]), 'revoked')
  const both = keys.sign(TEXT, [good])
  await verifyInRelease(both, ring([revoked, good]), signal)
})

test('SHA-1: refused, although gpgv exits with 0', async (t) => {
  if (!keys) return t.skip(MISSING)
  const old = keys.make('Old', { algorithm: 'rsa2048' })
  await verifyInRelease(keys.sign(TEXT, [old], { digest: 'SHA256' }), ring([old]), signal)
  await refused(keys.sign(TEXT, [old], { digest: 'SHA1' }), ring([old]), 'weak-digest')
})

test('a signature from the future tells its time', async (t) => {
  if (!keys) return t.skip(MISSING)
  const year = new Date().getUTCFullYear() + 2
  const signed = keys.sign(TEXT, [good], { at: `${year}0101T000000` })
  const { timestamp } = await verifyInRelease(signed, ring([good]), signal)
  assert.equal(timestamp, Date.UTC(year, 0, 1) / 1000)
})

test('one byte changed: refused, wherever it is', async (t) => {
  if (!keys) return t.skip(MISSING)
  const signed = keys.sign(TEXT, [good])
  const at = signed.indexOf('Suite')
  const changed = Buffer.from(signed)
  changed[at] = 'T'.charCodeAt(0)
  await refused(changed, ring([good]), 'bad')
})

test('cut or unsigned: refused', async (t) => {
  if (!keys) return t.skip(MISSING)
  const signed = keys.sign(TEXT, [good])
  await refused(Buffer.from(TEXT), ring([good]), 'unsigned')
  await refused(Buffer.alloc(0), ring([good]), 'unsigned')
  await refused(Buffer.from('<html>It works!</html>'), ring([good]), 'unsigned')
  await refused(signed.subarray(0, signed.length / 2), ring([good]), 'unsigned')
  const noSignature = signed
    .toString('latin1')
    .replace(/(BEGIN PGP SIGNATURE-----\n)[^]*(-----END)/, '$1\n$2')
  await assert.rejects(verifyInRelease(Buffer.from(noSignature, 'latin1'), ring([good]), signal), {
    code: 'S5_SIGNATURE_BAD',
  })
})

test('text before or after the armour, or two messages: refused', async (t) => {
  if (!keys) return t.skip(MISSING)
  const signed = keys.sign(TEXT, [good]).toString('latin1')
  for (const text of [
    `Suite: evil\n${signed}`,
    `${signed}Suite: evil\n`,
    `\n${signed}`,
    `${signed}\n${signed}`,
    signed + signed,
  ])
    await refused(Buffer.from(text, 'latin1'), ring([good]), 'outside-text')
  const { text } = await verifyInRelease(Buffer.from(`${signed}\n\n`, 'latin1'), ring([good]), signal)
  assert.equal(Buffer.from(text).toString(), TEXT)
})

test('what is armoured is dearmoured: .asc files, armour in .gpg files, inline blocks', async (t) => {
  if (!keys) return t.skip(MISSING)
  const signed = keys.sign(TEXT, [good])
  await verifyInRelease(signed, ring([other, good], { armor: true }), signal)
  const misnamed = join(keys.folder, 'armoured.gpg')
  const armored = keys.export([good], { armor: true })
  writeFileSync(misnamed, armored)
  await verifyInRelease(signed, { files: [misnamed], blocks: [], fingerprints: [] }, signal)
  const inline = { files: [], blocks: [armored.toString()], fingerprints: [] }
  await verifyInRelease(signed, inline, signal)
  await refused(keys.sign(TEXT, [other]), inline, 'unknown-key')
  const broken = { ...inline, blocks: [armored.toString().replace('-----END', '!!!')] }
  await refused(signed, broken, 'unknown-key')
})

test('several keyring files count together; one that is missing is named', async (t) => {
  if (!keys) return t.skip(MISSING)
  const signed = keys.sign(TEXT, [good])
  const files = [...ring([other]).files, ...ring([good]).files]
  await verifyInRelease(signed, { files, blocks: [], fingerprints: [] }, signal)
  await refused(signed, { files: [], blocks: [], fingerprints: [] }, 'unknown-key')
  await assert.rejects(
    verifyInRelease(signed, { files: ['/nowhere/ring.gpg'], blocks: [], fingerprints: [] }, signal),
    {
      code: 'S5_FILE_MISSING',
    },
  )
})

test('fingerprints narrow down whose signature counts', async (t) => {
  if (!keys) return t.skip(MISSING)
  const signed = keys.sign(TEXT, [good])
  const both = ring([good, other])
  await verifyInRelease(signed, { ...both, fingerprints: [good.toLowerCase()] }, signal)
  await verifyInRelease(signed, { ...both, fingerprints: [`${good}!`] }, signal)
  await refused(signed, { ...both, fingerprints: [other] }, 'unknown-key')
  await refused(signed, { ...both, fingerprints: [`${other}!`] }, 'unknown-key')
})

test('the keys of the person who runs it do not count', async (t) => {
  if (!keys) return t.skip(MISSING)
  const before = process.env['GNUPGHOME']
  process.env['GNUPGHOME'] = keys.folder
  try {
    await refused(keys.sign(TEXT, [other]), ring([good]), 'unknown-key')
  } finally {
    if (before === undefined) Reflect.deleteProperty(process.env, 'GNUPGHOME')
    else process.env['GNUPGHOME'] = before
  }
})

test('detached signatures, binary and armoured', async (t) => {
  if (!keys) return t.skip(MISSING)
  const bytes = Buffer.from('index')
  for (const armor of [false, true]) {
    const signature = keys.detach(bytes, good, { armor })
    const { fingerprint, text } = await verifyDetached(bytes, signature, ring([good]), signal, 'index.yaml')
    assert.deepEqual([fingerprint, Buffer.from(text).toString()], [good, 'index'])
    await assert.rejects(verifyDetached(Buffer.from('Index'), signature, ring([good]), signal, 'x'), {
      code: 'S5_SIGNATURE_BAD',
    })
  }
  await assert.rejects(verifyDetached(bytes, Buffer.alloc(0), ring([good]), signal, 'x'), {
    code: 'S5_SIGNATURE_BAD',
  })
})

const VALID = (hash: string, fingerprint = 'A'.repeat(40), primary = fingerprint): string =>
  `[GNUPG:] VALIDSIG ${fingerprint} 2026-07-11 1783764997 0 4 0 22 ${hash} 01 ${primary}`

test('status lines are read by group, and only those of gpgv', () => {
  const A = 'A'.repeat(40)
  const good = ['[GNUPG:] NEWSIG', '[GNUPG:] GOODSIG AAAA x', VALID('10')]
  assert.deepEqual(judgeStatus(good.join('\n'), []), { fingerprint: A, timestamp: 1783764997 })
  const judged = (...lines: string[]): unknown => {
    const result = judgeStatus(lines.join('\n'), [])
    return 'problem' in result ? result.problem : 'accepted'
  }
  assert.equal(judged(), 'unsigned')
  assert.equal(judged('gpgv: [GNUPG:] NEWSIG', '[GNUPG:] NODATA 1'), 'unsigned')
  assert.equal(judged(...good, '[GNUPG:] NEWSIG', '[GNUPG:] BADSIG BBBB y'), 'bad')
  assert.equal(judged(...good, '[GNUPG:] ERROR proc_pkt.plaintext 89'), 'bad')
  assert.equal(judged(...good.slice(0, 2)), 'unknown-key')
  assert.equal(
    judged('[GNUPG:] NEWSIG', '[GNUPG:] GOODSIG AAAA x', '[GNUPG:] NEWSIG', VALID('10')),
    'unknown-key',
  )
  for (const weak of ['1', '2', '3'])
    assert.equal(judged('[GNUPG:] NEWSIG', '[GNUPG:] GOODSIG AAAA x', VALID(weak)), 'weak-digest')
  assert.equal(judged('[GNUPG:] NEWSIG', '[GNUPG:] EXPSIG AAAA x', VALID('10')), 'expired')
  assert.equal(
    judged('[GNUPG:] NEWSIG', '[GNUPG:] GOODSIG A x', '[GNUPG:] REVKEYSIG A x', VALID('10')),
    'revoked',
  )
  const forged = 'GOODSIG AAAA [GNUPG:] NEWSIG'
  assert.equal(judged('[GNUPG:] NEWSIG', `[GNUPG:] ERRSIG BBBB ${forged}`, VALID('10')), 'unknown-key')
})

test('a subkey signs for its primary; with ! only for itself', () => {
  const [sub, primary] = ['B'.repeat(40), 'C'.repeat(40)]
  const status = ['[GNUPG:] NEWSIG', '[GNUPG:] GOODSIG B x', VALID('8', sub, primary)].join('\n')
  assert.ok('fingerprint' in judgeStatus(status, [primary]))
  assert.ok('fingerprint' in judgeStatus(status, [`${sub}!`]))
  assert.ok('problem' in judgeStatus(status, [`${primary}!`]))
})
