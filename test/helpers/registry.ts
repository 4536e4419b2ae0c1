/** The registry of Debian's docker-registry, on a port of its own. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from './fe-etcd.ts'

/** @param more lines of its configuration */
export async function startRegistry(
  folder: string,
  more: readonly string[] = [],
): Promise<{ host: string } & AsyncDisposable> {
  const port = await freePort()
  const config = join(folder, 'registry.yml')
  const lines = [
    'version: 0.1',
    'log: {level: error}',
    `storage: {filesystem: {rootdirectory: ${join(folder, 'registry')}}, delete: {enabled: true}}`,
    `http: {addr: "127.0.0.1:${port}"}`,
    ...more,
  ]
  writeFileSync(config, `${lines.join('\n')}\n`)
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' })
  const closed = new Promise((done) => child.once('close', done))
  for (;;) {
    const up = await fetch(`http://127.0.0.1:${port}/v2/`).catch(() => undefined)
    if (up?.ok === true || up?.status === 401) break
    assert.equal(child.exitCode, null, 'the registry ended')
    await sleep(100)
  }
  return {
    host: `127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      child.kill()
      await closed
    },
  }
}
