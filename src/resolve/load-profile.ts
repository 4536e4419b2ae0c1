/** Profiles: parents left to right, then the file itself, then the variant; every problem with its file and line. */
import {
  decodeDocument,
  type Decoder,
  invalid,
  type MapSource,
  type Place,
  type Source,
  suggestion,
} from '../base/shape.ts'
import { Stage5Error } from '../base/errors.ts'
import { takeFiles } from './load-files.ts'
import type { Profile } from './profile.ts'
import { type ListDirectory, type Project, type ReadFile, unknownName } from './project.ts'
import { imageProblems } from './shape-images.ts'
import { applyProfile, emptyDraft, parentNames, type ProfileDraft, STRUCTURE } from './shape-profile.ts'
import { formatNumber, profileName, word } from './shape-words.ts'
import { readYaml } from './shape-yaml.ts'

export { loadPipeline, loadStripClasses } from './load-stages.ts'
export type { Listed, ListDirectory, Project, ReadFile } from './project.ts'

/** Mentions of documents in one profile; diamonds are applied once per mention. A guess, far above practice. */
const MOST_LAYERS = 256

/** One document or one variant of it, to be applied in its turn. */
interface Layer {
  readonly file: string
  readonly node: Source
  /** Of the profile that was asked for, not of a parent. */
  readonly own: boolean
}

interface Document {
  readonly file: string
  readonly node: MapSource
  readonly parents: readonly { readonly name: string; readonly at: Place }[]
  readonly variants: ReadonlyMap<string, MapSource>
}

/**
 * The effective profile, and the files it was read from (documents and sources of `files:`), in order of first reading.
 * @param name `www-nginx` or `www-nginx@php`: a file of `profiles/` and one of its variants or of its parents' variants
 * @throws S5_PROFILE_INVALID, S5_PROFILE_UNKNOWN, S5_PROFILE_CYCLE, S5_FILE_MISSING
 */
export async function loadProfile(
  name: string,
  read: ReadFile,
  list: ListDirectory,
): Promise<{ profile: Profile; files: readonly string[] }> {
  const project: Project = { read, list }
  const files = new Set<string>()
  const layers = await layersOf(project, files)(name)
  let draft = emptyDraft()
  for (const { file, node, own } of layers) {
    const before = draft
    const after = decodeDocument(file, (to) => applyProfile(before, node, to, STRUCTURE))
    draft = own ? after : { ...after, id: before.id, description: before.description }
  }
  const main = pathOf(name.replace(/@.*/, ''))
  decodeDocument(main, (to) => checkTogether(draft, to))
  const { scripts, dataSchema, ...rest } = draft
  const id = draft.id || name.replace('@', '-').replaceAll('_', '-')
  const profile: Profile = {
    ...rest,
    ...(dataSchema && { dataSchema }),
    name,
    id,
    hostname: draft.hostname || id,
    scripts: Object.fromEntries([...scripts].sort(([a], [b]) => (a < b ? -1 : 1))),
    files: await takeFiles(draft.files, project, files),
  }
  return { profile, files: [...files] }
}

function pathOf(name: string): string {
  return `profiles/${name}.yaml`
}

function layersOf(project: Project, files: Set<string>): (name: string) => Promise<Layer[]> {
  const documents = new Map<string, Document>()

  async function document(name: string, from?: { file: string; at: Place }): Promise<Document> {
    const known = documents.get(name)
    if (known) return known
    const file = pathOf(name)
    const bytes = /^[a-z0-9][a-z0-9._-]*$/.test(name) ? await project.read(file) : undefined
    if (!bytes) {
      const where = from && `${from.file}:${from.at.line}:${from.at.column}`
      throw await unknownName('S5_PROFILE_UNKNOWN', 'profile', name, 'profiles', project, where)
    }
    files.add(file)
    const found = readDocument(file, readYaml(bytes, file))
    documents.set(name, found)
    return found
  }

  async function collect(
    full: string,
    chain: readonly string[],
    from?: { file: string; at: Place },
  ): Promise<Layer[]> {
    if (chain.includes(full)) {
      const cycle = [...chain.slice(chain.indexOf(full)), full]
      throw new Stage5Error('S5_PROFILE_CYCLE', `a profile is its own parent: ${cycle.join(' → ')}`, {
        data: { cycle },
      })
    }
    const [name = '', variant] = splitName(full)
    const self = await document(name, from)
    const layers: Layer[] = []
    const add = async (parents: Document['parents'], file: string): Promise<void> => {
      for (const parent of parents) {
        layers.push(...(await collect(parent.name, [...chain, full], { file, at: parent.at })))
        if (layers.length > MOST_LAYERS)
          throw invalid(file, [
            { ...parent.at, message: `expected at most ${MOST_LAYERS} mentions of parents` },
          ])
      }
    }
    await add(self.parents, self.file)
    layers.push({ file: self.file, node: self.node, own: chain.length === 0 })
    if (variant === undefined) return layers
    const carriers = carriersOf(variant, layers, self)
    if (carriers.length === 0) throw unknownVariant(name, variant, layers, documents)
    for (const carrier of carriers) {
      const node = carrier.variants.get(variant) as MapSource
      await add(parentsOf(node, carrier.file), carrier.file)
      layers.push({ file: carrier.file, node, own: chain.length === 0 && carrier === self })
    }
    return layers
  }

  /** Documents that have the variant, in the order in which they apply. */
  function carriersOf(variant: string, layers: readonly Layer[], self: Document): Document[] {
    const found = new Set<Document>()
    for (const each of layers)
      for (const candidate of documents.values())
        if (candidate.node === each.node && candidate !== self && candidate.variants.has(variant))
          found.add(candidate)
    if (self.variants.has(variant)) found.add(self)
    return [...found]
  }

  return (name) => collect(name, [])
}

