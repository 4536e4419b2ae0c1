/** systemctl enables the same units as the stage init. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { init } from '../../src/stage/init.ts'
import { linksOf, SYSTEMD_FILES } from '../helpers/gpost-units.ts'
import { run } from '../stage/scene.ts'

test('presets enable what systemctl preset-all enables', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'gpost-units-'))
  t.after(() => rmSync(root, { recursive: true, force: true }))
  for (const [path, text] of Object.entries(SYSTEMD_FILES)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  try {
    execFileSync('systemctl', [`--root=${root}`, 'preset-all', '--quiet'], { stdio: 'pipe' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return t.skip('needs systemctl')
    throw error
  }
  const folder = join(root, 'etc/systemd/system')
  const theirs = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isSymbolicLink())
    .map((entry) => {
      const path = join(entry.parentPath, entry.name)
      return `${path.slice(folder.length + 1)} -> ${readlinkSync(path)}`
    })
  const systemd = {
    label: 'sys-apps/systemd_255_b1',
    name: 'sys-apps/systemd',
    version: '255',
    arch: 'amd64',
    scheme: 'ebuild',
    control: {},
  }
  const ours = linksOf(await run(init, SYSTEMD_FILES, {}, { packages: [systemd] }), 'etc/systemd/system')
  assert.ok(ours.length > 10)
  assert.deepEqual(theirs.sort(), ours.toSorted())
})
