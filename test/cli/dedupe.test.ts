/** `stage5 dedupe`: what becomes one file, what must not, and that nothing that can be read is different after. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { findTool } from '../../src/host/run.ts'
import { expectConsole, stage5 } from '../helpers/console.ts'
import { packedProject } from '../helpers/project.ts'

const MAIN = resolve(import.meta.dirname, '../../src/main.js')
let top = ''
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'stage5-dedupe-'))
})
afterEach(() => rmSync(top, { recursive: true, force: true }))

const TIME = 1_700_000_000

function put(path: string, bytes: string, mode = 0o644, time = TIME): void {
  const place = join(top, path)
  mkdirSync(join(place, '..'), { recursive: true })
  writeFileSync(place, bytes)
  chmodSync(place, mode)
  utimesSync(place, time, time)
}

/** All that can be read of everything below, numbers of inodes and of links aside. */
function seen(directory: string, below = ''): string[] {
  return readdirSync(join(directory, below))
    .sort()
    .flatMap((name) => {
      const path = join(below, name)
      const place = join(directory, path)
      const { mode, uid, gid, size, mtimeNs } = lstatSync(place, { bigint: true })
      const isFile = lstatSync(place).isFile()
      const line = `${path} ${mode} ${uid} ${gid} ${mtimeNs} ${isFile ? `${size} ${readFileSync(place, 'latin1')}` : ''}`
      return lstatSync(place).isDirectory() ? [line, ...seen(directory, path)] : [line]
    })
}

function sample(): void {
  for (const guest of ['a', 'b', 'c']) {
    put(`${guest}/usr/lib/libc`, 'c'.repeat(200_000))
    put(`${guest}/usr/bin/sh`, 'shell')
    put(`${guest}/etc/mode`, 'equal', guest === 'b' ? 0o600 : 0o644)
    put(`${guest}/etc/time`, 'equal', 0o644, guest === 'b' ? TIME + 1 : TIME)
    put(`${guest}/etc/other`, `bytes of ${guest}`)
    put(`${guest}/usr/lib/nearly`, `${'n'.repeat(199_999)}${guest}`)
    put(`${guest}/etc/empty`, '')
    symlinkSync('sh', join(top, guest, 'usr/bin/dash'))
  }
  put("b/od'd \u00e9/file", 'odd')
  put('c/file', 'odd')
  linkSync(join(top, 'c/usr/bin/sh'), join(top, 'c/usr/bin/bash'))
}

const ino = (path: string): number => statSync(join(top, path)).ino

test('equal files become one; nothing that can be read is different', async (t) => {
  if (!findTool('getfattr')) return t.skip('needs getfattr')
  sample()
  const before = seen(top)
  await expectConsole(t, 'dedupe-dry-run', top, ['dedupe', '--dry-run', 'a', 'b', 'c'])
  assert.deepEqual(
    seen(top).filter((line) => !line.startsWith('.store')),
    before,
  )
  assert.notEqual(ino('a/usr/bin/sh'), ino('b/usr/bin/sh'))
  await expectConsole(t, 'dedupe', top, ['dedupe', 'a', 'b', 'c'])
  assert.deepEqual(
    seen(top).filter((line) => !line.startsWith('.store')),
    before,
  )
  for (const path of ['usr/lib/libc', 'usr/bin/sh'])
    assert.equal(new Set(['a', 'b', 'c'].map((guest) => ino(`${guest}/${path}`))).size, 1, path)
  assert.equal(ino('c/usr/bin/bash'), ino('a/usr/bin/sh'))
  assert.equal(ino("b/od'd \u00e9/file"), ino('c/file'))
  for (const path of ['etc/mode', 'etc/time']) assert.notEqual(ino(`a/${path}`), ino(`b/${path}`), path)
  for (const path of ['etc/other', 'usr/lib/nearly', 'etc/empty'])
    assert.equal(statSync(join(top, 'a', path)).nlink, 1, path)
  const again = await stage5(top, ['dedupe', 'a', 'b', 'c', '--json'])
  assert.equal((JSON.parse(again.stdout) as { linked: number }).linked, 0)
})

test('many small files of one size and time become one where their bytes are equal, and only there', async (t) => {
  if (!findTool('getfattr')) return t.skip('needs getfattr')
  const names = Array.from({ length: 40 }, (_, at) => String(at + 10))
  for (const guest of ['a', 'b', 'c']) for (const name of names) put(`${guest}/${name}`, `bytes ${name}`)
  const before = seen(top)
  const { stdout, stderr, code } = await stage5(top, ['dedupe', 'a', 'b', 'c', '--json'])
  assert.equal(code, 0, stderr)
  assert.equal((JSON.parse(stdout) as { linked: number }).linked, 80)
  assert.deepEqual(
    seen(top).filter((line) => !line.startsWith('.store')),
    before,
  )
  for (const name of names)
    assert.deepEqual([ino(`b/${name}`), ino(`c/${name}`)], [ino(`a/${name}`), ino(`a/${name}`)], name)
  assert.equal(new Set(names.map((name) => ino(`a/${name}`))).size, names.length)
})

