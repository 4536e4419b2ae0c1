/** Boot records: what is believed, and each reason for a no. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Digest, digestOf } from '../../src/base/digest.ts'
import { isStage5Error } from '../../src/base/errors.ts'
import {
  type BootRecordBody,
  readBootRecord,
  type TestResult,
  verifyBootRecord,
  writeBootRecord,
} from '../../src/cli/boot-record.ts'
import { loadPrivateKey, loadPublicKey, newKey, type PublicKey } from '../../src/host/signing.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'

const MANIFEST = digestOf('manifest')
const PASSED: TestResult = {
  name: 'boots',
  image: 'kernel',
  firmware: 'none',
  result: 'passed',
  checks: 1,
  readyMs: 1,
  ms: 2,
}

function body(results: readonly TestResult[], manifest: Digest = MANIFEST): BootRecordBody {
  return {
    stage5: 1,
    image: { id: 'web', version: '1', arch: 'amd64' },
    manifest,
    files: [{ name: 'web_1.squashfs', digest: digestOf('base') }],
    results,
    passed: results.every(({ result }) => result === 'passed'),
    qemu: 'QEMU emulator version 7.2.22',
    accel: 'tcg',
  }
}

/** The verdict on a record after it was written, perhaps tampered with, and read back. */
async function verdict(
  folder: string,
  record: BootRecordBody,
  keys: readonly PublicKey[],
  tamper: (path: string) => void = () => {},
): Promise<string> {
  const own = await loadPrivateKey(join(folder, 'own.key'))
  const name = await writeBootRecord(folder, 'web_1', record, own)
  tamper(join(folder, name))
  const read = await readBootRecord(folder)
  assert.ok(read)
  return verifyBootRecord(read, MANIFEST, keys)
}

test('a signed record of this image, in which all passed, is ok; everything else has its reason', async () => {
  using folder = temporaryDirectory()
  const { path } = folder
  assert.equal(await readBootRecord(path), undefined)
  const trusted = await loadPublicKey((await newKey(path, 'own')).publicFile)
  const other = await loadPublicKey((await newKey(path, 'other')).publicFile)
  const edit = (file: string): void =>
    writeFileSync(file, readFileSync(file, 'utf8').replace('"checks": 1', '"checks": 2'))
  const failed: TestResult = { ...PASSED, name: 'serves', result: 'failed', reason: 'no answer' }

  assert.equal(await verdict(path, body([PASSED]), [trusted]), 'ok')
  assert.equal(await verdict(path, body([PASSED]), [other, trusted]), 'ok')
  assert.equal(await verdict(path, body([PASSED]), []), 'no public key is trusted')
  const unknown = 'no trusted key signed the boot record as it is'
  assert.equal(await verdict(path, body([PASSED]), [other]), unknown)
  assert.equal(await verdict(path, body([PASSED]), [trusted], edit), unknown)
  assert.equal(
    await verdict(path, body([PASSED]), [trusted], (file) => rmSync(`${file}.sig`)),
    'the boot record is not signed',
  )
  assert.match(
    await verdict(path, body([PASSED], digestOf('x')), [trusted]),
    /^the boot record is about another/,
  )
  assert.equal(await verdict(path, body([PASSED, failed]), [trusted]), 'the boot test failed: serves')
  assert.equal(
    await verdict(path, { ...body([failed]), passed: true }, [trusted]),
    'the boot test failed: serves',
  )
  assert.equal(await verdict(path, body([]), [trusted]), 'nothing was tested')
  // A signature under the id of a trusted key, made by another one.
  const forge = (file: string): void => {
    const [first] = JSON.parse(readFileSync(`${file}.sig`, 'utf8')) as [{ keyid: string; sig: string }]
    writeFileSync(`${file}.sig`, JSON.stringify([{ ...first, keyid: other.keyid }]))
  }
  assert.equal(await verdict(path, body([PASSED]), [other], forge), unknown)
  assert.deepEqual(
    readdirSync(path).filter((name) => name.includes('tmp')),
    [],
  )
})

test('what is no record is refused, not believed', async () => {
  using folder = temporaryDirectory()
  await newKey(folder.path, 'own')
  for (const text of ['{', '{}', '{"stage5": 2, "results": []}', 'null'])
    await assert.rejects(
      async () => {
        writeFileSync(join(folder.path, 'web_1.boot.json'), text)
        await readBootRecord(folder.path)
      },
      (error) => isStage5Error(error, 'S5_SIGNATURE_BAD'),
      text,
    )
})
