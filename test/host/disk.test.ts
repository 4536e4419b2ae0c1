/** The disk's helpers: short writes and reads, and what errors mean to people. */
import assert from 'node:assert/strict'
import { closeSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { type Disk, diskError, readAll, realDisk, writeAll } from '../../src/host/disk.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'

const bytes = Buffer.from(Array.from({ length: 1_000 }, (_, at) => at % 251))
const lazy: Disk = {
  ...realDisk,
  write: (fd, from, at, length) => realDisk.write(fd, from, at, Math.min(length, 7)),
  read: (fd, into, at, length, position) => realDisk.read(fd, into, at, Math.min(length, 11), position),
}

test('writeAll and readAll finish what single calls do in part', () => {
  using directory = temporaryDirectory()
  const path = join(directory.path, 'file')
  const fd = lazy.open(path, 'create')
  writeAll(lazy, fd, bytes, 10, 900)
  closeSync(fd)
  assert.deepEqual(readFileSync(path), bytes.subarray(10, 910))
  const reading = lazy.open(path, 'read')
  const found = Buffer.alloc(500)
  assert.equal(readAll(lazy, reading, found, 500, 400), true)
  assert.deepEqual(found, bytes.subarray(410, 910))
  assert.equal(readAll(lazy, reading, found, 500, 401), false)
  closeSync(reading)
})

test('writeAll gives up when a disk takes nothing', () => {
  using directory = temporaryDirectory()
  const fd = realDisk.open(join(directory.path, 'file'), 'create')
  assert.throws(() => writeAll({ ...realDisk, write: () => 0 }, fd, bytes, 0, 10), { code: 'EIO' })
  closeSync(fd)
})

test('create refuses what exists, also through a dangling symlink', async () => {
  using directory = temporaryDirectory()
  const { symlinkSync } = await import('node:fs')
  symlinkSync('nowhere', join(directory.path, 'link'))
  assert.throws(() => realDisk.open(join(directory.path, 'link'), 'create'), { code: 'EEXIST' })
})

test('system errors become codes that people can look up, other errors stay', () => {
  const errno = (code: string): Error => Object.assign(new Error(`${code}: no`), { code })
  assert.ok(isStage5Error(diskError(errno('ENOSPC'), 'x'), 'S5_DISK_FULL'))
  assert.ok(isStage5Error(diskError(errno('EDQUOT'), 'x'), 'S5_DISK_FULL'))
  assert.ok(isStage5Error(diskError(errno('EIO'), 'x'), 'S5_DISK_FAILED'))
  for (const other of [
    errno('ERR_INVALID_ARG_TYPE'),
    new RangeError('bug'),
    new DOMException('stop', 'AbortError'),
  ])
    assert.equal(diskError(other, 'x'), other)
})

test('sync reports a path that is not there', async () => {
  await assert.rejects(realDisk.sync('/nonexistent/file', 'file'), { code: 'ENOENT' })
  const error: unknown = await realDisk
    .sync('/nonexistent/file', 'filesystem')
    .catch((found: unknown) => found)
  assert.ok(isStage5Error(diskError(error, 'x'), 'S5_DISK_FAILED'))
})

test('a temporary directory is private and goes with its owner', async () => {
  const { existsSync, statSync, writeFileSync } = await import('node:fs')
  let path: string
  {
    using directory = temporaryDirectory()
    path = directory.path
    assert.equal(statSync(path).mode & 0o777, 0o700)
    writeFileSync(join(path, 'inside'), 'x')
  }
  assert.equal(existsSync(path), false)
})
