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
export { loadRecipe, type Recipe } from './cli/recipe.ts'
export { openWorld, type World, type WorldOptions } from './cli/world.ts'
export type { Index, Package } from './pkg/package.ts'
export type { Lock, Locked } from './resolve/lock.ts'
export { parseLock, printLock } from './resolve/lock-text.ts'
export type { Profile, RepositorySpec } from './resolve/profile.ts'
export { diffTrees, type TreeDiff } from './tree/diff.ts'
export type { Root } from './tree/root.ts'
export { parseTree, printTree, treeDigest } from './tree/text.ts'
export type { Entry, Inode, Tree } from './tree/tree.ts'
