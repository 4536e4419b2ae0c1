/** Roots that share files: what is shared, what a change in one of them does to the others, and who finds it. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  globSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  unlinkSync,
  utimesSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { findTool } from '../../src/host/run.ts'
import { expectConsole, stage5 } from '../helpers/console.ts'
import { packedProject, type Project } from '../helpers/project.ts'

const isRoot = process.getuid?.() === 0

let project: Project
before(async () => {
  project = await packedProject()
  assert.equal((await stage5(project.directory, ['build', 'shop'])).code, 0)
})
after(() => project[Symbol.dispose]())

async function made(...words: string[]): Promise<string> {
  const { code, stderr } = await stage5(project.directory, ['checkout', ...words])
  assert.equal(code, 0, stderr)
  return join(project.directory, words[1] as string)
}

const shopOf = (root: string): string => join(root, 'usr/bin/shop')
const inodeOf = (root: string): number => statSync(shopOf(root)).ino

test('roots of a profile and of its output share files; a copy shares none', async (t) => {
  await expectConsole(t, 'checkout', project.directory, ['checkout', 'shop', 'one/a'])
  await expectConsole(t, 'checkout-output', project.directory, ['checkout', 'out/shop', 'one/b'])
  await expectConsole(t, 'checkout-copy', project.directory, ['checkout', 'shop', 'one/c', '--copy'])
  const [a, b, c] = ['a', 'b', 'c'].map((name) => inodeOf(join(project.directory, 'one', name)))
  assert.equal(a, b)
  assert.notEqual(a, c)
  await expectConsole(t, 'checkout-exists', project.directory, ['checkout', 'shop', 'one/a'])
  await expectConsole(t, 'checkout-check', project.directory, ['checkout', '--check', 'one/a'])
  await expectConsole(t, 'checkout-check-unknown', project.directory, ['checkout', '--check', 'out'])
  await expectConsole(t, 'checkout-protect-usage', project.directory, [
    'checkout',
    'shop',
    'one/d',
    '--protect',
    'magic',
  ])
})

test('a write through one root changes all that are linked, is found in each, and never reaches a new one', async (t) => {
  const a = await made('shop', 'two/a')
  const b = await made('shop', 'two/b')
  const copy = await made('shop', 'two/copy', '--copy')
  const before = readFileSync(shopOf(copy))
  appendFileSync(shopOf(a), 'edited\n')
  assert.match(readFileSync(shopOf(b), 'utf8'), /edited/)
  assert.ok(before.equals(readFileSync(shopOf(copy))))
  await expectConsole(t, 'checkout-changed', project.directory, ['checkout', '--check', 'two/b'])
  assert.equal((await stage5(project.directory, ['checkout', '--check', 'two/copy'])).code, 0)
  const verified = await stage5(project.directory, ['store', 'verify'])
  assert.equal(verified.code, 1)
  assert.match(verified.stdout, /root two\/a[^]*root two\/b/)
  const fresh = await made('shop', 'two/fresh')
  assert.ok(before.equals(readFileSync(shopOf(fresh))))
  const repaired = await stage5(project.directory, ['store', 'repair'])
  assert.equal(repaired.code, 0)
  assert.match(repaired.stdout, /\n1 repaired\n[^]*: stage5 checkout --check two\/a\n[^]*--check two\/b\n/)
  assert.equal((await stage5(project.directory, ['store', 'verify'])).code, 0)
  assert.match(readFileSync(shopOf(a), 'utf8'), /edited/)
})

test('a change that keeps size and time is found by its bytes', async () => {
  const a = await made('shop', 'three/a')
  const { atime, mtime } = statSync(shopOf(a))
  const bytes = readFileSync(shopOf(a))
  bytes[bytes.length - 2] = 33
  writeFileSync(shopOf(a), bytes)
  utimesSync(shopOf(a), atime, mtime)
  const { code, stdout } = await stage5(project.directory, ['checkout', '--check', 'three/a'])
  assert.equal(code, 1)
  assert.equal(stdout, '~ /usr/bin/shop (content)\n')
  assert.equal((await stage5(project.directory, ['store', 'verify'])).code, 1)
  assert.equal((await stage5(project.directory, ['store', 'repair'])).code, 0)
})

test('--protect bind: writes through the folder fail, for root too', async (t) => {
  if (!isRoot) return t.skip('needs root')
  const probe = join(project.directory, 'probe')
  mkdirSync(probe)
  if (spawnSync('mount', ['--bind', probe, probe]).status !== 0) return t.skip('needs the right to mount')
  spawnSync('umount', [probe])
  const root = await made('shop', 'bind/a', '--protect', 'bind')
  try {
    assert.throws(() => appendFileSync(shopOf(root), 'x'), { code: 'EROFS' })
    assert.throws(() => unlinkSync(shopOf(root)), { code: 'EROFS' })
    assert.equal((await stage5(project.directory, ['checkout', '--check', 'bind/a'])).code, 0)
  } finally {
    spawnSync('umount', [root])
  }
})

for (const mode of ['reflink', 'verity'])
  test(`--protect ${mode} keeps its promise or is refused before anything is made`, async () => {
    const words = ['checkout', 'shop', `${mode}/a`, '--protect', mode]
    const { code, stderr } = await stage5(project.directory, words)
    const root = join(project.directory, mode, 'a')
    if (code === 0) {
      const other = await made('shop', `${mode}/b`)
      const before = readFileSync(shopOf(other))
      try {
        appendFileSync(shopOf(root), 'x')
      } catch {
        assert.equal(mode, 'verity')
      }
      assert.ok(before.equals(readFileSync(shopOf(other))))
      return
    }
    assert.match(
      stderr,
      findTool('fsverity') || mode === 'reflink' ? /S5_PROTECTION_UNSUPPORTED/ : /S5_TOOL_MISSING/,
    )
    assert.deepEqual(readdirSync(join(project.directory, mode)), [])
  })

test('build --format dir writes a root instead of the images of the profile', async () => {
  const { code, stdout, stderr } = await stage5(project.directory, ['build', 'shop', '--format', 'dir'])
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^ +folder {2}shop_.*\.dir$/m)
  assert.equal(globSync(join(project.directory, 'out/shop/*.dir/usr/bin/shop')).length, 1)
  assert.equal(globSync(join(project.directory, 'out/shop/*.squashfs')).length, 0)
})

/** Bytes on the disk of files and symlinks, each inode once; folders cannot be shared and are counted apart. */
function usage(top: string, seen = new Set<number>()): { shared: number; folders: number } {
  const sum = { shared: 0, folders: 0 }
  for (const entry of readdirSync(top, { withFileTypes: true })) {
    const path = join(top, entry.name)
    const { ino, blocks } = lstatSync(path)
    if (entry.isDirectory()) {
      const below = usage(path, seen)
      sum.shared += below.shared
      sum.folders += below.folders + blocks * 512
    } else if (!seen.has(ino)) {
      seen.add(ino)
      sum.shared += blocks * 512
    }
  }
  return sum
}

