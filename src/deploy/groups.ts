/** The folder of groups: every `*.yaml` in it is one. */
import { readdir, readFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { run } from '../host/run.ts'
import type { Group } from '../resolve/group.ts'
import { readGroups } from '../resolve/load-group.ts'

export interface GroupsOptions {
  /** Where source commands run and file names begin; default: the folder above. */
  readonly directory?: string
  readonly signal?: AbortSignal
}

/** How long a source command may take. */
const SOURCE_MS = 60_000

/**
 * Groups by name; a guest is in one only.
 * @throws S5_FILE_MISSING when there is no such folder; S5_PROFILE_INVALID, S5_GUEST_TWICE; S5_TOOL_FAILED of a source command
 */
export async function loadGroups(folder: string, options: GroupsOptions = {}): Promise<readonly Group[]> {
  const path = resolve(options.directory ?? '.', folder)
  const directory = options.directory ?? resolve(path, '..')
  const names = await readdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error
    throw new Stage5Error('S5_FILE_MISSING', `there is no folder of groups ${folder}`, {
      hint: 'write groups/NAME.yaml, or name the folder with --groups',
      data: { folder: path },
    })
  })
  const documents = names
    .filter((name) => name.endsWith('.yaml'))
    .map(async (name) => ({
      file: relative(directory, join(path, name)),
      bytes: await readFile(join(path, name)),
    }))
  return await readGroups(await Promise.all(documents), async (argv) => {
    const how = { cwd: directory, timeoutMs: SOURCE_MS, ...(options.signal && { signal: options.signal }) }
    return (await run(argv, how)).stdout
  })
}
