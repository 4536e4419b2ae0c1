/**
 * The public API: what we promise to keep. The same steps as the command line, as functions over plain values.
 *
 * @example
 * import { build, loadRecipe, openWorld, plan } from 'stage5'
 */
export { CODES, type Code, Stage5Error } from './base/errors.ts'
export type { Digest } from './base/digest.ts'
export type { Event, Report } from './base/events.ts'
export { build, compose, plan } from './cli/flow.ts'
export { readLock, settledLock, writeLock } from './cli/lock-file.ts'
export {
  type ChosenPackage,
  matchAtom,
  type PackageFacts,
  type PackagesIndex,
  parsePackagesIndex,
  resolve,
  type ResolveAnswer,
  type ResolveRequest,
} from './cli/library.ts'
export { loadRecipe, type Recipe } from './cli/recipe.ts'
export { openWorld, type World, type WorldOptions } from './cli/world.ts'
export { compareDebianVersions } from './pkg/deb-version.ts'
export { parseEbuildAtom as parseAtom, printEbuildAtom as printAtom } from './pkg/ebuild-atom.ts'
export { reduceDependencies } from './pkg/ebuild-depends.ts'
export { compareEbuildVersions } from './pkg/ebuild-version.ts'
export type { Atom, DepExpr, Index, Package } from './pkg/package.ts'
export { checkRequiredUse } from './pkg/required-use.ts'
export { resolveUniverse } from './resolve/universe-answer.ts'
export type { Lock, Locked } from './resolve/lock.ts'
export { parseLock, printLock } from './resolve/lock-text.ts'
export type { Profile, RepositorySpec } from './resolve/profile.ts'
export { diffTrees, type TreeDiff } from './tree/diff.ts'
export type { Root } from './tree/root.ts'
export { parseTree, printTree, treeDigest } from './tree/text.ts'
export type { Entry, Inode, Tree } from './tree/tree.ts'
