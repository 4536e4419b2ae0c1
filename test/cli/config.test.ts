/** `stage5 config`: packages that signify(1) and tar(1) read, seeds that cpio(1) reads, and what is refused. */
import assert from 'node:assert/strict'
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { findTool, run } from '../../src/host/run.ts'
import { signifyPublicKey } from '../../src/format/signify.ts'
import { loadPublicKey } from '../../src/host/signing.ts'
import { stage5 } from '../helpers/console.ts'

const project = realpathSync(mkdtempSync(join(tmpdir(), 'stage5-config-')))
after(() => rmSync(project, { recursive: true, force: true }))
const at = (path: string): string => join(project, path)

function write(path: string, text: string): void {
  mkdirSync(join(at(path), '..'), { recursive: true })
  writeFileSync(at(path), text)
}

before(async () => {
  assert.equal((await stage5(project, ['key', 'new', 'house'])).code, 0)
  write('site/root/etc/motd', 'hello\n')
  write('site/apply', 'true\n')
  symlinkSync('motd', at('site/root/etc/link'))
})

test('equal folders give equal packages, which tar reads and signify believes', async (t) => {
  for (const name of ['a', 'b/a']) {
    const ran = await stage5(project, ['config', 'pack', 'site', '--key', 'house', '-o', `${name}.tar.gz`])
    assert.equal(ran.code, 0, ran.stderr)
    assert.match(ran.stdout, new RegExp(`^${name}\\.tar\\.gz \\d+ B, number 1, signed by [0-9a-f]{16}\\n$`))
  }
  assert.deepEqual(readFileSync(at('a.tar.gz')), readFileSync(at('b/a.tar.gz')))
  const label = await run(['tar', '-xzOf', at('a.tar.gz'), 'stage5-config'])
  assert.equal(label.stdout.toString(), 'a 1\n')
  const listed = await run(['tar', '-tzvf', at('a.tar.gz')])
  assert.match(
    listed.stdout.toString(),
    /^-rw-r--r-- 0\/0 .* stage5-config\n-rw-r--r-- 0\/0 .* apply\n.*root\/\n.*root\/etc\/\n.*link -> motd\n.*motd\n$/,
  )
  if (!findTool('signify-openbsd')) return t.skip('needs signify-openbsd')
  const { raw, keyid } = await loadPublicKey(at('.stage5/keys/house.pub'))
  write('house.signify', signifyPublicKey(raw, keyid))
  const check = [
    'signify-openbsd',
    '-V',
    '-p',
    at('house.signify'),
    '-m',
    at('a.tar.gz'),
    '-x',
    at('a.tar.gz.sig'),
  ]
  assert.match((await run(check)).stdout.toString(), /Signature Verified/)
  writeFileSync(at('a.tar.gz'), 'x', { flag: 'a' })
  await assert.rejects(run(check))
})

test('a package has the number of the one before it while its contents are the same, else a greater one', async () => {
  const pack = async (...words: readonly string[]): Promise<string> => {
    const ran = await stage5(project, ['config', 'pack', 'turns', '--key', 'house', '--json', ...words])
    if (ran.code !== 0) return /found [^\n]*/.exec(ran.stdout + ran.stderr)?.[0] ?? ran.stderr
    return `${(JSON.parse(ran.stdout) as { sequence: number }).sequence}`
  }
  write('turns/apply', 'one\n')
  assert.deepEqual([await pack(), await pack()], ['1', '1'])
  write('turns/apply', 'two\n')
  assert.deepEqual(
    [await pack(), await pack(), await pack('--sequence', '1700000000')],
    ['2', '2', '1700000000'],
  )
  write('turns/apply', 'three\n')
  assert.match(await pack('--sequence', '1700000000'), /^found 1700000000/)
  assert.match(await pack('--sequence', '7'), /^found 7/)
  assert.match(await pack('--sequence', '-7'), /^found .*-7/)
  assert.equal(await pack(), '1700000001')
  write('old.tar.gz', 'something else')
  assert.match(
    (await stage5(project, ['config', 'pack', 'turns', '--key', 'house', '-o', 'old.tar.gz'])).stderr,
    /old\.tar\.gz stands there and is no config package with a number: remove it or say --sequence.*S5_CONFIG_INVALID/s,
  )
})

test('a seed becomes a part of an initrd or a small disk, without its comments', async (t) => {
  write('seven.seed', '# seven\nstage5.ip=10.0.2.77/24   stage5.hostname=web7 # its name\n')
  assert.equal((await stage5(project, ['config', 'seed', 'seven.seed'])).stdout, 'seven.cpio\n')
  assert.equal((await stage5(project, ['config', 'seed', 'seven.seed', '--disk'])).stdout, 'seven.img\n')
  const words = 'stage5.ip=10.0.2.77/24\nstage5.hostname=web7\n'
  const disk = readFileSync(at('seven.img'))
  assert.equal(disk.length, 65_536)
  assert.equal(disk.toString('latin1').replace(/\0+$/, ''), words)
  if (!findTool('cpio')) return t.skip('needs cpio')
  const body = await run(['cpio', '-i', '--to-stdout', '--quiet', 'etc/seed'], {
    input: readFileSync(at('seven.cpio')),
  })
  assert.equal(body.stdout.toString(), words)
})

for (const [name, words, wanted] of [
  ['no key', ['pack', 'site'], /S5_USAGE/],
  ['an unknown key', ['pack', 'site', '--key', 'nobody'], /S5_FILE_MISSING/],
  [
    'a folder that is not there',
    ['pack', 'nothing', '--key', 'house'],
    /there is no folder .*S5_CONFIG_INVALID/s,
  ],
  [
    'a folder with other things',
    ['pack', '.', '--key', 'house'],
    /expected root\/ .* or apply .*, found .*S5_CONFIG_INVALID/s,
  ],
  ['a name that no shell takes', ['pack', 'site', '--key', 'house', '-o', 'a b.tar.gz'], /S5_CONFIG_INVALID/],
  ['an unknown action', ['sign', 'site'], /config expects pack or seed, found "sign"/],
  ['a seed that is not there', ['seed', 'nothing.seed'], /S5_FILE_MISSING/],
  [
    'a seed with other words',
    ['seed', 'site/apply'],
    /a seed has words .*, found "true"\n.*S5_CONFIG_INVALID/s,
  ],
] as const)
  test(`config ${words.join(' ')}: ${name} is refused`, async () => {
    const ran = await stage5(project, ['config', ...words])
    assert.equal(ran.code === 0, false)
    assert.match(ran.stderr, wanted)
  })
