import assert from 'node:assert/strict'
import { lstatSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { cpioOf } from '../../src/emit/initramfs.ts'
import { readCpio } from '../../src/format/cpio.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { memoryContents } from '../../src/tree/contents.ts'
import { type Entry, type Inode, treeOf } from '../../src/tree/tree.ts'

const hasCpio = findTool('cpio') !== undefined
const isRoot = process.getuid?.() === 0
const contents = memoryContents()
const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 1_700_000_000 }

async function archive(): Promise<Buffer> {
  const file = async (text: string, mode = 0o644): Promise<Inode> => {
    const content = await contents.write(Buffer.from(text))
    return { ...meta, type: 'file', mode, size: text.length, content }
  }
  const entry = (path: string, inode: Inode): Entry => ({ path, owner: '', inode })
  const twin = await file('linked', 0o4755)
  const entries = [
    entry('', { type: 'dir', ...meta, mode: 0o755 }),
    entry('dir', { type: 'dir', ...meta, mode: 0o2750 }),
    entry('dir/one', await file('1')),
    entry('dir/three', await file('333')),
    entry('dir/two words', await file('22')),
    entry('hard1', twin),
    entry('hard2', twin),
    entry('hard3', twin),
    entry('link', { type: 'symlink', ...meta, mode: 0o777, target: 'dir/two words' }),
    entry('n\xc3\xa4me', await file('utf8')),
    entry('pipe', { type: 'fifo', ...meta }),
    ...(isRoot ? [entry('null', { type: 'char', ...meta, major: 1, minor: 3 } as const)] : []),
  ]
  const parts: Uint8Array[] = []
  for await (const bytes of cpioOf(treeOf(entries), { contents, signal: new AbortController().signal }))
    parts.push(bytes)
  return Buffer.concat(parts)
}

test('cpio lists and unpacks our archive', { skip: hasCpio ? false : 'needs cpio' }, async () => {
  using folder = temporaryDirectory()
  const bytes = await archive()
  const listed = await run(['cpio', '-t', '--quiet'], { input: bytes })
  assert.deepEqual(
    listed.stdout.toString('latin1').trimEnd().split('\n'),
    readCpio(bytes, 'x').entries.map(({ name }) => name),
  )
  assert.equal(listed.stderr, '')
  await run(['cpio', '-i', '-m', '--quiet'], { input: bytes, cwd: folder.path })
  const stat = (name: string) => lstatSync(join(folder.path, name))
  const body = (name: string) => readFileSync(join(folder.path, name), 'latin1')
  assert.deepEqual(
    [body('dir/one'), body('dir/three'), body('dir/two words'), body('näme')],
    ['1', '333', '22', 'utf8'],
  )
  assert.equal(body('hard1'), 'linked')
  assert.equal(stat('hard1').mode & 0o7777, 0o4755)
  assert.equal(stat('hard1').nlink, 3)
  assert.equal(stat('hard3').ino, stat('hard1').ino)
  assert.equal(stat('dir').mode & 0o7777, 0o2750)
  assert.equal(stat('dir/one').mtimeMs, 1_700_000_000_000)
  assert.equal(readlinkSync(join(folder.path, 'link')), 'dir/two words')
  assert.ok(stat('pipe').isFIFO())
  if (isRoot) assert.equal(stat('null').rdev, 0x103)
})

test('we read what cpio writes', { skip: hasCpio ? false : 'needs cpio' }, async () => {
  using folder = temporaryDirectory()
  await run(['cpio', '-i', '-m', '--quiet'], { input: await archive(), cwd: folder.path })
  writeFileSync(join(folder.path, 'more'), 'x'.repeat(70_000))
  const names = ['dir', 'dir/one', 'hard1', 'hard2', 'hard3', 'link', 'more', 'pipe']
  const made = await run(['cpio', '-o', '-H', 'newc', '--quiet'], {
    input: `${names.join('\n')}\n`,
    cwd: folder.path,
  })
  const { entries } = readCpio(made.stdout, 'x')
  assert.deepEqual(
    entries.map(({ name, size }) => [/hard[12]/.test(name) ? 'hard' : name, size]),
    [
      ['dir', 0],
      ['dir/one', 1],
      ['hard', 0],
      ['hard', 0],
      ['hard3', 6],
      ['link', 13],
      ['more', 70_000],
      ['pipe', 0],
    ],
  )
  assert.equal(Buffer.from(entries[4]?.body ?? []).toString(), 'linked')
})
