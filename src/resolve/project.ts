/** How pure code sees the project's folder: two functions, and the words for what is not in it. */
import { Stage5Error } from '../base/errors.ts'
import { nearest } from '../base/near.ts'

/** Bytes of a file by its path from the top of the project (`/` between parts); undefined when it does not exist. */
export type ReadFile = (path: string) => Promise<Uint8Array | undefined>

/** One name in a folder. */
export interface Listed {
  readonly name: string
  readonly type: 'file' | 'dir' | 'symlink' | 'other'
  /** The owner may execute it. */
  readonly executable: boolean
  /** Bytes of a file; otherwise 0. */
  readonly size: number
  /** Of a symlink, as written; otherwise ''. */
  readonly target: string
}

/** What a folder of the project holds, in any order; undefined when it does not exist. */
export type ListDirectory = (path: string) => Promise<readonly Listed[] | undefined>

export interface Project {
  readonly read: ReadFile
  readonly list: ListDirectory
}

/** Names of the YAML files in a folder, sorted; locks are none. */
async function namesIn(folder: string, project: Project): Promise<string[]> {
  return ((await project.list(folder)) ?? [])
    .map(({ name }) => name)
    .filter((name) => name.endsWith('.yaml') && !name.endsWith('.lock.yaml'))
    .map((name) => name.slice(0, -'.yaml'.length))
    .sort()
}

/** The error for a name that has no YAML file. */
export async function unknownName(
  code: 'S5_PROFILE_UNKNOWN' | 'S5_REPOSITORY_UNKNOWN' | 'S5_FILE_MISSING',
  what: string,
  name: string,
  folder: string,
  project: Project,
  where?: string,
): Promise<Stage5Error> {
  const known = await namesIn(folder, project)
  const near = nearest(name, known)
  const message = `${where ? `${where}: ` : ''}unknown ${what} ${JSON.stringify(name)}: no file ${folder}/${name}.yaml`
  const offer = near.length > 0 ? near : known.slice(0, 10)
  const words = near.length > 0 ? `, did you mean ${near.join(' or ')}` : ''
  return new Stage5Error(code, `${message}${words}`, {
    ...(words === '' && offer.length > 0 && { hint: `known: ${offer.join(', ')}` }),
    data: { name, near },
  })
}

/**
 * `relative` as seen from the directory of `file`, with `.` and `..` worked in; may begin with `..`.
 * @example
 * besides('profiles/web.yaml', '../files/./web') // => 'files/web'
 */
export function besides(file: string, relative: string): string {
  const parts = file.split('/').slice(0, -1)
  for (const part of relative.split('/')) {
    if (part === '' || part === '.') continue
    if (part === '..' && parts.length > 0 && parts.at(-1) !== '..') parts.pop()
    else parts.push(part)
  }
  return parts.join('/')
}
