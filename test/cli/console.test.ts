/** What a user sees: transcripts of the commands on the fixture project. */
import assert from 'node:assert/strict'
import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { expectConsole, interrupted, stage5 } from '../helpers/console.ts'
import { packedProject, type Project } from '../helpers/project.ts'

let project: Project
before(async () => {
  project = await packedProject()
})
after(() => project[Symbol.dispose]())

const TRANSCRIPTS: readonly (readonly [name: string, words: readonly string[]])[] = [
  ['lock', ['lock', 'shop']],
  ['build', ['build', 'shop']],
  ['build-locked', ['build', 'shop', '--locked', '--offline']],
  ['plan', ['plan', 'shop']],
  ['why', ['why', 'shop', 'app/shell']],
  ['why-unknown', ['why', 'shop', 'app/shel']],
  ['why-not', ['why-not', 'shop', 'app/shop']],
  ['why-not-unknown', ['why-not', 'shop', 'app/shopp']],
  ['lock-variant', ['lock', 'shop@ldap']],
  ['diff-locks', ['diff', 'shop', 'shop@ldap']],
  ['build-unlocked', ['build', 'shop@ssl', '--locked']],
  ['variant', ['build', 'shop@ssl']],
  ['diff-outputs', ['diff', 'out/shop', 'out/shop-ssl']],
  ['unknown-profile', ['build', 'shopp']],
  ['unknown-variant', ['build', 'shop@ldpa']],
  ['boot-no-kernel', ['boot', 'shop']],
  ['boot-not-built', ['boot', 'shop@ldap']],
  ['explain', ['explain', 's5_collision']],
  ['explain-unknown', ['explain', 'S5_COLISION']],
  ['usage', ['build']],
  ['unknown-command', ['biuld', 'shop']],
  ['diff-nothing', ['diff', 'shop', 'nothing']],
  ['pack-usage', ['pack', 'apps/shop', '--name', 'app/shop']],
]

for (const [name, words] of TRANSCRIPTS)
  test(`stage5 ${words.join(' ')}`, async (t) => {
    await expectConsole(t, name, project.directory, words)
  })

test('--json prints one JSON value on stdout, also for errors', async () => {
  const built = await stage5(project.directory, ['build', 'shop', '--json'])
  const { manifest } = JSON.parse(built.stdout) as {
    manifest: { image: { id: string }; packages: unknown[] }
  }
  assert.equal(manifest.image.id, 'shop')
  assert.equal(manifest.packages.length, 2)
  const failed = await stage5(project.directory, ['build', 'shopp', '--json'])
  assert.equal(failed.code, 1)
  assert.equal((JSON.parse(failed.stdout) as { error: { code: string } }).error.code, 'S5_PROFILE_UNKNOWN')
})

test('an output folder has its files, their sums, and a link to the newest', () => {
  const folder = join(project.directory, 'out/shop')
  const sums = readFileSync(join(folder, 'SHA256SUMS'), 'utf8').trimEnd().split('\n')
  const names = readdirSync(folder).filter((name) => name !== 'SHA256SUMS')
  assert.deepEqual(
    sums.map((line) => line.slice(66)),
    names.sort(),
  )
  assert.ok(names.some((name) => name.endsWith('.squashfs')))
})

test('a changed profile is locked again by build, with as little change as possible, and refused with --locked', async () => {
  using own = await packedProject()
  assert.equal((await stage5(own.directory, ['lock', 'shop@ssl'])).code, 0)
  const profile = join(own.directory, 'profiles/shop.yaml')
  writeFileSync(profile, readFileSync(profile, 'utf8').replace('^2.1', '^2.0'))
  const refused = await stage5(own.directory, ['build', 'shop@ssl', '--locked'])
  assert.match(refused.stderr, /S5_LOCK_STALE/)
  assert.ok(!existsSync(join(own.directory, 'out')))
  assert.equal((await stage5(own.directory, ['build', 'shop@ssl'])).code, 0)
})

test('a damaged lock file is refused with its line', async () => {
  using own = await packedProject()
  await stage5(own.directory, ['lock', 'shop'])
  appendFileSync(join(own.directory, 'profiles/shop.lock.yaml'), 'pakages: 3\n')
  const { code, stderr } = await stage5(own.directory, ['build', 'shop'])
  assert.equal(code, 1)
  assert.match(stderr, /profiles\/shop\.lock\.yaml:\d+.*[\s\S]*S5_LOCK_SYNTAX/)
})