test('so many bytes that another thread compares some of them', async (t) => {
  if (!findTool('getfattr')) return t.skip('needs getfattr')
  const names = Array.from({ length: 12 }, (_, at) => `${at}-\u00e9`)
  for (const [at, name] of names.entries())
    for (const guest of ['a', 'b', 'c'])
      put(
        `${guest}/${name}`,
        `${'n'.repeat(2_000_000)}${at % 4 === 0 ? `${guest}${at}` : at}`.padEnd(2_000_009 + at),
      )
  const before = seen(top)
  const { stdout, stderr, code } = await stage5(top, ['dedupe', 'a', 'b', 'c', '--json'])
  assert.equal(code, 0, stderr)
  const { linked, changed } = JSON.parse(stdout) as Record<string, number>
  assert.deepEqual([linked, changed], [18, 0])
  assert.deepEqual(
    seen(top).filter((line) => !line.startsWith('.store')),
    before,
  )
  for (const [at, name] of names.entries()) {
    const numbers = new Set(['a', 'b', 'c'].map((guest) => ino(`${guest}/${name}`)))
    assert.equal(numbers.size, at % 4 === 0 ? 3 : 1, name)
  }
})

test('files that differ in extended attributes stay apart', async (t) => {
  if (!findTool('setfattr')) return t.skip('needs setfattr')
  for (const guest of ['a', 'b', 'c']) put(`${guest}/file`, 'equal')
  if (spawnSync('setfattr', ['-n', 'user.stage5', '-v', 'x', join(top, 'b/file')]).status !== 0)
    return t.skip('needs user attributes')
  assert.equal((await stage5(top, ['dedupe', 'a', 'b', 'c'])).code, 0)
  assert.equal(ino('a/file'), ino('c/file'))
  assert.notEqual(ino('a/file'), ino('b/file'))
})

test('what a killed run left is swept; folders in folders and missing ones are refused', async (t) => {
  if (!findTool('getfattr')) return t.skip('needs getfattr')
  for (const guest of ['a', 'b']) put(`${guest}/file`, 'equal')
  linkSync(join(top, 'a/file'), join(top, 'a/.stage5-dedupe-999999999'))
  assert.equal((await stage5(top, ['dedupe', 'a', 'b'])).code, 0)
  assert.deepEqual(readdirSync(join(top, 'a')), ['file'])
  assert.match((await stage5(top, ['dedupe', 'a', 'a'])).stderr, /S5_USAGE/)
  assert.match((await stage5(top, ['dedupe', 'a', 'z'])).stderr, /S5_FILE_MISSING/)
  writeFileSync(join(top, 'file'), '')
  assert.match((await stage5(top, ['dedupe', 'a', 'file'])).stderr, /no folder file\n.*S5_FILE_MISSING/)
})

test('roots that somebody copied become names of the files that the store has for others', async (t) => {
  if (!findTool('getfattr')) return t.skip('needs getfattr')
  using project = await packedProject()
  const { directory } = project
  const run = async (...words: string[]): Promise<string> => {
    const ran = await stage5(directory, words)
    assert.equal(ran.code, 0, ran.stderr)
    return ran.stdout
  }
  await run('checkout', 'shop', 'made')
  assert.equal(spawnSync('cp', ['-a', 'made', 'copied'], { cwd: directory }).status, 0)
  // Not what the store has: another time.
  utimesSync(join(directory, 'copied/usr/bin/shop'), TIME + 1, TIME + 1)
  const before = seen(join(directory, 'copied'))
  const dry = JSON.parse(await run('dedupe', '--dry-run', 'copied', '--json')) as Record<string, number>
  await expectConsole(t, 'dedupe-store', directory, ['dedupe', 'copied'])
  assert.deepEqual(seen(join(directory, 'copied')), before)
  assert.deepEqual([dry['linked'], dry['toShared']], [1, 1])
  const number = (path: string): number => statSync(join(directory, path)).ino
  assert.equal(number('copied/bin/sh'), number('made/bin/sh'))
  assert.notEqual(number('copied/usr/bin/shop'), number('made/usr/bin/shop'))
  await run('checkout', '--check', 'made')
  await run('store', 'verify')
})

