/**
 * What a change costs: the delta has the changed bytes and the tables, and a client that shares no code with stage5 needs
 * no delta at all. It has the old image, its layout, and a web server that knows ranges.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { openSync, readFileSync, readSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { basename, join } from 'node:path'
import { after, before, test } from 'node:test'
import { ask, kernelPackage, manyProject, pack, plainPackage } from '../helpers/i4f-many.ts'
import type { Project } from '../helpers/project.ts'

let project: Project
let server: Server
/** Bytes of bodies that the server sent, and requests. */
let sent = { bytes: 0, requests: 0 }

interface Built {
  readonly directory: string
  readonly manifest: { readonly files: readonly { readonly name: string; readonly role: string }[] }
}

before(async () => {
  project = manyProject()
  await pack(project, [...Array.from({ length: 13 }, (_, at) => plainPackage(at)), kernelPackage('6.1.0')])
  server = createServer((request, response) => {
    const path = join(project.directory, 'out', decodeURIComponent(request.url as string))
    const found = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')
    const size = statSync(path).size
    const [from, to] = found ? [Number(found[1]), Number(found[2])] : [0, size - 1]
    const body = readFileSync(path).subarray(from, to + 1)
    sent = { bytes: sent.bytes + body.length, requests: sent.requests + 1 }
    response.writeHead(found ? 206 : 200, { 'content-range': `bytes ${from}-${to}/${size}` }).end(body)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
})
after(() => {
  server.close()
  project[Symbol.dispose]()
})

/** What the documentation of the layout says, and nothing else. */
interface ForeignRun {
  readonly offset: number
  readonly length: number
  readonly digest: string
  readonly owner: string
  readonly kind: string
}

function foreignLayout(text: string): { size: number; sum: string; runs: ForeignRun[] } {
  const [magic, image = '', ...lines] = text.trimEnd().split('\n')
  assert.equal(magic, 'stage5 layout 1')
  const [, , size, sum = ''] = image.split(' ')
  const runs: ForeignRun[] = []
  let owner = ''
  for (const line of lines) {
    if (line.startsWith('owner ')) {
      owner = line.slice(6)
      continue
    }
    const [offset, length, digest = '', kind = ''] = line.split(' ')
    runs.push({ offset: Number(offset), length: Number(length), digest, owner, kind })
  }
  return { size: Number(size), sum, runs }
}

/** Makes the new image from the old one: neighbouring runs that are missing are one request. */
async function update(oldImage: string, oldLayout: string, address: string, stem: string): Promise<Buffer> {
  const old = foreignLayout(readFileSync(oldLayout, 'utf8'))
  const fresh = foreignLayout(await (await fetch(`${address}/${stem}.layout`)).text())
  const have = new Map(old.runs.map((run) => [`${run.digest} ${run.length}`, run.offset]))
  const image = Buffer.alloc(fresh.size)
  const file = openSync(oldImage, 'r')
  const missing: { from: number; to: number }[] = []
  for (const { offset, length, digest } of fresh.runs) {
    const found = have.get(`${digest} ${length}`)
    const last = missing.at(-1)
    if (found !== undefined) readSync(file, image, offset, length, found)
    else if (last?.to === offset) last.to += length
    else missing.push({ from: offset, to: offset + length })
  }
  for (const { from, to } of missing) {
    const response = await fetch(`${address}/${stem}.squashfs`, {
      headers: { range: `bytes=${from}-${to - 1}` },
    })
    assert.equal(response.status, 206)
    image.set(new Uint8Array(await response.arrayBuffer()), from)
  }
  assert.equal(`sha256:${createHash('sha256').update(image).digest('hex')}`, fresh.sum)
  return image
}

/** One change: what the delta and the client took, beside what had to be taken. */
async function costOf(t: { diagnostic(text: string): void }, old: Built, fresh: Built): Promise<void> {
  const stemOf = ({ manifest }: Built): string =>
    (manifest.files.find(({ role }) => role === 'base')?.name ?? '').replace('.squashfs', '')
  const file = ({ directory }: Built, end: string): string => join(directory, `${stemOf(old)}${end}`)
  const layout = readFileSync(join(fresh.directory, `${stemOf(fresh)}.layout`), 'utf8')
  const { runs } = foreignLayout(layout)
  const before = foreignLayout(readFileSync(file(old, '.layout'), 'utf8'))
  // Whose bytes had to change: packages that the old image does not have in this version; and the tables.
  const owners = new Set(before.runs.map(({ owner }) => owner))
  const bytes = (some: (run: ForeignRun) => boolean): number =>
    runs.filter(some).reduce((sum, { length }) => sum + length, 0)
  const changed = bytes(({ owner }) => owner !== '' && !owners.has(owner))
  const tables = bytes(({ kind }) => kind === 'metadata' || kind === 'head')
  assert.ok(changed > 0)

  const delta = await ask<{ size: number; blocks: number }>(
    project,
    ...['delta', old.directory, fresh.directory, '-o', 'c.delta'],
  )
  assert.ok(delta.blocks <= changed, `${delta.blocks} bytes of blocks, of ${changed} that changed`)
  assert.ok(delta.size <= 1.1 * (changed + tables), `${delta.size} for ${changed} + ${tables}`)

  sent = { bytes: 0, requests: 0 }
  const { port } = server.address() as AddressInfo
  const address = `http://127.0.0.1:${port}/${encodeURIComponent(basename(fresh.directory))}`
  const image = await update(file(old, '.squashfs'), file(old, '.layout'), address, stemOf(fresh))
  assert.deepEqual(image, readFileSync(join(fresh.directory, `${stemOf(fresh)}.squashfs`)))
  const fetched = sent.bytes - layout.length
  assert.ok(fetched <= 1.1 * (changed + tables), `${fetched} for ${changed} + ${tables}`)
  assert.ok(sent.requests <= 12, `${sent.requests} requests`)
  t.diagnostic(
    `image ${image.length}, changed ${changed} + tables ${tables}; delta ${delta.size}; ` +
      `client ${fetched} + layout ${layout.length} in ${sent.requests} requests`,
  )
}

test('one package of thirteen changed', async (t) => {
  const old = await ask<Built>(project, 'build', 'many')
  await pack(project, [plainPackage(4, '1.0.1')])
  await ask(project, 'lock', 'many')
  await costOf(t, old, await ask<Built>(project, 'build', 'many'))
})

test('another kernel, whose paths all change', async (t) => {
  const old = await ask<Built>(project, 'build', 'many')
  await pack(project, [kernelPackage('6.1.1')])
  await ask(project, 'lock', 'many')
  await costOf(t, old, await ask<Built>(project, 'build', 'many'))
})

test('a variant with one package more', async (t) => {
  const old = await ask<Built>(project, 'build', 'many')
  await costOf(t, old, await ask<Built>(project, 'build', 'many@more'))
})
