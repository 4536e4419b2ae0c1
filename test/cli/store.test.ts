/** `store verify|repair|stats` and `gc` as a user meets them, beside other processes and killed half-way. */
import assert from 'node:assert/strict'
import {
  chmodSync,
  cpSync,
  globSync,
  mkdtempSync,
  realpathSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { tmpdir } from 'node:os'
import { after, before, test } from 'node:test'
import { openStore } from '../../src/store/store.ts'
import { expectConsole, stage5 } from '../helpers/console.ts'
import { packedProject, type Project } from '../helpers/project.ts'

const MAIN = resolve(import.meta.dirname, '../../src/main.js')

let packed: Project
before(async () => {
  packed = await packedProject()
})
after(() => packed[Symbol.dispose]())

/** A project with `shop` built. */
async function builtProject(): Promise<Project> {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'stage5-store-')))
  cpSync(packed.directory, directory, { recursive: true })
  const project = { directory, [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }) }
  assert.equal((await stage5(project.directory, ['build', 'shop'])).code, 0)
  return project
}

interface Freed {
  readonly objects: number
  readonly bytes: number
}

async function freedBy(project: Project, ...words: string[]): Promise<Freed> {
  const { stdout } = await stage5(project.directory, ['gc', ...words, '--json'])
  return (JSON.parse(stdout) as { freed: Freed }).freed
}

/** Turns one byte of every pack that holds `text`. */
function damage(project: Project, text: string): number {
  let count = 0
  for (const path of globSync(join(project.directory, '.store/v1/segments/*/*'))) {
    const bytes = readFileSync(path)
    const at = bytes.indexOf(text)
    if (at === -1) continue
    bytes[at] = (bytes[at] as number) ^ 1
    chmodSync(path, 0o600)
    writeFileSync(path, bytes)
    count++
  }
  return count
}

/** Makes everything in the store look unused for a year. */
function age(project: Project): void {
  for (const path of globSync(join(project.directory, '.store/v1/{segments/*,downloads/*/packages/*}')))
    utimesSync(path, 1_600_000_000, 1_600_000_000)
}

test('a store that is whole says so, and what keeps its things', async (t) => {
  using project = await builtProject()
  await expectConsole(t, 'store-verify', project.directory, ['store', 'verify'])
  await expectConsole(t, 'store-stats', project.directory, ['store', 'stats'])
  await expectConsole(t, 'store-usage', project.directory, ['store', 'verfy'])
})

test('a damaged object is named with those who need it; repair fetches it again', async (t) => {
  using project = await builtProject()
  const before = readFileSync(globSync(join(project.directory, 'out/shop/*.squashfs'))[0] as string)
  assert.equal(damage(project, 'echo "shop with ldap"'), 1)
  await expectConsole(t, 'store-damaged', project.directory, ['store', 'verify'])
  await expectConsole(t, 'store-repair', project.directory, ['store', 'repair'])
  assert.equal((await stage5(project.directory, ['store', 'verify'])).code, 0)
  rmSync(join(project.directory, 'out'), { recursive: true })
  assert.equal((await stage5(project.directory, ['build', 'shop', '--locked', '--offline'])).code, 0)
  assert.ok(
    before.equals(readFileSync(globSync(join(project.directory, 'out/shop/*.squashfs'))[0] as string)),
  )
})

test('repair says what cannot be fetched again', async () => {
  using project = await builtProject()
  assert.equal(damage(project, 'echo "shop with ldap"'), 1)
  rmSync(join(project.directory, 'packages'), { recursive: true })
  rmSync(join(project.directory, '.store/v1/downloads'), { recursive: true })
  const { code, stdout } = await stage5(project.directory, ['store', 'repair'])
  assert.equal(code, 1)
  assert.match(stdout, /not repaired: .*shop\.lock\.yaml/)
  assert.match(stdout, /not repaired: image out\/shop_/)
})

test('a collection does not give a damaged block a good name', async () => {
  using project = await builtProject()
  const store = await openStore(join(project.directory, '.store'))
  store.blocks.put('a block', Buffer.from('the bytes of a block'))
  await store.write(Buffer.from('garbage beside it'))
  await store.blocks.flush()
  await store[Symbol.asyncDispose]()
  assert.equal(damage(project, 'the bytes of a block'), 1)
  assert.equal((await stage5(project.directory, ['gc'])).code, 0)
  await using after = await openStore(join(project.directory, '.store'))
  assert.equal(after.blocks.get('a block'), undefined)
  assert.equal((await stage5(project.directory, ['store', 'verify'])).code, 0)
})

test('gc keeps what locks and outputs need, and frees the rest when it is old', async (t) => {
  using project = await builtProject()
  assert.equal((await stage5(project.directory, ['build', 'shop@ssl'])).code, 0)
  age(project)
  assert.equal((await freedBy(project)).objects, 0)
  rmSync(join(project.directory, 'profiles/shop@ssl.lock.yaml'))
  for (const path of globSync(join(project.directory, 'out/*ssl*')))
    rmSync(path, { recursive: true, force: true })
  assert.equal((await freedBy(project, '--keep-days', '99999')).objects, 0)
  age(project)
  const freed = await freedBy(project, '--dry-run')
  assert.ok(freed.objects > 0)
  await expectConsole(t, 'gc', project.directory, ['gc'])
  assert.equal((await freedBy(project)).objects, 0)
  assert.equal((await stage5(project.directory, ['build', 'shop', '--locked', '--offline'])).code, 0)
})

