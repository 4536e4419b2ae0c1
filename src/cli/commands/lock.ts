/** `stage5 lock PROFILE`: choose packages anew and write them down for review. */
import type { Json } from '../../base/json.ts'
import { diffLocks, printLockDiff } from '../../resolve/lock-diff.ts'
import type { Command } from '../command.ts'
import { plan } from '../flow.ts'
import { readLock, writeLock } from '../lock-file.ts'
import { pinned } from '../pin.ts'
import { loadRecipe } from '../recipe.ts'
import { Stage5Error } from '../../base/errors.ts'
import { shownPath } from '../world.ts'

export const lock: Command = {
  name: 'lock',
  summary: 'choose the newest packages that fit and write profiles/<profile>.lock.yaml',
  arguments: [{ name: '<profile>', description: 'name of a profile, with @variant' }],
  options: [{ flags: '--keep', description: 'keep the packages of the old lock where they still fit' }],
  examples: ['stage5 lock www-nginx && git diff profiles/', 'stage5 lock www-nginx --keep'],
  run: async (world, words) => {
    if (world.options.locked)
      throw new Stage5Error('S5_USAGE', '`lock` writes the lock file, which --locked forbids')
    const { profile } = await loadRecipe(world, words.arguments[0] as string)
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