test('100 roots of five types take the largest, what is unique, and at most 2 % more', async () => {
  using own = await packedProject()
  const big = join(own.directory, 'apps/big')
  mkdirSync(join(big, 'usr/lib'), { recursive: true })
  for (let at = 0; at < 60; at++)
    writeFileSync(join(big, 'usr/lib', `part-${at}`), `${at} `.repeat(200 + at * 100))
  const run = async (...words: string[]): Promise<void> => {
    const { code, stderr } = await stage5(own.directory, words)
    assert.equal(code, 0, stderr)
  }
  await run('pack', 'apps/big', '--name', 'app/big', '--version', '1.0.0', '--out', 'packages')
  for (let type = 0; type < 5; type++) {
    const folder = `apps/type-${type}`
    mkdirSync(join(own.directory, folder, 'etc'), { recursive: true })
    writeFileSync(
      join(own.directory, folder, `etc/type-${type}`),
      `type ${type}\n`.repeat(1_000 * (type + 1)),
    )
    await run('pack', folder, '--name', `app/type${type}`, '--version', '1.0.0', '--out', 'packages')
  }
  await run('index', 'packages')
  const { openWorld } = await import('../../src/cli/world.ts')
  const { compose, plan } = await import('../../src/cli/flow.ts')
  const { loadRecipe } = await import('../../src/cli/recipe.ts')
  const { checkout } = await import('../../src/store/checkout.ts')
  const before = process.env['STAGE5_STORE']
  process.env['STAGE5_STORE'] = join(own.directory, '.store')
  try {
    const options = { directory: own.directory, offline: true, locked: false, threads: 1 }
    await using world = openWorld(options, () => {}, new AbortController().signal)
    const store = await world.store()
    const guests = join(own.directory, 'guests')
    mkdirSync(guests)
    let largest = 0
    let unique = 0
    for (let type = 0; type < 5; type++) {
      const profile = `stage5: 1\nrepositories: [house]\npackages: [app/big, app/type${type}]\nkernel: none\npipeline: plain\n`
      writeFileSync(join(own.directory, `profiles/type${type}.yaml`), profile)
      const recipe = await loadRecipe(world, `type${type}`)
      const { root } = await compose(world, recipe, await plan(world, recipe.profile))
      for (let at = 0; at < 20; at++)
        await checkout(store, root.tree, join(guests, `${type}-${at}`), { how: 'link' })
      largest = Math.max(largest, usage(join(guests, `${type}-0`)).shared)
      unique += statSync(join(guests, `${type}-0/etc/type-${type}`)).blocks * 512
    }
    const all = usage(guests).shared
    assert.ok(all <= (largest + unique) * 1.02, `${all} bytes; largest ${largest}, unique ${unique}`)
    assert.equal(readdirSync(guests).length, 100)
  } finally {
    if (before === undefined) delete process.env['STAGE5_STORE']
    else process.env['STAGE5_STORE'] = before
  }
})
