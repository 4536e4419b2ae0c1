/** The groups of a project: every YAML file of a folder, and drivers for their guests. */
import { readdir, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import type { GuestDriver, WhileOff } from '../deploy/driver.ts'
import { openDriver } from '../deploy/drivers/open.ts'
import { run } from '../host/run.ts'
import type { Group } from '../resolve/group.ts'
import { readGroups } from '../resolve/load-group.ts'
import { checkout } from '../store/checkout.ts'
import { readManifest } from './manifest.ts'
import { shownPath, type World } from './world.ts'

const SOURCE_MS = 60_000

/**
 * By name. Commands that list guests are run, in the project.
 * @param folder of the files; default: `groups/`
 * @throws S5_FILE_MISSING when there is no such folder, S5_PROFILE_INVALID, S5_GUEST_TWICE
 */
export async function loadGroups(world: World, folder = 'groups'): Promise<readonly Group[]> {
  const directory = resolve(world.directory, folder)
  const names = await readdir(directory).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOENT' && cause.code !== 'ENOTDIR') throw cause
    throw new Stage5Error('S5_FILE_MISSING', `there is no folder of groups: ${shownPath(directory)}`, {
      cause,
      hint: 'write groups/NAME.yaml, or name the folder with --groups',
      data: { folder: directory },
    })
  })
  const files = names.filter((name) => name.endsWith('.yaml')).sort()
  const documents = await Promise.all(
    files.map(async (name) => ({
      file: shownPath(join(directory, name)),
      bytes: await readFile(join(directory, name)),
    })),
  )
  return await readGroups(documents, async (argv) => {
    const { stdout } = await run(argv, {
      cwd: world.directory,
      signal: world.signal,
      timeoutMs: SOURCE_MS,
    })
    return stdout
  })
}

/** The driver of a group, with the store at hand for roots that are folders. */
export function groupDriver(world: World, group: Group, whileOff?: WhileOff): GuestDriver {
  return openDriver(group, {
    directory: world.directory,
    whileOff,
    checkout: async (generation, directory, signal) => {
      const store = await world.store()
      const { root } = await readManifest(generation.directory)
      const tree = await store.loadTree(root as `sha256:${string}`)
      await checkout(store, tree, directory, { how: 'link', signal })
    },
  })
}
