/** Bad machines: a full disk and a missing tool end in one clear error, and nothing is half written. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { stage5 } from '../helpers/console.ts'
import { emptyProject, packedProject } from '../helpers/project.ts'

test('a missing tool is named with the line that installs it', async () => {
  using project = emptyProject()
  const words = ['pack', 'apps/shop', '--name', 'app/shop', '--version', '1.0.0', '--out', 'packages']
  const { code, stderr } = await stage5(project.directory, words, {
    PATH: join(project.directory, 'nothing'),
  })
  assert.equal(code, 1)
  assert.match(stderr, /tar.*[\s\S]*apt install tar[\s\S]*S5_TOOL_MISSING/)
  assert.deepEqual(
    existsSync(join(project.directory, 'packages')) ? readdirSync(join(project.directory, 'packages')) : [],
    [],
  )
})

test('a store that cannot be where it is said to be is named', async () => {
  using project = emptyProject()
  const path = join(project.directory, 'profiles/shop.yaml/store')
  for (const words of [
    ['store', 'stats'],
    ['plan', 'shop'],
  ]) {
    const { code, stderr } = await stage5(project.directory, words, { STAGE5_STORE: path })
    assert.equal(code, 1, stderr)
    assert.ok(stderr.includes(path), stderr)
    assert.match(stderr, /S5_DISK_FAILED/)
  }
})

const skip = process.getuid?.() === 0 ? undefined : 'needs root, to mount a small tmpfs'

test('a full disk ends a build without a trace, and the same command works when there is room', {
  skip,
}, async () => {
  using project = await packedProject()
  const out = join(project.directory, 'out')
  mkdirSync(out)
  assert.equal((await stage5(project.directory, ['lock', 'shop'])).code, 0)
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', out]).status, 0)
  try {
    writeFileSync(join(out, 'fill'), Buffer.alloc(60 << 10))
    const full = await stage5(project.directory, ['build', 'shop'])
    assert.equal(full.code, 1)
    assert.match(full.stderr, /S5_DISK_FULL/)
    assert.deepEqual(readdirSync(out), ['fill'])
    rmSync(join(out, 'fill'))
    assert.equal((await stage5(project.directory, ['build', 'shop'])).code, 0)
  } finally {
    spawnSync('umount', [out])
  }
})

test('a full store is said to be full, and the same command works when there is room', { skip }, async () => {
  using project = await packedProject()
  const store = join(project.directory, '.small-store')
  mkdirSync(store)
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', store]).status, 0)
  try {
    writeFileSync(join(store, 'fill'), Buffer.alloc(244 << 10))
    const full = await stage5(project.directory, ['build', 'shop'], { STAGE5_STORE: store })
    assert.equal(full.code, 1, full.stdout)
    assert.match(full.stderr, /S5_DISK_FULL/)
    rmSync(join(store, 'fill'))
    assert.equal((await stage5(project.directory, ['build', 'shop'], { STAGE5_STORE: store })).code, 0)
  } finally {
    spawnSync('umount', [store])
  }
})
