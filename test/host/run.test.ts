/** run: real programs, every way they can end. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import test from 'node:test'
import { isStage5Error, type Stage5Error } from '../../src/base/errors.ts'
import { run, TOOLS } from '../../src/host/run.ts'

test('run gives output, exit code and the end of stderr', async () => {
  const { code, stdout, stderr } = await run(['sh', '-c', 'cat; echo oops >&2'], { input: 'hello' })
  assert.deepEqual([code, stdout.toString(), stderr], [0, 'hello', 'oops\n'])
})

test('run passes arguments as they are, never through a shell', async () => {
  const { stdout } = await run(['printf', '%s', '$(id) `id` ; "x" *'])
  assert.equal(stdout.toString(), '$(id) `id` ; "x" *')
})

test('run streams input from an iterable larger than any pipe', async () => {
  async function* blocks(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < 64; at++) yield Buffer.alloc(65_536, at)
  }
  const { stdout } = await run(['wc', '-c'], { input: blocks() })
  assert.equal(Number(stdout.toString()), 64 * 65_536)
})

test('run does not fail when the program closes its input early', async () => {
  const { code } = await run(['true'], { input: Buffer.alloc(1 << 20) })
  assert.equal(code, 0)
})

test('run does not wait for what a program left behind with its pipes', async () => {
  const orphan = (script: string): Promise<number> => {
    const began = performance.now()
    return run(['sh', '-c', script], { timeoutMs: 300 }).then(
      () => assert.fail('it ended'),
      (error: unknown) => {
        assert.ok(isStage5Error(error, 'S5_TOOL_FAILED'))
        return performance.now() - began
      },
    )
  }
  for (const script of ['sleep 60; true', 'sleep 60 & exit 0'])
    assert.ok((await orphan(script)) < 30_000, script)
})

test('run reports a failed tool with the last lines of its stderr', async () => {
  await assert.rejects(
    run(['sh', '-c', 'for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 3']),
    (error: Stage5Error) =>
      isStage5Error(error, 'S5_TOOL_FAILED') &&
      /exit code 3/.test(error.message) &&
      /line 3\n {2}line 4\n {2}line 5\n {2}line 6\n {2}line 7$/.test(error.message) &&
      !/line 2/.test(error.message),
  )
})

test('run accepts named exit codes', async () => {
  assert.equal((await run(['sh', '-c', 'exit 3'], { accept: [3] })).code, 3)
  assert.equal((await run(['sh', '-c', 'exit 9'], { accept: 'any' })).code, 9)
  await assert.rejects(run(['true'], { accept: [3] }), { code: 'S5_TOOL_FAILED' })
})

test('run names the package of a missing tool', async () => {
  await assert.rejects(run(['gpgv', '--version'], { env: { PATH: '' } }), {
    code: 'S5_TOOL_MISSING',
    hint: 'apt install gpgv',
  })
  await assert.rejects(run(['stage5-no-such-tool']), { code: 'S5_TOOL_MISSING' })
})

test('run says when the working directory is missing instead of blaming the tool', async () => {
  await assert.rejects(run(['true'], { cwd: '/nonexistent/folder' }), { code: 'S5_FILE_MISSING' })
})

test('run ends the child when the signal aborts, also one that ignores SIGTERM', async () => {
  const started = performance.now()
  const stop = new AbortController()
  const running = run(['sh', '-c', 'trap "" TERM; echo x; while :; do :; done'], { signal: stop.signal })
  setTimeout(() => stop.abort(new Error('stopped by test')), 100)
  await assert.rejects(running, { message: 'stopped by test' })
  assert.ok(performance.now() - started < 30_000)
})

test('run ends the child at the timeout', async () => {
  await assert.rejects(run(['sleep', '60'], { timeoutMs: 50 }), {
    code: 'S5_TOOL_FAILED',
    message: /within 50 ms/,
  })
})

test('run refuses more output than allowed', async () => {
  await assert.rejects(run(['head', '-c', '100000', '/dev/zero'], { stdoutLimit: 1_000 }), {
    code: 'S5_TOOL_FAILED',
    message: /more than 1000 bytes/,
  })
  const { stdout } = await run(['head', '-c', '1000', '/dev/zero'], { stdoutLimit: 1_000 })
  assert.equal(stdout.length, 1_000)
})

test('run reports death by signal', async () => {
  await assert.rejects(run(['sh', '-c', 'kill -9 $$']), { message: /SIGKILL/ })
})

test('the table of tools is sorted, unique and complete', () => {
  const names = TOOLS.map(({ name }) => name)
  assert.deepEqual(names, [...new Set(names)].sort())
  for (const tool of TOOLS) assert.ok(tool.debianPackage !== '' && tool.purpose !== '')
})

test('`stage5 doctor` knows each program that the source calls by name', () => {
  const source = resolve(import.meta.dirname, '../../src')
  const called = readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .flatMap((path) => [
      ...readFileSync(join(source, path), 'utf8').matchAll(/\b(?:run\(\[|findTool\()'([\w.-]+)'/g),
    ])
    .map(([, name]) => name as string)
  assert.ok(called.length > 10)
  const known = new Set(['sh', ...TOOLS.map(({ name }) => name)])
  assert.deepEqual(
    called.filter((name) => !known.has(name)),
    [],
  )
})
