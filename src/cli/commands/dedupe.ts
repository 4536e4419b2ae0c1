/** `stage5 dedupe DIR...`: roots that people already run share their equal files. */
import { realpathSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { dedupe as dedupeFolders } from '../../deploy/dedupe.ts'
import { readXattrsBelow } from '../../store/xattrs.ts'
import type { Command } from '../command.ts'
import { mebibytes } from '../render/progress.ts'
import { timed } from '../timed.ts'
import { shownPath } from '../world.ts'

export const dedupe: Command = {
  name: 'dedupe',
  summary:
    'link files of equal content and metadata in folders in use with each other and the store, in place',
  arguments: [{ name: '<dir...>', description: 'folders of guests, on one file system' }],
  options: [{ flags: '--dry-run', description: 'only say what would be saved' }],
  examples: ['stage5 dedupe --dry-run guests/*', 'stage5 dedupe guests/www1 guests/www2'],
  run: async (world, words) => {
    const dryRun = words.options['dryRun'] === true
    const directories = words.arguments.map((word) => existing(resolve(world.directory, word)))
    refuseNested(directories)
    const store = await world.store()
    const done = await timed(world, 'dedupe', () =>
      dedupeFolders(directories, {
        dryRun,
        shared: store.links.plain(),
        journals: join(store.path, 'dedupe'),
        xattrs: (directories) => readXattrsBelow(directories, world.signal),
        report: world.report,
        signal: world.signal,
      }),
    )
    const row = (saved: number, linked: number, of: string): string =>
      `${mebibytes(saved).padStart(12)} ${String(linked).padStart(8)}  ${of}\n`
    return {
      data: { dryRun, ...done, groups: done.groups.map((group) => ({ ...group })) },
      text:
        `${(dryRun ? 'would save' : 'saved').padStart(12)}    files  in\n` +
        done.groups.map(({ saved, linked, directory }) => row(saved, linked, shownPath(directory))).join('') +
        row(done.saved, done.linked, 'all') +
        (done.toShared > 0 ? `${done.toShared} of them with files of the store\n` : '') +
        (done.changed > 0 ? `${done.changed} files changed meanwhile and were left alone\n` : ''),
    }
  },
}

function existing(directory: string): string {
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory())
    throw new Stage5Error('S5_FILE_MISSING', `there is no folder ${shownPath(directory)}`)
  return realpathSync(directory)
}

function refuseNested(directories: readonly string[]): void {
  for (const [at, directory] of directories.entries())
    for (const [other, inside] of directories.entries())
      if (at !== other && `${inside}/`.startsWith(`${directory}/`))
        throw new Stage5Error(
          'S5_USAGE',
          `dedupe expects folders beside each other: ${shownPath(inside)} is in ${shownPath(directory)}`,
        )
}
