/** `build --verify-incremental`: a remembered block or root that is wrong is found, and nothing else is blamed. */
import assert from 'node:assert/strict'
import { existsSync, globSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { realDisk } from '../../src/host/disk.ts'
import { openCatalog } from '../../src/store/catalog.ts'
import { beginTransaction } from '../../src/store/transaction.ts'
import { expectConsole, stage5 } from '../helpers/console.ts'
import { FILED, packedProject, type Project } from '../helpers/project.ts'

let project: Project
const at = (path: string): string => join(project.directory, path)
const LINE = 'stage5 has a long line that a compressor likes\n'

before(async () => {
  project = await packedProject()
  writeFileSync(at('stages/filed.yaml'), FILED)
  mkdirSync(at('profiles/files'), { recursive: true })
  writeFileSync(at('profiles/files/long'), LINE.repeat(6000))
  writeFileSync(
    at('profiles/long.yaml'),
    [
      'stage5: 1',
      'repositories: [house]',
      'packages: [app/shell]',
      'kernel: none',
      'images: [squashfs, dir]',
      'pipeline: filed',
      'files: [{path: /etc/long, from: files/long}]',
      '',
    ].join('\n'),
  )
})
after(() => project[Symbol.dispose]())

test('what is remembered makes the same bytes, and nothing of the clean build is left', async (t) => {
  assert.equal((await stage5(project.directory, ['build', 'long'])).code, 0)
  await expectConsole(t, 'verify-incremental', project.directory, ['build', 'long', '--verify-incremental'])
  assert.deepEqual(
    readdirSync(at('.store')).filter((name) => name.startsWith('stage5-')),
    [],
  )
  assert.ok(!existsSync(at('.stage5/clean')))
})

test('a wrong block is found: the file is named, and the clean build kept', async () => {
  const [image = ''] = globSync(at('out/long/*.squashfs'))
  const right = readFileSync(image)
  await spoilBlocks()
  const ran = await stage5(project.directory, ['build', 'long', '--verify-incremental', '--json'])
  assert.equal(ran.code, 1)
  const { error } = JSON.parse(ran.stdout) as {
    error: { code: string; message: string; data: { clean: string } }
  }
  assert.equal(error.code, 'S5_BUILD_DIFFERS')
  assert.match(error.message, /squashfs: (?:other bytes from \d+ on|\d+ bytes, expected \d+)/)
  const [clean = ''] = globSync(join(error.data.clean, '*.squashfs'))
  assert.deepEqual(readFileSync(clean), right)
})

/** Every remembered block becomes other bytes under the same key. */
async function spoilBlocks(): Promise<void> {
  const root = at('.store/v1')
  const catalog = openCatalog(root)
  const keys = [...catalog.entries()].flatMap(({ kind, key }) => (kind === 'block' ? [key] : []))
  catalog[Symbol.dispose]()
  assert.ok(keys.length > 0)
  for (const path of globSync(join(root, 'segments/*'))) rmSync(path, { recursive: true })
  const empty = openCatalog(root)
  const spoilt = beginTransaction(root, realDisk, empty)
  for (const key of keys) spoilt.put('block', key, Buffer.from('no block of any compressor'))
  await spoilt.commit()
  empty[Symbol.dispose]()
}
