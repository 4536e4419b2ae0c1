/** The real depmod and our files for a real kernel are the same bytes. Needs apt with its indexes, and dpkg-deb. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { digestOf } from '../../src/base/digest.ts'
import { depmodFiles } from '../../src/stage/depmod.ts'
import { moduleDirectories, readModules } from '../../src/stage/module-index.ts'
import { BOOT_MODULES, moduleClosure, modules } from '../../src/stage/modules.ts'
import { memoryContents } from '../../src/tree/contents.ts'
import { withoutPaths } from '../../src/tree/edit.ts'
import { entriesOf } from '../../src/tree/tree.ts'
import { readDiskTree } from '../helpers/disk-tree.ts'

const FILES = 'dep dep.bin alias alias.bin softdep symbols.bin devname builtin.bin builtin.alias.bin'.split(
  ' ',
)

let scratch: string
let why: string | undefined
before(() => {
  scratch = mkdtempSync(join(tmpdir(), 'stage5-depmod-'))
  why = prepare()
})
after(() => rmSync(scratch, { recursive: true, force: true }))

/** Fetches a kernel, and kmod to be run from where it is unpacked. */
function prepare(): string | undefined {
  try {
    const meta = execFileSync('apt-cache', ['depends', '--important', 'linux-image-cloud-amd64']).toString()
    const image = /Depends: (linux-image-\S+)/.exec(meta)?.[1]
    if (!image) return 'a cloud kernel in the apt indexes'
    for (const [directory, name] of [
      ['kernel', image],
      ['kmod', 'kmod'],
      ['kmod', 'libkmod2'],
    ] as const) {
      const cache = join(scratch, name)
      mkdirSync(cache)
      execFileSync('apt-get', ['download', '-q', name], { cwd: cache, stdio: 'ignore' })
      const deb = join(cache, readdirSync(cache)[0] as string)
      execFileSync('dpkg-deb', ['-x', deb, join(scratch, directory)])
    }
    symlinkSync('kmod', join(scratch, 'kmod/bin/depmod'))
    depmod(join(scratch, 'kernel'))
    return undefined
  } catch (error) {
    return `apt with network and dpkg-deb (${(error as Error).message.split('\n')[0]})`
  }
}

function depmod(directory: string): void {
  const release = readdirSync(join(directory, 'lib/modules'))[0] as string
  const library = join(scratch, 'kmod/lib/x86_64-linux-gnu')
  execFileSync(join(scratch, 'kmod/bin/depmod'), ['-b', directory, release], {
    env: { ...process.env, LD_LIBRARY_PATH: library },
  })
}

function compare(made: ReadonlyMap<string, Uint8Array>, directory: string): void {
  for (const name of FILES.map((stem) => `modules.${stem}`)) {
    const mine = made.get(name)
    assert.ok(mine, name)
    assert.equal(digestOf(mine), digestOf(readFileSync(join(directory, name))), name)
  }
  // depmod writes symbols in the order of a hash table
  const lines = (bytes: Uint8Array): string[] => Buffer.from(bytes).toString('latin1').split('\n').sort()
  assert.deepEqual(
    lines(made.get('modules.symbols') as Uint8Array),
    lines(readFileSync(join(directory, 'modules.symbols'))),
  )
}

test('all files for a whole kernel are those of depmod', async (t) => {
  if (why) return t.skip(`needs ${why}`)
  const contents = memoryContents()
  const tree = await readDiskTree(join(scratch, 'kernel'), contents)
  const directory = [...moduleDirectories(tree).values()][0] as string
  const index = await readModules(tree, contents, directory)
  assert.ok(index.modules.size > 500)
  compare(depmodFiles(index), join(scratch, 'kernel', directory))
})

test('the files of the stage are those of depmod for the same modules', async (t) => {
  if (why) return t.skip(`needs ${why}`)
  const contents = memoryContents()
  const whole = await readDiskTree(join(scratch, 'kernel'), contents)
  const signal = new AbortController().signal
  const wanted = { wanted: true, names: [...BOOT_MODULES, 'btrfs', 'nf_conntrack', 'nfs'], date: 1 }
  const { tree, removed } = await modules.run({ tree: whole, removed: [] }, wanted, { contents, signal })
  assert.ok(removed.length > 500)
  const directory = [...moduleDirectories(tree).values()][0] as string
  const made = new Map<string, Uint8Array>()
  const small = join(scratch, 'small')
  for (const { path, inode } of entriesOf(tree)) {
    const to = join(small, path)
    if (inode.type === 'dir') mkdirSync(to, { recursive: true })
    if (inode.type !== 'file') continue
    const bytes = await contents.read(inode.content)
    const name = path.slice(directory.length + 1)
    if (path.startsWith(directory) && !name.includes('/')) made.set(name, bytes)
    if (name.includes('/') || /^modules\.(order|builtin|builtin\.modinfo)$/.test(name))
      writeFileSync(to, bytes)
  }
  depmod(small)
  compare(made, join(small, directory))
})

test('the closure by .modinfo holds what modules.dep says, in an order that loads', async (t) => {
  if (why) return t.skip(`needs ${why}`)
  const contents = memoryContents()
  const indexed = await readDiskTree(join(scratch, 'kernel'), contents)
  const directory = [...moduleDirectories(indexed).values()][0] as string
  const tree = withoutPaths(indexed, [`${directory}/modules.dep`])
  const release = directory.slice(directory.lastIndexOf('/') + 1)
  const names = [...BOOT_MODULES, 'btrfs', 'nft_ct', 'cifs']
  const { order, missing } = await moduleClosure(tree, contents, release, names)
  assert.deepEqual(missing, [])
  const lines = readFileSync(join(scratch, 'kernel', directory, 'modules.dep'), 'latin1').split('\n')
  const needs = new Map(
    lines.map((line) => [line.split(':')[0], (line.split(': ')[1] ?? '').split(' ').filter((part) => part)]),
  )
  const seen = new Set<string>()
  for (const path of order) {
    const name = path.slice(directory.length + 1)
    for (const need of needs.get(name) ?? []) assert.ok(seen.has(need), `${name} before ${need}`)
    seen.add(name)
  }
  const indirect = await moduleClosure(indexed, contents, release, names)
  assert.deepEqual(indirect.order.toSorted(), order.toSorted())
})
