/** Configuration extensions: systemd-confext lays ours over /etc of a host that it fits, and of no other. */
import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { buildProfile } from '../helpers/guest.ts'
import { cannotCompose, newerSystemd } from '../helpers/newer-systemd.ts'

const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())

const PROFILE = `stage5: 1
parents: [base]
kernel: none
network: none
packages: []
files:
  - {path: /etc/house.conf, content: "of the confext\\n"}
  - {path: /usr/share/house/greeting, content: "of the sysext\\n"}
images:
  - {format: confext, os: debian, osVersion: 12, name: house}
  - {format: sysext, os: debian, osVersion: 12, name: house}
`

/** What systemd 254 says when a host has both extensions, and what the host's files are then. */
type Merge = (osRelease: string, name?: string) => Promise<string>

async function scene(t: TestContext): Promise<Merge | undefined> {
  mkdirSync(join(project.path, 'profiles'), { recursive: true })
  writeFileSync(join(project.path, 'profiles/house.yaml'), PROFILE)
  const tools = cannotCompose ? { skip: cannotCompose } : await newerSystemd(project.path)
  const built = 'skip' in tools ? tools : await buildProfile(project.path, 'house')
  if ('skip' in tools || 'skip' in built) {
    t.skip('skip' in tools ? tools.skip : 'skip' in built ? built.skip : '')
    return undefined
  }
  return async (osRelease, name = 'house') => {
    writeFileSync(join(tools.root, 'usr/lib/os-release'), osRelease)
    for (const [folder, ending] of [
      ['var/lib/confexts', '.confext.raw'],
      ['var/lib/extensions', '.sysext.raw'],
    ] as const) {
      rmSync(join(tools.root, folder), { recursive: true, force: true })
      mkdirSync(join(tools.root, folder), { recursive: true })
      copyFileSync(built.file(ending), join(tools.root, folder, `${name}.raw`))
    }
    const { said } = await tools.inside(`
      systemd-confext merge; systemd-sysext merge
      cat /etc/house.conf /usr/share/house/greeting
      ls /etc/machine-id; echo x >/etc/written
      systemd-confext status --json=short; systemd-confext unmerge; systemd-sysext unmerge
      cat /etc/house.conf; echo "over $(ls /usr/bin/busybox)"`)
    return said
  }
}

test('systemd 254 merges our confext and sysext into a host that they fit, and into no other', async (t) => {
  const merge = await scene(t)
  if (!merge) return
  const merged = await merge('ID=debian\nVERSION_ID=12\n')
  assert.match(merged, /Using extensions 'house'\.\nMerged extensions into '\/etc'\./)
  assert.match(merged, /Using extensions 'house'\.\nMerged extensions into '\/usr'\./)
  assert.match(merged, /^of the confext\nof the sysext\n/m)
  assert.match(merged, /can't create \/etc\/written: Read-only file system/)
  assert.match(merged, /"hierarchy":"\/etc","extensions":\[?"house"/)
  assert.match(merged, /Unmerged '\/etc'\.\nUnmerged '\/usr'\.\ncat: can't open '\/etc\/house\.conf'/)
  assert.match(merged, /over \/usr\/bin\/busybox\n$/)

  const refused = /No suitable extensions found \(1 ignored due to incompatible image\(s\)\)\./g
  for (const host of ['ID=debian\nVERSION_ID=13\n', 'ID=fedora\nVERSION_ID=12\n']) {
    const said = await merge(host)
    assert.equal(said.match(refused)?.length, 2, said)
    assert.match(said, /can't open '\/etc\/house\.conf'/)
    assert.match(said, /can't open '\/usr\/share\/house\/greeting'/)
  }
  const renamed = await merge('ID=debian\nVERSION_ID=12\n', 'other')
  assert.equal(renamed.match(/Failed to read metadata for image other: No medium found/g)?.length, 2, renamed)
  assert.match(renamed, /can't open '\/etc\/house\.conf'/)
})
