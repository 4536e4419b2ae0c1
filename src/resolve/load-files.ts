/** Reads the sources of a profile's `files:`: one file, or a folder with everything below it. */
import { Stage5Error } from '../base/errors.ts'
import type { FileSpec } from './profile.ts'
import { besides, type Listed, type Project } from './project.ts'
import type { FileDraft } from './shape-files.ts'
import { byteString } from './shape-words.ts'

/** Files that folders may bring in all; a guess against naming the wrong folder. */
const MOST_FILES = 20_000

/** Bytes that `from:` may bring in all: they become a part of the profile, which is compared and hashed as one text. */
const MOST_BYTES = 32 * 1_048_576

/**
 * The files with their contents; a later entry replaces what an earlier one has at the same path. Sources are added to
 * `read`.
 * @throws S5_FILE_MISSING, S5_PROFILE_INVALID
 */
export async function takeFiles(
  drafts: readonly FileDraft[],
  project: Project,
  files: Set<string>,
): Promise<readonly FileSpec[]> {
  const result = new Map<string, FileSpec>()
  const taken = { bytes: 0 }
  const put = (spec: FileSpec): void => {
    result.delete(spec.path)
    result.set(spec.path, spec)
    if (result.size > MOST_FILES)
      throw new Stage5Error('S5_PROFILE_INVALID', `files: expected at most ${MOST_FILES} files in all`)
  }
  for (const draft of drafts) {
    if (draft.from === '') put(draft.spec)
    else for await (const each of sourcesOf(draft, project, files, taken)) put(each)
  }
  return [...result.values()]
}

async function* sourcesOf(
  draft: FileDraft,
  project: Project,
  files: Set<string>,
  taken: { bytes: number },
): AsyncGenerator<FileSpec> {
  const { spec, from, modeGiven, where } = draft
  const source = besides(where.file, from)
  const place = `${where.file}:${where.line}:${where.column}`
  const complain = (path: string, message: string): Stage5Error =>
    new Stage5Error('S5_FILE_MISSING', `${place}: ${message}: ${path}`, { data: { file: where.file, path } })

  function mustBeFew(path: string, size: number): void {
    if (taken.bytes + size <= MOST_BYTES) return
    const found = (Math.ceil(((taken.bytes + size) / 1_048_576) * 10) / 10).toFixed(1)
    throw new Stage5Error(
      'S5_PROFILE_INVALID',
      `${place}: files of a profile have at most ${MOST_BYTES / 1_048_576} MiB in all, found ${found} MiB with ${path}`,
      {
        hint: 'make a package of large files: stage5 pack DIR --name house/media --version 1.0.0 --out packages, then stage5 index packages',
        data: { file: where.file, path },
      },
    )
  }

  async function file(path: string, target: string, entry: Listed): Promise<FileSpec> {
    const base = { ...spec, path: target }
    if (entry.type === 'symlink')
      return { ...base, type: 'symlink', target: byteString(entry.target), mode: 0o777, capabilities: '' }
    mustBeFew(path, entry.size)
    const bytes = entry.type === 'file' ? await project.read(path) : undefined
    if (!bytes) throw complain(path, 'expected a file, a folder or a symlink')
    mustBeFew(path, bytes.length)
    taken.bytes += bytes.length
    files.add(path)
    const mode = modeGiven ? spec.mode : entry.executable ? 0o755 : 0o644
    return { ...base, type: 'file', content: Buffer.from(bytes).toString('latin1'), mode }
  }

  async function* folder(path: string, target: string): AsyncGenerator<FileSpec> {
    const entries = ((await project.list(path)) ?? []).toSorted((a, b) => (a.name < b.name ? -1 : 1))
    const owned = spec.owner !== 'root' || spec.group !== 'root'
    if (target !== '' && (owned || entries.length === 0))
      yield { ...spec, path: target, type: 'dir', mode: 0o755 }
    for (const entry of entries) {
      const [inner, outer] = [`${path}/${entry.name}`, `${target}/${byteString(entry.name)}`]
      if (entry.type === 'dir') yield* folder(inner, outer)
      else yield await file(inner, outer, entry)
    }
  }

  const slash = source.lastIndexOf('/')
  const siblings = await project.list(slash < 0 ? '' : source.slice(0, slash))
  const entry = siblings?.find(({ name }) => name === source.slice(slash + 1))
  if (!entry) throw complain(source, 'the source does not exist')
  if (entry.type !== 'dir') {
    if (spec.path === '/')
      throw new Stage5Error('S5_PROFILE_INVALID', `${place}: expected a folder for /, found ${source}`)
    yield await file(source, spec.path, entry.type === 'symlink' ? { ...entry, type: 'file' } : entry)
  } else if (modeGiven || spec.capabilities !== '') {
    throw new Stage5Error(
      'S5_PROFILE_INVALID',
      `${place}: a folder takes no mode and no capabilities: they come from the executable bits in ${source}`,
    )
  } else yield* folder(source, spec.path === '/' ? '' : spec.path)
}
