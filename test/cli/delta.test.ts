/** `stage5 delta` and `stage5 patch` on outputs and on bare files. */
import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { expectConsole, stage5 } from '../helpers/console.ts'
import { packedProject, type Project } from '../helpers/project.ts'

let project: Project
const at = (path: string): string => join(project.directory, path)

function imageIn(output: string): string {
  const name = readdirSync(at(output)).find((file) => file.endsWith('.squashfs'))
  return join(output, name as string)
}

before(async () => {
  project = await packedProject()
  for (const name of ['shop', 'shop@ssl']) {
    const ran = await stage5(project.directory, ['build', name])
    assert.equal(ran.code, 0, ran.stderr)
  }
})
after(() => project[Symbol.dispose]())

test('stage5 delta out/shop out/shop-ssl', async (t) => {
  await expectConsole(t, 'delta', project.directory, ['delta', 'out/shop', 'out/shop-ssl', '-o', 'd.delta'])
})

test('patch makes the same bytes, from an output and from a bare file', async () => {
  const [old, fresh] = [imageIn('out/shop'), imageIn('out/shop-ssl')]
  await stage5(project.directory, ['delta', 'out/shop', 'out/shop-ssl', '-o', 'd.delta'])
  copyFileSync(at(old), at('bare.squashfs'))
  for (const [base, made] of [
    ['out/shop', 'one.squashfs'],
    ['bare.squashfs', 'two.squashfs'],
  ] as const) {
    const ran = await stage5(project.directory, ['patch', base, 'd.delta', '-o', made])
    assert.equal(ran.code, 0, ran.stderr)
    assert.deepEqual(readFileSync(at(made)), readFileSync(at(fresh)))
  }
})

test('without layouts the images are read, and the delta copies the same bytes', async () => {
  copyFileSync(at(imageIn('out/shop')), at('old.squashfs'))
  copyFileSync(at(imageIn('out/shop-ssl')), at('new.squashfs'))
  const json = async (...words: string[]): Promise<{ copied: number; blocks: number }> =>
    JSON.parse((await stage5(project.directory, ['delta', ...words, '--json'])).stdout)
  const bare = await json('old.squashfs', 'new.squashfs', '-o', 'bare.delta')
  const known = await json('out/shop', 'out/shop-ssl', '-o', 'known.delta')
  assert.equal(bare.copied, known.copied)
  assert.equal(bare.blocks, known.blocks)
})

test('a folder that has the name of a profile by chance does not stand for it', async () => {
  mkdirSync(at('shop'))
  const runs = [
    ['delta', 'shop', 'out/shop-ssl', '-o', 'by-name.delta'],
    ['diff', 'shop', 'shop@ssl'],
    ['checkout', 'shop', 'by-name'],
  ]
  for (const words of runs) {
    const { code, stderr } = await stage5(project.directory, words)
    assert.equal(code, 0, stderr)
  }
  assert.ok(existsSync(at('by-name/usr/bin/shop')))
  const { code, stderr } = await stage5(project.directory, ['checkout', './shop', 'by-path'])
  assert.equal(code, 1)
  assert.match(stderr, /shop is no output folder[^]*S5_OUTPUT_MISSING/)
})

test('the wrong base is told, and no file is left', async (t) => {
  await stage5(project.directory, ['delta', 'out/shop', 'out/shop-ssl', '-o', 'd.delta'])
  await expectConsole(t, 'patch-wrong-base', project.directory, [
    'patch',
    'out/shop-ssl',
    'd.delta',
    '-o',
    'wrong.squashfs',
  ])
  assert.ok(!readdirSync(project.directory).some((name) => name.startsWith('wrong')))
})

test('an erofs image and its verity tree are refused by name', async (t) => {
  const profile = readFileSync(at('profiles/shop.yaml'), 'utf8')
  writeFileSync(at('profiles/other.yaml'), profile.replace('[squashfs]', '[erofs, verity]'))
  assert.equal((await stage5(project.directory, ['build', 'other'])).code, 0)
  await expectConsole(t, 'delta-erofs', project.directory, ['delta', 'other', 'shop'])
  const tree = readdirSync(at('out/other')).find((file) => file.endsWith('.verity')) as string
  const ran = await stage5(project.directory, ['delta', 'shop', join('out/other', tree)])
  assert.match(ran.stderr, /found a verity tree/)
})

test('what is no image, no delta or not there is told', async () => {
  writeFileSync(at('text'), 'text\n')
  const code = async (...words: string[]): Promise<unknown> => {
    const { stdout } = await stage5(project.directory, [...words, '--json'])
    return (JSON.parse(stdout) as { error: { code: string } }).error.code
  }
  assert.equal(await code('delta', 'text', 'out/shop'), 'S5_ARCHIVE_REFUSED')
  assert.equal(await code('delta', 'out/shop', 'nothing'), 'S5_FILE_MISSING')
  assert.equal(await code('patch', 'out/shop', 'text', '-o', 'x'), 'S5_ARCHIVE_REFUSED')
  assert.equal(await code('patch', 'out/shop', 'd.delta'), 'S5_USAGE')
  assert.ok(!existsSync(at('x')))
})
