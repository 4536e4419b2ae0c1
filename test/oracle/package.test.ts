/** The published package: packed, installed somewhere else, and used there. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'

const TOP = resolve(import.meta.dirname, '../..')

test('npm pack gives a package that builds where it is installed', () => {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'stage5-package-')))
  const run = (argv: readonly string[], cwd = directory): string => {
    const env = { ...process.env, STAGE5_STORE: join(directory, '.store') }
    const { status, stdout, stderr } = spawnSync(argv[0] as string, argv.slice(1), {
      cwd,
      env,
      encoding: 'utf8',
    })
    assert.equal(status, 0, `${argv.join(' ')}\n${stdout}${stderr}`)
    return stdout
  }
  try {
    run(['npm', 'pack', '--pack-destination', directory, '--silent'], TOP)
    const tarball = readdirSync(directory).find((name) => name.endsWith('.tgz')) as string
    cpSync(join(TOP, 'test/fixtures/project'), directory, { recursive: true })
    writeFileSync(join(directory, 'package.json'), '{"private": true, "type": "module"}\n')
    run(['npm', 'install', '--no-audit', '--no-fund', '--prefer-offline', join(directory, tarball)])
    const stage5 = (...words: string[]): string =>
      run([process.execPath, 'node_modules/stage5/src/main.js', ...words])
    stage5('pack', 'apps/shell', '--name', 'app/shell', '--version', '1.0.0', '--out', 'packages')
    stage5(
      'pack',
      'apps/shop',
      '--name',
      'app/shop',
      '--version',
      '2.1.0',
      '--depends',
      'app/shell',
      '--out',
      'packages',
    )
    stage5('index', 'packages')
    assert.match(stage5('build', 'shop'), /shop_.*\.squashfs/)
    const script =
      "import { CODES, printTree, treeDigest } from 'stage5'; console.log(typeof printTree, typeof treeDigest, 'S5_USAGE' in CODES)"
    assert.equal(run([process.execPath, '--input-type=module', '-e', script]), 'function function true\n')
  } finally {
    rmSync(directory, { recursive: true, force: true })
    rmSync(join(TOP, 'dist'), { recursive: true, force: true })
  }
})
