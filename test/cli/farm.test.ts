/** A hundred guests of five types on one file system take what one of each would, and their folders. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { parseDigest } from '../../src/base/digest.ts'
import { checkout } from '../../src/store/checkout.ts'
import { openStore } from '../../src/store/store.ts'
import { ask, bytesOf, kernelPackage, manyProject, pack, plainPackage } from '../helpers/i4f-many.ts'
import { stage5 } from '../helpers/console.ts'
import type { Project } from '../helpers/project.ts'

const TYPES = 5
const GUESTS = 20
let project: Project
const at = (path: string): string => join(project.directory, path)

before(async () => {
  project = manyProject()
  const types = Array.from({ length: TYPES }, (_, type) => ({
    name: `many/type${type}`,
    version: '1.0.0',
    files: { [`usr/lib/type${type}`]: bytesOf(`type ${type}`, 200_000) },
  }))
  await pack(project, [
    ...Array.from({ length: 12 }, (_, n) => plainPackage(n)),
    kernelPackage('6.1.0'),
    ...types,
  ])
  const base = readFileSync(at('profiles/many.yaml'), 'utf8').split('variants:')[0] as string
  for (let type = 0; type < TYPES; type++)
    writeFileSync(
      at(`profiles/type${type}.yaml`),
      base.replace('kernel: none', `  - many/type${type}\nkernel: none`),
    )
})
after(() => project[Symbol.dispose]())

/** Bytes that du counts: each inode once. */
function usage(...paths: string[]): number {
  const { stdout, status } = spawnSync('du', ['-s', '-c', '--block-size=1', ...paths.map(at)], {
    encoding: 'utf8',
  })
  assert.equal(status, 0)
  return Number(/(\d+)\ttotal/.exec(stdout)?.[1])
}

function folders(path: string): number {
  const inside = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  const own = lstatSync(path).blocks * 512
  return inside.reduce((sum, { name }) => sum + folders(join(path, name)), own)
}

test('largest root + what is unique + 2 %, and each folder', async (t) => {
  const roots: string[] = []
  for (let type = 0; type < TYPES; type++)
    roots.push((await ask<{ manifest: { root: string } }>(project, 'build', `type${type}`)).manifest.root)
  const store = await openStore(at('.store'))
  const signal = new AbortController().signal
  try {
    for (const [type, root] of roots.entries()) {
      const tree = await store.loadTree(parseDigest(root))
      for (let guest = 0; guest < GUESTS; guest++) {
        mkdirSync(at(`guests/type${type}`), { recursive: true })
        const to = at(`guests/type${type}/${guest}`)
        await checkout(store, tree, to, { how: 'link', signal, report: () => {} })
      }
    }
  } finally {
    await store[Symbol.asyncDispose]()
  }
  const all = usage('guests')
  const inFolders = folders(at('guests'))
  // By hand: everything that several types have once, and what one type alone has.
  const largest = Math.max(...Array.from({ length: TYPES }, (_, type) => usage(`guests/type${type}/0`)))
  const unique = Array.from({ length: TYPES }, (_, type) =>
    usage(`guests/type${type}/0/usr/lib/type${type}`),
  ).reduce((sum, bytes) => sum + bytes, 0)
  assert.ok(all - inFolders <= 1.02 * (largest + unique), `${all - inFolders} for ${largest} + ${unique}`)
  t.diagnostic(
    `${TYPES * GUESTS} roots: ${all - inFolders} in files, ${inFolders} in folders; largest ${largest}`,
  )

  // Copies are what links save: the count can fail.
  const copied = await stage5(project.directory, ['checkout', 'type0', 'guests/copy', '--copy'])
  assert.equal(copied.code, 0, copied.stderr)
  assert.ok(usage('guests') - folders(at('guests')) > 1.02 * (largest + unique))
})