test('an unsatisfiable profile is refused with the chain of facts', async (t) => {
  using own = await packedProject()
  writeFileSync(
    join(own.directory, 'profiles/both.yaml'),
    'stage5: 1\nparents: [shop]\npackages:\n  - {atom: app/shop, use: [ldap, ssl]}\n',
  )
  await expectConsole(t, 'unsatisfiable', own.directory, ['lock', 'both'])
})

test('--offline says what was never fetched', async () => {
  using own = await packedProject()
  writeFileSync(
    join(own.directory, 'repos/house.yaml'),
    'stage5: 1\nkind: native\nurl: http://127.0.0.1:9/packages\n',
  )
  const { code, stderr } = await stage5(own.directory, ['lock', 'shop', '--offline'])
  assert.equal(code, 1)
  assert.match(stderr, /S5_OFFLINE/)
})

test('a package file that changed underneath is refused before it is unpacked', async () => {
  using own = await packedProject()
  await stage5(own.directory, ['lock', 'shop'])
  const file = join(own.directory, 'packages/app-shell-1.0.0.tar.zst')
  const bytes = readFileSync(file)
  bytes[100] = (bytes[100] as number) ^ 1
  writeFileSync(file, bytes)
  rmSync(join(own.directory, '.store'), { recursive: true, force: true })
  const { code, stderr } = await stage5(own.directory, ['build', 'shop'])
  assert.equal(code, 1)
  assert.match(stderr, /S5_DIGEST_MISMATCH/)
  assert.ok(!existsSync(join(own.directory, 'out/shop')))
})

test('--trace writes Chrome trace events', async () => {
  const file = join(project.directory, 'trace.json')
  await stage5(project.directory, ['build', 'shop', '--trace', file])
  const { traceEvents } = JSON.parse(readFileSync(file, 'utf8')) as {
    traceEvents: { name: string; ph: string }[]
  }
  assert.ok(traceEvents.some(({ name, ph }) => name === 'compose' && ph === 'X'))
})

test('--quiet leaves stderr empty', async () => {
  assert.equal((await stage5(project.directory, ['build', 'shop', '--quiet'])).stderr, '')
})

test('an image format that nobody knows is refused before anything is written', async () => {
  using own = await packedProject()
  const profile = join(own.directory, 'profiles/shop.yaml')
  writeFileSync(profile, readFileSync(profile, 'utf8').replace('[squashfs]', '[floppy]'))
  const { code, stderr } = await stage5(own.directory, ['build', 'shop'])
  assert.equal(code, 1)
  assert.match(stderr, /floppy.*[\s\S]*S5_FORMAT_UNKNOWN/)
  assert.ok(!existsSync(join(own.directory, 'out/shop')))
})

test('a folder output is hard-linked from the store', async () => {
  using own = await packedProject()
  const profile = join(own.directory, 'profiles/shop.yaml')
  writeFileSync(profile, readFileSync(profile, 'utf8').replace('[squashfs]', '[dir]'))
  assert.equal((await stage5(own.directory, ['build', 'shop'])).code, 0)
  const [folder = ''] = readdirSync(join(own.directory, 'out/shop')).filter((name) => name.endsWith('.dir'))
  const shop = statSync(join(own.directory, 'out/shop', folder, 'usr/bin/shop'))
  assert.equal(shop.mode & 0o777, 0o755)
  assert.ok(shop.nlink >= 2)
})

test('Ctrl-C leaves no output behind, and says so with 130', async () => {
  using own = await packedProject()
  const ran = await interrupted(own.directory, ['build', 'shop'])
  assert.ok(ran.code === 130 || ran.code === 0, `${ran.code} ${ran.stderr}`)
  const left = existsSync(join(own.directory, 'out')) ? readdirSync(join(own.directory, 'out')) : []
  assert.deepEqual(
    left.filter((name) => name.endsWith('.tmp')),
    [],
  )
  if (ran.code === 130)
    assert.deepEqual(
      left.filter((name) => name.startsWith('shop')),
      [],
    )
  assert.equal((await stage5(own.directory, ['build', 'shop'])).code, 0)
})