function splitName(full: string): readonly string[] {
  const at = full.indexOf('@')
  return at < 0 ? [full] : [full.slice(0, at), full.slice(at + 1)]
}

/** Looks at the structure of a document and at the content of all its variants, used or not. */
function readDocument(file: string, node: Source): Document {
  return decodeDocument(file, (to) => {
    const empty: Document = {
      file,
      node: { kind: 'map', members: [], line: 1, column: 1 },
      parents: [],
      variants: new Map(),
    }
    if (node.kind !== 'map') {
      to.report(node, 'expected a map of profile keys')
      return empty
    }
    const find = (key: string): Source | undefined => node.members.find((member) => member.key === key)?.value
    const format = find('stage5')
    if (format) formatNumber().decode(format, to)
    const variants = find('variants')
    const named = new Map<string, MapSource>()
    if (variants && variants.kind !== 'map') to.report(variants, 'expected a map of variants by name')
    for (const member of variants?.kind === 'map' ? variants.members : []) {
      word('the name of a variant (a-z 0-9 . _ -)').decode(
        { kind: 'scalar', value: member.key, text: member.key, ...member.at },
        to,
      )
      if (member.value.kind !== 'map') to.report(member.value, 'expected a map of profile keys')
      else {
        applyProfile(emptyDraft(), member.value, to, ['parents'])
        named.set(member.key, member.value)
      }
    }
    applyProfile(emptyDraft(), node, to, STRUCTURE)
    for (const each of [node, ...named.values()]) parentsIn(each, to)
    return { file, node, parents: parentsOf(node, file), variants: named }
  })
}

function parentsOf(node: MapSource, file: string): Document['parents'] {
  return parentsIn(node, { file, report: () => undefined })
}

function parentsIn(node: MapSource, to: Decoder): Document['parents'] {
  const found = node.members.find(({ key }) => key === 'parents')?.value
  if (!found) return []
  const sources = found.kind === 'list' ? found.items : [found]
  parentNames().decode(found, to)
  const quiet: Decoder = { file: to.file, report: () => undefined }
  return sources.flatMap((at) => {
    const name = profileName().decode(at, quiet)
    return name === undefined ? [] : [{ name, at }]
  })
}

function unknownVariant(
  name: string,
  variant: string,
  layers: readonly Layer[],
  documents: ReadonlyMap<string, Document>,
): Stage5Error {
  const known = new Set<string>()
  for (const document of documents.values())
    if (layers.some(({ node }) => node === document.node))
      for (const each of document.variants.keys()) known.add(each)
  const names = [...known].sort()
  const has = names.length === 0 ? 'it has none' : `it has ${names.join(', ')}`
  return new Stage5Error(
    'S5_PROFILE_UNKNOWN',
    `profile ${name} has no variant ${JSON.stringify(variant)}${suggestion(variant, names)}; ${has}`,
    { data: { profile: name, variant, known: names } },
  )
}

/** Rules between keys, on the effective profile; there is no one line to blame, so the first is named. */
function checkTogether(draft: ProfileDraft, to: Decoder): void {
  const top = { line: 1, column: 1 }
  if (draft.packages.length > 0 && draft.repositories.length === 0)
    to.report(
      draft.packages[0]?.where ?? top,
      'packages are wanted, but neither this profile nor a parent names repositories',
    )
  const twice = (what: string, names: readonly (string | number)[]): void => {
    const seen = new Set<string | number>()
    for (const name of names)
      if (seen.has(name)) to.report(top, `${what} ${JSON.stringify(name)} is given twice`)
      else seen.add(name)
  }
  twice(
    'uid',
    draft.users.map(({ uid }) => uid).filter((uid) => uid >= 0),
  )
  twice(
    'gid',
    draft.groups.map(({ gid }) => gid).filter((gid) => gid >= 0),
  )
  twice(
    'label',
    draft.data.map(({ label }) => label),
  )
  for (const problem of imageProblems(draft.images)) to.report(top, problem)
  const paths = draft.data.flatMap((area) => area.paths)
  twice('data path', paths)
  for (const inner of paths)
    for (const outer of paths)
      if (inner.startsWith(`${outer}/`)) to.report(top, `data path ${inner} lies inside data path ${outer}`)
}
