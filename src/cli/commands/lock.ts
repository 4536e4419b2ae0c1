/** `stage5 lock PROFILE`: choose packages anew and write them down for review; `--import` makes a profile of /etc/portage. */
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { Json } from '../../base/json.ts'
import { diffLocks, printLockDiff } from '../../resolve/lock-diff.ts'
import { type Command, type Result, textOption } from '../command.ts'
import { plan } from '../flow.ts'
import { importPortage } from '../import-portage.ts'
import { readLock, writeLock } from '../lock-file.ts'
import { readPortage } from '../read-portage.ts'
import { pinned } from '../pin.ts'
import { loadRecipe } from '../recipe.ts'
import { Stage5Error } from '../../base/errors.ts'
import { shownPath, type World } from '../world.ts'

export const lock: Command = {
  name: 'lock',
  summary: 'choose the newest packages that fit and write profiles/<profile>.lock.yaml',
  arguments: [{ name: '[profile]', description: 'name of a profile, with @variant' }],
  options: [
    { flags: '--keep', description: 'keep the packages of the old lock where they still fit' },
    {
      flags: '--import <dir>',
      description: 'make a profile (default name: imported) of a folder such as /etc/portage, lock nothing',
    },
  ],
  examples: [
    'stage5 lock www-nginx && git diff profiles/',
    'stage5 lock www-nginx --keep',
    'stage5 lock --import /etc/portage web',
  ],
  run: async (world, words) => {
    if (world.options.locked)
      throw new Stage5Error('S5_USAGE', '`lock` writes the lock file, which --locked forbids')
    const from = textOption(words, 'import')
    const [name = from === undefined ? undefined : 'imported'] = words.arguments
    if (name === undefined)
      throw new Stage5Error('S5_USAGE', 'lock needs the name of a profile', { hint: 'stage5 lock --help' })
    if (from !== undefined) return await imported(world, from, name)
    const { profile } = await loadRecipe(world, name)
    const before = await readLock(world, profile.name)
    const fresh = await plan(world, profile, words.options['keep'] ? before : undefined)
    const after = await pinned(world, { ...fresh, ids: before?.ids ?? fresh.ids }, before)
    const path = await writeLock(world, after)
    const diff = diffLocks(before, after)
    return {
      data: { path, packages: after.packages.length, diff: diff as unknown as Json },
      text: `${shownPath(path)}: ${after.packages.length} packages\n${before ? printLockDiff(diff) : ''}`,
    }
  },
}

/** Writes profiles/NAME.yaml, and repos/NAME.yaml where the machine has binhosts, never over another one. */
async function imported(world: World, from: string, name: string): Promise<Result> {
  if (!/^[a-z0-9][a-z0-9._-]*$/.test(name))
    throw new Stage5Error('S5_USAGE', `expected a name of a-z 0-9 . _ -, found ${JSON.stringify(name)}`)
  const folder = resolve(world.directory, from)
  const { text, left, packages, repositories } = importPortage(await readPortage(folder), { name, folder })
  const path = join(world.directory, 'profiles', `${name}.yaml`)
  const files = new Map([
    [path, text],
    ...repositories.map((one) => [join(world.directory, 'repos', `${one.name}.yaml`), one.text] as const),
  ])
  for (const file of files.keys())
    if (existsSync(file))
      throw new Stage5Error('S5_USAGE', `${shownPath(file)} exists already`, {
        hint: `stage5 lock --import ${from} another-name`,
      })
  for (const [file, content] of files) {
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, content, { flag: 'wx' })
  }
  const written = repositories.map((one) => `repos/${one.name}.yaml`)
  return {
    data: { path, packages, left: [...left], repositories: written },
    text: `${written.map((file) => `${file}: binhosts\n`).join('')}${shownPath(path)}: ${packages} packages wanted\n${left.map((line) => `  not taken over: ${line}\n`).join('')}`,
  }
}