test('killed at any point it loses no byte and no time, and the next run mends the times of folders', async (t) => {
  if (!findTool('getfattr') || !findTool('strace')) return t.skip('needs getfattr and strace')
  sample()
  // Times that floating-point seconds cannot hold.
  const odd = ['-d', '@1700000000.123456789']
  const folders = [
    'a',
    'a/usr',
    'a/usr/bin',
    'a/usr/lib',
    'b',
    'b/usr/bin',
    "b/od'd \u00e9",
    'c',
    'c/usr/lib',
  ]
  const saved = join(top, '.saved')
  const guests = ['a', 'b', 'c']
  const touch = (): void =>
    void spawnSync('touch', [...odd, ...folders.map((folder) => join(top, folder))], { stdio: 'inherit' })
  touch()
  mkdirSync(saved)
  for (const guest of guests) spawnSync('cp', ['-a', join(top, guest), saved])
  const all = (): string[] => guests.flatMap((guest) => seen(join(top, guest)))
  const files = (lines: string[]): string[] =>
    lines.filter((line) => !/^\S*( \S*)? 1\d{4} /.test(line) && !line.includes('.stage5-dedupe-'))
  const before = all()
  let killed = 0
  for (const call of ['link', 'rename', 'utimensat', 'unlink'])
    for (const when of [1, 2, 4, 7]) {
      for (const guest of guests) {
        rmSync(join(top, guest), { recursive: true })
        spawnSync('cp', ['-a', join(saved, guest), top])
      }
      assert.deepEqual(all(), before)
      const inject = ['-qq', '-o', '/dev/null', '-e', `inject=${call}:signal=SIGKILL:when=${when}`]
      const words = [process.execPath, MAIN, '--quiet', 'dedupe', ...guests]
      const { signal } = spawnSync('strace', [...inject, ...words], {
        cwd: top,
        env: { ...process.env, STAGE5_STORE: join(top, '.store') },
      })
      if (signal === 'SIGKILL') killed++
      assert.deepEqual(files(all()), files(before), `${call} ${when}`)
      assert.equal((await stage5(top, ['dedupe', ...guests])).code, 0)
      assert.deepEqual(all(), before, `${call} ${when}`)
    }
  assert.ok(killed >= 8, `${killed} kills`)
  t.diagnostic(`${killed} kills`)
})

test('several threads that are killed or interrupted lose no byte and no time either', async (t) => {
  if (!findTool('getfattr') || !findTool('strace')) return t.skip('needs getfattr and strace')
  const guests = ['a', 'b', 'c']
  const saved = join(top, '.saved')
  mkdirSync(saved)
  for (const guest of guests) {
    for (let at = 0; at < 12; at++)
      put(
        `${guest}/d${at % 3}/${at}`,
        String(at)
          .repeat(2_000_011)
          .slice(0, 2_000_000 + at),
      )
    spawnSync('touch', ['-d', '@1700000000.123456789', join(top, guest), join(top, guest, 'd1')])
    spawnSync('cp', ['-a', join(top, guest), saved])
  }
  const all = (): string[] => guests.flatMap((guest) => seen(join(top, guest)))
  const files = (lines: string[]): string[] =>
    lines.filter((line) => !/^\S*( \S*)? 1\d{4} /.test(line) && !line.includes('.stage5-dedupe-'))
  const before = all()
  const ended = { SIGKILL: 0, SIGINT: 0 }
  for (const [signal, call, when] of [
    ['SIGKILL', 'rename', 1],
    ['SIGKILL', 'rename', 4],
    ['SIGKILL', 'link', 3],
    ['SIGINT', 'rename', 1],
    ['SIGINT', 'link', 4],
  ] as const) {
    for (const guest of guests) {
      rmSync(join(top, guest), { recursive: true })
      spawnSync('cp', ['-a', join(saved, guest), top])
    }
    // One thread only for an interrupt: a second one ends the process at once.
    const threads = signal === 'SIGKILL' ? ['-f'] : []
    const inject = [
      ...threads,
      '-qq',
      '-o',
      '/dev/null',
      '-e',
      `inject=${call}:signal=${signal}:when=${when}`,
    ]
    const words = [process.execPath, MAIN, '--quiet', 'dedupe', ...guests]
    const ran = spawnSync('strace', [...inject, ...words], {
      cwd: top,
      env: { ...process.env, STAGE5_STORE: join(top, '.store') },
    })
    t.diagnostic(`${signal} ${call} ${when}: ${ran.signal} ${ran.status}`)
    if (signal === 'SIGKILL' ? ran.signal === 'SIGKILL' : ran.status === 130) ended[signal]++
    // Who is interrupted tidies up.
    if (signal === 'SIGINT') assert.deepEqual(all(), before, `${signal} ${call} ${when}`)
    else assert.deepEqual(files(all()), files(before), `${signal} ${call} ${when}`)
    assert.equal((await stage5(top, ['dedupe', ...guests])).code, 0)
    assert.deepEqual(all(), before, `${signal} ${call} ${when}`)
  }
  assert.ok(ended.SIGKILL === 3 && ended.SIGINT > 0, JSON.stringify(ended))
})
