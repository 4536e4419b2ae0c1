/** Images that cannot be made are refused by `plan` and by `build`, before a package is chosen or fetched. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { stage5 } from '../helpers/console.ts'
import { packedProject } from '../helpers/project.ts'

for (const [images, message] of [
  ['[floppy]', /unknown image format "floppy"; known: squashfs, [\s\S]*S5_FORMAT_UNKNOWN/],
  ['[kernel]', /shop has no kernel, and images: kernel needs one[\s\S]*S5_KERNEL_MISSING/],
  ['[squashfs, disk]', /shop has no kernel, and images: disk needs one[\s\S]*S5_KERNEL_MISSING/],
] as const)
  test(`images: ${images}`, async () => {
    using project = await packedProject()
    const profile = join(project.directory, 'profiles/shop.yaml')
    writeFileSync(profile, readFileSync(profile, 'utf8').replace('[squashfs]', images))
    for (const word of ['plan', 'build']) {
      const { code, stderr } = await stage5(project.directory, [word, 'shop'])
      assert.equal(code, 1, word)
      assert.match(stderr, message)
    }
    assert.ok(!existsSync(join(project.directory, 'profiles/shop.lock.yaml')))
    assert.ok(!existsSync(join(project.directory, '.store/v1/downloads')))
    assert.equal((await stage5(project.directory, ['build', 'shop', '--format', 'tar'])).code, 0)
  })

test('memory that no base fits into is refused by plan, without a build', async () => {
  using project = await packedProject()
  const profile = join(project.directory, 'profiles/shop.yaml')
  const text = readFileSync(profile, 'utf8').replace('kernel: none', 'kernel: {}')
  for (const [memory, code] of [
    ['20M', 1],
    ['80M', 0],
  ] as const) {
    writeFileSync(profile, `${text}memory: ${memory}\n`)
    const ran = await stage5(project.directory, ['plan', 'shop'])
    assert.equal(ran.code, code, ran.stderr)
    if (code === 1)
      assert.match(
        ran.stderr,
        /does not come up with memory: 20M: from a disk: 76 MiB\n +hint: give guests more memory\n[\s\S]*S5_MEMORY_SHORT/,
      )
  }
})
