/** etcd that speaks TLS only, with a certificate asked of its clients. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isStage5Error } from '../../src/base/errors.ts'
import { openEngine } from '../../src/engine/open.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { freePort } from '../helpers/fe-etcd.ts'

/** An authority, and a certificate of it for `server` and `client`, as PEM files. */
async function certificates(folder: string): Promise<void> {
  const openssl = async (...words: string[]): Promise<void> => {
    await run(['openssl', ...words], { cwd: folder })
  }
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout']
  await openssl('req', '-x509', ...key, 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=authority')
  for (const name of ['server', 'client']) {
    await openssl('req', ...key, `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`)
    // The gateway of a member calls the member itself, with the certificate of the server.
    const usage = name === 'server' ? 'serverAuth,clientAuth' : 'clientAuth'
    writeFileSync(join(folder, 'ext'), `subjectAltName=IP:127.0.0.1\nextendedKeyUsage=${usage}\n`)
    const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'ext']
    await openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, ...by)
  }
}

it('is used over TLS with the certificates of its address, and not without them', async (t) => {
  const missing = ['etcd', 'openssl'].find((tool) => findTool(tool) === undefined)
  if (missing !== undefined) return t.skip(`needs ${missing}`)
  using folder = temporaryDirectory()
  const directory = folder.path
  await certificates(directory)
  const [port, peer] = [await freePort(), await freePort()]
  const client = `https://127.0.0.1:${port}`
  const words = {
    'data-dir': 'data',
    'listen-client-urls': client,
    'advertise-client-urls': client,
    'listen-peer-urls': `http://127.0.0.1:${peer}`,
    'initial-advertise-peer-urls': `http://127.0.0.1:${peer}`,
    'initial-cluster': `default=http://127.0.0.1:${peer}`,
    'cert-file': 'server.pem',
    'key-file': 'server.key',
    'trusted-ca-file': 'ca.pem',
    'client-cert-auth': 'true',
    'log-level': 'panic',
  }
  const argv = Object.entries(words).map(([word, value]) => `--${word}=${value}`)
  const member = spawn('etcd', argv, { cwd: directory, stdio: 'ignore' })
  try {
    const address = `etcds://127.0.0.1:${port}/fleet`
    const certain = `${address}?ca=ca.pem&cert=client.pem&key=client.key`
    const opened = async () => {
      for (let left = 10; ; left--)
        try {
          return await openEngine(certain, { directory })
        } catch (error) {
          if (left === 0 || !isStage5Error(error, 'S5_ENGINE_UNAVAILABLE')) throw error
          await sleep(100)
        }
    }
    await using engine = await opened()
    const { revision } = await engine.list('/a/')
    const seen = (async () => {
      for await (const { changes } of engine.watch('/a/', revision, t.signal)) return changes
      return []
    })()
    const lease = await engine.grantLease(60)
    const put = { kind: 'put', key: '/a/b', value: 'é', lease } as const
    const first = [{ key: '/a/b', target: 'create', equal: 0n }] as const
    assert.equal((await engine.transact(first, [put])).ok, true)
    assert.equal((await engine.transact(first, [put])).ok, false)
    assert.deepEqual(
      (await seen).map(({ key, value }) => [key, value]),
      [['/a/b', 'é']],
    )
    await engine.revokeLease(lease)
    assert.deepEqual((await engine.list('/a/')).values, [])

    const isRefused = (error: unknown): boolean => isStage5Error(error, 'S5_ENGINE_REFUSED')
    await assert.rejects(openEngine(address, { directory }), isRefused, 'nobody vouches for the server')
    await assert.rejects(openEngine(`${address}?ca=client.pem`, { directory }), isRefused, 'nor does this')
    for (const other of [`${address}?ca=ca.pem`, address.replace('etcds:', 'etcd:')])
      await assert.rejects(openEngine(other, { directory }), (error) => {
        assert.ok(isStage5Error(error, 'S5_ENGINE_REFUSED', 'S5_ENGINE_UNAVAILABLE'), String(error))
        return true
      })
  } finally {
    const gone = once(member, 'exit')
    member.kill('SIGKILL')
    await gone
  }
})
