import assert from 'node:assert/strict'
import { test } from 'node:test'
import { certs } from '../../src/stage/certs.ts'
import { certificatesOf, subjectHash } from '../../src/stage/subject-hash.ts'
import { run } from './scene.ts'

// openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj SUBJECT -out -
const ONE = `-----BEGIN CERTIFICATE-----
MIIBpzCCAU2gAwIBAgIUMeUbgRpa1E3abrz70YCmYngeOH8wCgYIKoZIzj0EAwIw
KTETMBEGA1UECgwKU3RhZ2UgRml2ZTESMBAGA1UEAwwJT25lICBSb290MB4XDTI2
MTEyMTA0MjQzMFoXDTM2MTExODA0MjQzMFowKTETMBEGA1UECgwKU3RhZ2UgRml2
ZTESMBAGA1UEAwwJT25lICBSb290MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
YFn6oJaMnxdOsyDFRmSJ2jiFhqx+OQrXSlMTftl6htkwa1OlXzB4PhoXJUe4wmZ6
E79d0Ss3LIVps7IHwb28caNTMFEwHQYDVR0OBBYEFFAAztUp27GAlf/vRgic4WCC
rE9tMB8GA1UdIwQYMBaAFFAAztUp27GAlf/vRgic4WCCrE9tMA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgILFye5dpnC9aDGqv7gC3VTFb9fN0ptBq
233KhLtZc4ECIQCXw/QwHtUMTJIwj7/R5Pwgfy5/hOFCnmwWCaiUmukxQQ==
-----END CERTIFICATE-----
`
const TWO = `-----BEGIN CERTIFICATE-----
MIIBcTCCARegAwIBAgIUHHUtfib9XRwRHKayI+mau5e5NiAwCgYIKoZIzj0EAwIw
DjEMMAoGA1UEAwwDVHdvMB4XDTI2MTEyMTA0MjQzMFoXDTM2MTExODA0MjQzMFow
DjEMMAoGA1UEAwwDVHdvMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYC5inWtq
hnWinYNH6kDuyZv1TNZayMqDuKuhcWj1yjT75nZS3I76fZAntAYoYLd2lyyfJDSa
SlbphTyWs2sJeqNTMFEwHQYDVR0OBBYEFMVjcb2VktTH29FcG/Ikran76MaxMB8G
A1UdIwQYMBaAFMVjcb2VktTH29FcG/Ikran76MaxMA8GA1UdEwEB/wQFMAMBAf8w
CgYIKoZIzj0EAwIDSAAwRQIgUjSmmeYxdUrwYOaRUgpvGmeLEKQsmTJJBw/W/DQt
NDMCIQC8b8G6cVKG3FST9EkUR4tiYJS39RDa3Dz2MSBfBbKmrA==
-----END CERTIFICATE-----
`
/** The same subject as ONE, another key. */
const ONE_AGAIN = `-----BEGIN CERTIFICATE-----
MIIBpjCCAU2gAwIBAgIUGnfoxffv/C8/U4PgQSX2BOz5pbQwCgYIKoZIzj0EAwIw
KTETMBEGA1UECgwKU3RhZ2UgRml2ZTESMBAGA1UEAwwJT25lICBSb290MB4XDTI2
MTEyMTA0MjQzMVoXDTM2MTExODA0MjQzMVowKTETMBEGA1UECgwKU3RhZ2UgRml2
ZTESMBAGA1UEAwwJT25lICBSb290MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
v+pqzbw122nfoZ6XgndRdOAN4zUEXdt86Sx91iTXeUgEvK/2+WST85bxj5SIsl4S
7EAhLvZs3z6WR+sJXUYa06NTMFEwHQYDVR0OBBYEFGdF+raouJg4hkyIkeKsikPp
eXQ9MB8GA1UdIwQYMBaAFGdF+raouJg4hkyIkeKsikPpeXQ9MA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgetekVo/9gxgLtO6nc86WFwO9tN8kDTm3
VyVryb/CmAECIFBZLYShEomfohHyd+XdyPhbN+BjoiPH/Cw+qqWIWy7e
-----END CERTIFICATE-----
`

const FOLDER = 'usr/share/ca-certificates/test'

test('the certs stage makes a bundle, links by name and links by hash', async () => {
  const { text, inode, paths } = await run(certs, {
    [`${FOLDER}/One (a).crt`]: ONE,
    [`${FOLDER}/two.crt`]: TWO,
    [`${FOLDER}/README`]: 'no certificate',
    'etc/stray.crt': ONE_AGAIN,
  })
  const target = (path: string): string | undefined => {
    const found = inode(`etc/ssl/certs/${path}`)
    return found?.type === 'symlink' ? found.target : undefined
  }
  assert.equal(await text('etc/ssl/certs/ca-certificates.crt'), `${ONE}${TWO}`)
  assert.equal(target('One_=a=.pem'), `/${FOLDER}/One (a).crt`)
  assert.equal(target('652db379.0'), 'One_=a=.pem')
  assert.equal(target('57978b99.0'), 'two.pem')
  assert.equal(paths().filter((path) => path.startsWith('etc/ssl/certs/')).length, 5)
})

test('certificates of one subject are numbered, equal ones are bundled once', async () => {
  const { text, inode } = await run(certs, {
    [`${FOLDER}/a.crt`]: ONE,
    [`${FOLDER}/b.crt`]: ONE_AGAIN,
    [`${FOLDER}/c.crt`]: ONE,
  })
  const second = inode('etc/ssl/certs/652db379.1')
  assert.equal(second?.type === 'symlink' && second.target, 'b.pem')
  assert.equal(await text('etc/ssl/certs/ca-certificates.crt'), `${ONE}${ONE_AGAIN}`)
})

test('a certificate that the configuration distrusts is left out', async () => {
  const { text, inode } = await run(certs, {
    [`${FOLDER}/one.crt`]: ONE,
    [`${FOLDER}/two.crt`]: TWO,
    'etc/ca-certificates.conf': '# comment\n!test/one.crt\ntest/two.crt\n',
  })
  assert.equal(await text('etc/ssl/certs/ca-certificates.crt'), TWO)
  assert.equal(inode('etc/ssl/certs/one.pem'), undefined)
})

test('the certs stage refuses what is no certificate, and leaves a root without any alone', async () => {
  await assert.rejects(run(certs, { [`${FOLDER}/x.crt`]: 'hello' }), {
    code: 'S5_STAGE_INVALID',
    message: /expected a PEM certificate in/,
  })
  assert.deepEqual((await run(certs, { 'etc/x': '' })).paths(), ['', 'etc', 'etc/x'])
})

test('subjectHash refuses every cut of a certificate', () => {
  const der = certificatesOf(ONE)[0]?.der as Uint8Array
  assert.equal(subjectHash(der, 'f'), '652db379')
  for (let size = 0; size < der.length; size++)
    assert.throws(() => subjectHash(der.subarray(0, size), 'f'), { code: 'S5_STAGE_INVALID' })
})
