/** `checkout --protect` on file systems that offer it: btrfs and XFS share blocks, ext4 may have fs-verity. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { findTool } from '../../src/host/run.ts'
import { bytesOf, pack, type ManyPackage } from '../helpers/i4f-many.ts'
import { stage5 } from '../helpers/console.ts'
import { emptyProject, type Project } from '../helpers/project.ts'

const skip = process.getuid?.() === 0 ? undefined : 'needs root, to mount'
const LARGE = 24 << 20
let top: string
let packed: Project

/** One package with one large file, so that shared blocks can be seen from outside. */
const PACKAGE: ManyPackage = {
  name: 'many/large',
  version: '1.0.0',
  files: { 'usr/lib/large': bytesOf('large', LARGE), 'etc/conf': Buffer.from('as packed\n') },
}

before(async () => {
  if (skip) return
  top = mkdtempSync(join(tmpdir(), 'stage5-protect-'))
  packed = emptyProject()
  writeFileSync(join(packed.directory, 'stages/bare.yaml'), 'stage5: 1\nstages: [check, clamp]\n')
  writeFileSync(
    join(packed.directory, 'profiles/large.yaml'),
    'stage5: 1\nrepositories: [house]\npackages: [many/large]\nkernel: none\nimages: [squashfs]\npipeline: bare\n',
  )
  await pack(packed, [PACKAGE])
  rmSync(join(packed.directory, 'roots'), { recursive: true })
})
after(() => {
  if (skip) return
  packed[Symbol.dispose]()
  rmSync(top, { recursive: true, force: true })
})

interface Mounted extends Disposable {
  /** A project on a new file system, with its store on the same. */
  readonly directory: string
}

/** @returns why there is none, when the system does not have this file system */
function mounted(name: string, make: readonly string[], size: string): Mounted | string {
  const [tool = ''] = make
  if (!findTool(tool)) return `needs ${tool}`
  const [file, directory] = [join(top, `${name}.img`), join(top, name)]
  mkdirSync(directory)
  spawnSync('truncate', ['-s', size, file])
  const made = spawnSync(tool, [...make.slice(1), file], { encoding: 'utf8' })
  assert.equal(made.status, 0, made.stderr)
  if (spawnSync('mount', ['-o', 'loop', file, directory]).status !== 0) return `cannot mount ${name} here`
  cpSync(packed.directory, directory, { recursive: true })
  return {
    directory,
    [Symbol.dispose]: () => {
      spawnSync('umount', ['-l', directory])
      rmSync(file, { force: true })
    },
  }
}

async function must(directory: string, ...words: string[]): Promise<void> {
  const ran = await stage5(directory, words)
  assert.equal(ran.code, 0, ran.stderr)
}

/** Bytes in use on the file system, with everything written out. */
function used(directory: string): number {
  spawnSync('sync', ['-f', directory])
  const { blocks, bfree, bsize } = statfsSync(directory)
  return (blocks - bfree) * bsize
}

for (const [name, ...make] of [
  ['btrfs', 'mkfs.btrfs', '-q'],
  ['xfs', 'mkfs.xfs', '-q', '-m', 'reflink=1'],
] as const)
  test(`${name}: reflinked roots share blocks, and a change stays in its root`, { skip }, async (t) => {
    const place = mounted(name, make, '400M')
    if (typeof place === 'string') return t.skip(place)
    using at = place
    const { directory } = at
    await must(directory, 'build', 'large')
    await must(directory, 'checkout', 'large', 'guests/a', '--protect', 'reflink')
    const before = used(directory)
    for (const guest of ['b', 'c', 'd'])
      await must(directory, 'checkout', 'large', `guests/${guest}`, '--protect', 'reflink')
    const grown = used(directory) - before
    assert.ok(grown < LARGE / 4, `three more roots of ${LARGE} bytes took ${grown}`)
    t.diagnostic(`three more roots of ${LARGE} bytes took ${grown}`)

    appendFileSync(join(directory, 'guests/a/etc/conf'), 'edited\n')
    appendFileSync(join(directory, 'guests/a/usr/lib/large'), 'edited')
    assert.equal(readFileSync(join(directory, 'guests/b/etc/conf'), 'utf8'), 'as packed\n')
    assert.deepEqual(readFileSync(join(directory, 'guests/b/usr/lib/large')), PACKAGE.files['usr/lib/large'])
    for (const guest of ['b', 'c', 'd']) await must(directory, 'checkout', '--check', `guests/${guest}`)
    const changed = await stage5(directory, ['checkout', '--check', 'guests/a'])
    assert.equal(changed.code, 1)
    assert.match(changed.stdout, /~ \/etc\/conf \(content, mtime\)\n~ \/usr\/lib\/large \(content, mtime\)/)
    await must(directory, 'store', 'verify')
  })

test('ext4 with verity: nobody can change a shared file, or the kernel has no fs-verity and it is refused', {
  skip,
}, async (t) => {
  if (!findTool('fsverity')) return t.skip('needs fsverity')
  const place = mounted('ext4', ['mkfs.ext4', '-q', '-O', 'verity', '-b', '4096'], '300M')
  if (typeof place === 'string') return t.skip(place)
  using at = place
  const { directory } = at
  await must(directory, 'build', 'large')
  mkdirSync(join(directory, 'probe'))
  writeFileSync(join(directory, 'probe/file'), 'x')
  const canHave = spawnSync('fsverity', ['enable', join(directory, 'probe/file')]).status === 0
  t.diagnostic(canHave ? 'the kernel has fs-verity' : 'the kernel has no fs-verity')
  const ran = await stage5(directory, ['checkout', 'large', 'guests/a', '--protect', 'verity'])
  if (!canHave) {
    assert.equal(ran.code, 1)
    assert.match(ran.stderr, /S5_PROTECTION_UNSUPPORTED/)
    assert.deepEqual(readdirSync(join(directory, 'guests')), [])
    return
  }
  assert.equal(ran.code, 0, ran.stderr)
  assert.throws(() => appendFileSync(join(directory, 'guests/a/etc/conf'), 'x'), { code: 'EPERM' })
  assert.ok(existsSync(join(directory, 'guests/a/etc/conf')))
  await must(directory, 'checkout', '--check', 'guests/a')
})

test('reflink on ext4 and across file systems is refused before anything is made', { skip }, async (t) => {
  const place = mounted('plain', ['mkfs.ext4', '-q'], '200M')
  if (typeof place === 'string') return t.skip(place)
  using at = place
  const { directory } = at
  const ran = await stage5(directory, ['checkout', 'large', 'guests/a', '--protect', 'reflink'])
  assert.equal(ran.code, 1)
  assert.match(ran.stderr, /S5_PROTECTION_UNSUPPORTED/)
  const other = await stage5(directory, [
    'checkout',
    'large',
    join(top, 'elsewhere/a'),
    '--protect',
    'reflink',
  ])
  assert.match(other.stderr, /it is on another file system than the store/)
  assert.deepEqual(readdirSync(join(top, 'elsewhere')), [])
})