test('--max-size frees what is young, and not what locks need', async () => {
  using project = await builtProject()
  const store = await openStore(join(project.directory, '.store'))
  for (let at = 0; at < 20; at++) store.blocks.put(`block ${at}`, Buffer.alloc(100_000, at))
  await store[Symbol.asyncDispose]()
  const freed = await freedBy(project, '--max-size', '1M')
  assert.ok(freed.bytes >= 1_000_000)
  const none = await stage5(project.directory, ['gc', '--max-size', '0'])
  assert.equal(none.code, 0)
  assert.match(none.stdout, /^[\d.]+ KiB are left, more than --max-size: all of it is needed$/m)
  assert.equal((await stage5(project.directory, ['build', 'shop', '--locked', '--offline'])).code, 0)
  const refused = await stage5(project.directory, ['gc', '--max-size', 'much'])
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /S5_USAGE/)
})

test('gc waits for other processes that use the store, and goes on when they are killed', async () => {
  using project = await builtProject()
  const holder = spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `import { openStore } from ${JSON.stringify(resolve(import.meta.dirname, '../../src/store/store.ts'))}
       const store = await openStore('.store')
       const transaction = store.begin()
       console.log('open')
       setInterval(() => {}, 1000)`,
    ],
    { cwd: project.directory, stdio: ['ignore', 'pipe', 'inherit'] },
  )
  await once(holder.stdout, 'data')
  const refused = await stage5(project.directory, ['gc', '--wait', '1s'])
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, new RegExp(`${holder.pid}[^]*S5_LOCK_BUSY`))
  const waiting = stage5(project.directory, ['gc', '--wait', '60s'])
  await sleep(300)
  holder.kill('SIGKILL')
  assert.equal((await waiting).code, 0)
  assert.deepEqual(globSync(join(project.directory, '.store/v1/staging/*')), [])
})

test('builds and collections in loops beside each other: no build fails, and its bytes are right', async () => {
  using project = await builtProject()
  const run = (...words: string[]): ReturnType<typeof stage5> => stage5(project.directory, words)
  const profiles = ['shop', 'shop@ssl', 'shop@ldap']
  const sums = (name: string): string =>
    readFileSync(join(project.directory, 'out', name.replace('@', '-'), 'SHA256SUMS'), 'utf8')
  for (const name of profiles) assert.equal((await run('build', name)).code, 0)
  const expected = profiles.map(sums)
  let isBuilding = true
  const collect = async (): Promise<number> => {
    let collected = 0
    while (isBuilding) {
      age(project)
      const { code, stderr, stdout } = await run(
        'gc',
        '--keep-days',
        '0',
        '--max-size',
        '0',
        '--wait',
        '2s',
        '--json',
      )
      // Whoever cannot get in between says who is in the way.
      if (code === 0) collected += (JSON.parse(stdout) as { freed: Freed }).freed.bytes > 0 ? 1 : 0
      else assert.match(stderr, /S5_LOCK_BUSY/)
    }
    return collected
  }
  const collecting = collect()
  try {
    for (let round = 0; round < 3; round++) {
      const built = await Promise.all(profiles.map((name) => run('build', name)))
      for (const { code, stderr } of built) assert.equal(code, 0, stderr)
    }
  } finally {
    isBuilding = false
  }
  assert.ok((await collecting) >= 1)
  for (const [at, name] of profiles.entries()) {
    assert.equal((await run('build', name)).code, 0)
    assert.equal(sums(name), expected[at])
  }
  assert.equal((await run('store', 'verify')).code, 0)
})

test('a gc that is killed at any moment leaves a store that builds', async () => {
  using project = await builtProject()
  const count = (): number => globSync(join(project.directory, '.store/v1/segments/*')).length
  for (const delay of [60, 90, 120, 160, 220]) {
    const store = await openStore(join(project.directory, '.store'))
    for (let at = 0; at < 30; at++) {
      await store.write(Buffer.from(`garbage ${delay} ${at}`))
      store.blocks.put(`block ${delay} ${at}`, Buffer.alloc(20_000, at))
    }
    await store[Symbol.asyncDispose]()
    const child = spawn(process.execPath, [MAIN, 'gc'], {
      cwd: project.directory,
      env: { ...process.env, STAGE5_STORE: join(project.directory, '.store') },
      stdio: 'ignore',
    })
    const ended = once(child, 'close')
    await sleep(delay)
    child.kill('SIGKILL')
    await ended
    assert.ok(count() > 0)
    const { code, stdout } = await stage5(project.directory, ['store', 'verify'])
    assert.equal(code, 0, stdout)
  }
  assert.equal((await stage5(project.directory, ['build', 'shop', '--locked', '--offline'])).code, 0)
  assert.ok(statSync(join(project.directory, 'out/shop')).isDirectory())
})
