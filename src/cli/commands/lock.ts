/** `stage5 lock PROFILE`: choose packages anew and write them down for review; `--import` makes a profile of /etc/portage. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
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

/** Writes profiles/NAME.yaml, never over another one. */
async function imported(world: World, from: string, name: string): Promise<Result> {
  if (!/^[a-z0-9][a-z0-9._-]*$/.test(name))
    throw new Stage5Error('S5_USAGE', `expected a name of a-z 0-9 . _ -, found ${JSON.stringify(name)}`)
  const { text, left, packages } = importPortage(await readPortage(resolve(world.directory, from)))
  const path = join(world.directory, 'profiles', `${name}.yaml`)
  await mkdir(join(world.directory, 'profiles'), { recursive: true })
  await writeFile(path, text, { flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
    throw new Stage5Error('S5_USAGE', `${shownPath(path)} exists already`, {
      hint: `stage5 lock --import ${from} another-name`,
    })
  })
  return {
    data: { path, packages, left: [...left] },
    text: `${shownPath(path)}: ${packages} packages wanted\n${left.map((line) => `  not taken over: ${line}\n`).join('')}`,
  }
}
