/** Locks between processes. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { isStage5Error, type Stage5Error } from '../../src/base/errors.ts'
import { type LockMode, takeLock } from '../../src/host/lock.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'

const MODULE = new URL('../../src/host/lock.ts', import.meta.url).href

/** A process that holds a lock until it dies. */
async function holder(t: TestContext, path: string, mode: LockMode): Promise<ChildProcess> {
  const code = `const { takeLock } = await import(${JSON.stringify(MODULE)})
    await takeLock(${JSON.stringify(path)}, ${JSON.stringify(mode)})
    console.log('held'); setInterval(() => {}, 1e6)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}

test('shared locks stand side by side, also with another process', async (t) => {
  using directory = temporaryDirectory()
  const path = join(directory.path, 'lock')
  const other = await holder(t, path, 'shared')
  using first = await takeLock(path, 'shared')
  using second = await takeLock(path, 'shared')
  assert.deepEqual([first.mode, second.mode], ['shared', 'shared'])
  await kill(other)
})

test('an exclusive lock is refused while another process holds it, and says which', async (t) => {
  using directory = temporaryDirectory()
  const path = join(directory.path, 'lock')
  const other = await holder(t, path, 'shared')
  await assert.rejects(
    takeLock(path, 'exclusive'),
    (error: Stage5Error) =>
      isStage5Error(error, 'S5_LOCK_BUSY') && error.message.includes(`held by ${other.pid} (`),
  )
  await kill(other)
})

test('a lock is free again when its holder was killed', async (t) => {
  using directory = temporaryDirectory()
  const path = join(directory.path, 'lock')
  const other = await holder(t, path, 'exclusive')
  await assert.rejects(takeLock(path, 'shared'), { code: 'S5_LOCK_BUSY' })
  let holders: readonly string[] = []
  const waiting = takeLock(path, 'shared', { waitMs: 10_000, waiting: (who) => (holders = who) })
  await kill(other)
  using lock = await waiting
  assert.equal(lock.mode, 'shared')
  assert.ok(holders.some((who) => who.startsWith(`${other.pid}`)))
})

test('a lock excludes others of the same process', async () => {
  using directory = temporaryDirectory()
  const path = join(directory.path, 'lock')
  const lock = await takeLock(path, 'exclusive')
  await assert.rejects(takeLock(path, 'shared'), { code: 'S5_LOCK_BUSY' })
  lock[Symbol.dispose]()
  lock[Symbol.dispose]()
  using again = await takeLock(path, 'shared')
  assert.equal(again.mode, 'shared')
})

test('a lock that cannot change mode keeps its former one', async () => {
  using directory = temporaryDirectory()
  const path = join(directory.path, 'lock')
  using first = await takeLock(path, 'shared')
  const second = await takeLock(path, 'shared')
  await assert.rejects(first.change('exclusive'), { code: 'S5_LOCK_BUSY' })
  assert.equal(first.mode, 'shared')
  second[Symbol.dispose]()
  await assert.rejects(takeLock(path, 'exclusive'), { code: 'S5_LOCK_BUSY' })
  await first.change('exclusive')
  await assert.rejects(takeLock(path, 'shared'), { code: 'S5_LOCK_BUSY' })
})

test('waiting for a lock ends with the signal', async () => {
  using directory = temporaryDirectory()
  const path = join(directory.path, 'lock')
  using held = await takeLock(path, 'exclusive')
  assert.equal(held.mode, 'exclusive')
  await assert.rejects(takeLock(path, 'shared', { waitMs: 60_000, signal: AbortSignal.timeout(30) }), {
    name: 'AbortError',
  })
})

test('a lock that cannot be made says where', async () => {
  await assert.rejects(takeLock('/nonexistent/lock', 'shared'), {
    code: 'S5_DISK_FAILED',
    message: /^\/nonexistent\/lock: /,
  })
})
