/** Fetching and unpacking go on beside each other: no package waits until all of them are here. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { compose, loadRecipe, openWorld, plan } from '../../src/index.ts'
import { packedProject } from '../helpers/project.ts'

test('a package is unpacked while another one is still being sent', { timeout: 300_000 }, async (t) => {
  using project = await packedProject()
  const { directory } = project
  const unpacked = Promise.withResolvers<void>()
  const sent: string[] = []
  const server = createServer((request, response) => {
    const path = request.url ?? ''
    const bytes = readFileSync(join(directory, 'packages', path))
    response.writeHead(200, { 'content-length': bytes.length })
    if (!path.endsWith('.tar.zst') || sent.push(path) === 1) return response.end(bytes)
    // All but the end of the second one is there, and the end comes when the first one is unpacked.
    response.write(bytes.subarray(0, -1))
    return void unpacked.promise.then(() => response.end(bytes.subarray(-1)))
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.after(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  writeFileSync(join(directory, 'repos/house.yaml'), `stage5: 1\nkind: native\nurl: ${url}\n`)
  const options = { directory, offline: false, locked: false, threads: 1, store: join(directory, '.store') }
  const told: string[] = []
  await using world = openWorld(
    options,
    (event) => {
      if (event.kind !== 'package.unpacked') return
      told.push(event.name)
      unpacked.resolve()
    },
    t.signal,
  )
  const recipe = await loadRecipe(world, 'shop')
  const { packages } = await compose(world, recipe, await plan(world, recipe.profile))
  assert.equal(sent.length, 2)
  assert.deepEqual([packages.length, told.length], [2, 2])
})
