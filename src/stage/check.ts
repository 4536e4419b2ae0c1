/** The proof after stripping: nothing that is left needs something that is gone. */
import { Stage5Error } from '../base/errors.ts'
import { compileGlobs } from '../base/glob.ts'
import type { Contents } from '../tree/contents.ts'
import { resolvePath } from '../tree/resolve-path.ts'
import type { Removed, Root } from '../tree/root.ts'
import { baseOf, comparePaths, parentOf, type TreePath } from '../tree/tree.ts'
import { checkElfs } from './check-elf.ts'
import { checkPaths } from './check-paths.ts'
import { type Finding, findingLine } from './finding.ts'
import { asJson } from './generated.ts'
import type { Stage } from './stage.ts'

export type { Finding }

/** Lines of findings in a message; the data of the error has them all. */
const SHOWN = 20

/** Leaves the root as it is, or throws `S5_CHECK_FAILED` with every finding that the profile does not allow. */
export const check: Stage = {
  name: 'check',
  version: 1,
  pick: ({ profile }) => asJson({ allow: profile.allow.map(({ path }) => path) }),
  async run(input, params, { contents }) {
    const { allow } = params as unknown as { readonly allow: readonly string[] }
    const allowed = compileGlobs(allow)
    const used = new Set<number>()
    const refused: Finding[] = []
    for (const finding of await findProblems(input, contents)) {
      if (allowed.matches(finding.path)) used.add(allowed.deciding(finding.path))
      else refused.push(finding)
    }
    if (refused.length > 0)
      throw failure(
        refused,
        allow.filter((_, index) => !used.has(index)),
      )
    return input
  },
}

/** Every finding in a root, by path; nothing is allowed here. */
export async function findProblems(root: Root, contents: Contents): Promise<readonly Finding[]> {
  const found = [...(await checkElfs(root.tree, contents)), ...(await checkPaths(root.tree, contents))]
  const blame = blamer(root)
  return found.toSorted((a, b) => comparePaths(a.path, b.path)).map(blame)
}

/** Adds the rule that took what a finding needs: by path where the finding has one, else by file name. */
function blamer({ tree, removed }: Root): (finding: Finding) => Finding {
  const byPath = new Map<TreePath, Removed>()
  const byName = new Map<string, Removed>()
  for (const one of removed) {
    byPath.set(one.path, one)
    if (!byName.has(baseOf(one.path))) byName.set(baseOf(one.path), one)
  }
  let ends: ReadonlyMap<string, TreePath> | undefined
  const dangling = (): ReadonlyMap<string, TreePath> => (ends ??= danglingNames(tree))
  const at = (path: TreePath): Removed | undefined => {
    for (let here = path; here !== ''; here = parentOf(here)) {
      const found = byPath.get(here) ?? byPath.get(`usr/${here}`)
      if (found) return found
    }
    return undefined
  }
  return (finding) => {
    const { needs, path } = finding
    const from = needs.startsWith('/') ? needs : finding.problem === 'symlink' ? `/${path}` : undefined
    const end = from === undefined ? undefined : resolvePath(tree, from)
    // a library is found by a link of its name: the link may have stayed and what it leads to may be gone
    const link = removed.length > 0 && from === undefined ? dangling().get(needs) : undefined
    const one = (end && 'missing' in end && at(end.missing)) || (link !== undefined && at(link)) || undefined
    const rule = one ?? (from === undefined ? byName.get(baseOf(needs)) : undefined)
    return rule ? { ...finding, removedBy: rule.rule } : finding
  }
}

/** By file name, where the first symlink of it ends that leads nowhere. */
function danglingNames(tree: Root['tree']): ReadonlyMap<string, TreePath> {
  const ends = new Map<string, TreePath>()
  for (const { path, inode } of tree.names) {
    if (tree.inodes[inode]?.type !== 'symlink' || ends.has(baseOf(path))) continue
    const end = resolvePath(tree, path)
    if ('missing' in end) ends.set(baseOf(path), end.missing)
  }
  return ends
}

function failure(findings: readonly Finding[], unused: readonly string[]): Stage5Error {
  const lines = findings.slice(0, SHOWN).map((finding) => `  ${findingLine(finding)}`)
  const rest = findings.length - lines.length
  const head = `${findings.length} ${findings.length === 1 ? 'file' : 'files'} of the root would not work`
  return new Stage5Error(
    'S5_CHECK_FAILED',
    [head, ...lines, ...(rest > 0 ? [`  and ${rest} more`] : [])].join('\n'),
    {
      hint: 'add the package that brings it, keep it with strip: {keep: [...]}, or give a reason under allow:',
      data: asJson({ findings, unusedAllows: unused }) as { readonly [key: string]: never },
    },
  )
}
