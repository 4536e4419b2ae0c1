/** `stage5 diff A B`: two locks or two outputs: packages, files, bytes. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { printable, Stage5Error } from '../../base/errors.ts'
import type { Json } from '../../base/json.ts'
import { diffLocks, printLockDiff } from '../../resolve/lock-diff.ts'
import { parseLock } from '../../resolve/lock-text.ts'
import type { Lock } from '../../resolve/lock.ts'
import { diffTrees, type TreeDiff } from '../../tree/diff.ts'
import { parseTree } from '../../tree/text.ts'
import type { Tree } from '../../tree/tree.ts'
import type { Command } from '../command.ts'
import { lockPath } from '../lock-file.ts'
import { mebibytes } from '../render/progress.ts'
import { shownPath, type World } from '../world.ts'

/** What one side of the comparison is: a lock, and the root when it is an output. */
interface Side {
  readonly lock: Lock
  readonly tree?: Tree
}

export const diff: Command = {
  name: 'diff',
  summary: 'compare two locks or two outputs: packages, files, bytes',
  arguments: [
    { name: '<a>', description: 'an output folder, a lock file, or a profile (its lock)' },
    { name: '<b>', description: 'the same' },
  ],
  options: [],
  examples: ['stage5 diff www-nginx www-nginx@php', 'stage5 diff out/www-nginx_1_amd64 out/www-nginx'],
  run: async (world, words) => {
    const [before, after] = await Promise.all(words.arguments.map((word) => readSide(world, word)))
    if (!before || !after) throw new Stage5Error('S5_USAGE', 'diff compares two things')
    const packages = diffLocks(before.lock, after.lock)
    const tree = before.tree && after.tree ? diffTrees(before.tree, after.tree) : undefined
    return {
      data: { packages: packages as unknown as Json, files: tree ? treeJson(tree) : null },
      text: (printLockDiff(packages) || 'packages are equal\n') + (tree ? treeText(tree) : ''),
    }
  },
}

async function readSide(world: World, word: string): Promise<Side> {
  const path = resolve(world.directory, word)
  const found = await stat(path).catch(() => undefined)
  if (found?.isDirectory()) return await readOutput(path)
  const file = found?.isFile() ? path : lockPath(world, word)
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (text === undefined)
    throw new Stage5Error(
      'S5_LOCK_MISSING',
      `${JSON.stringify(word)} is no output folder, and there is no ${shownPath(file)}`,
      {
        hint: `stage5 lock ${word}`,
      },
    )
  return { lock: parseLock(text, shownPath(file)) }
}

async function readOutput(directory: string): Promise<Side> {
  const names = await readdir(directory)
  const read = async (end: string): Promise<string> => {
    const name = names.find((file) => file.endsWith(end))
    if (name === undefined)
      throw new Stage5Error('S5_OUTPUT_MISSING', `${shownPath(directory)} has no *${end}`)
    return await readFile(join(directory, name), 'utf8')
  }
  return {
    lock: parseLock(await read('.lock.yaml'), shownPath(directory)),
    tree: parseTree(await read('.contents.txt')),
  }
}

function treeJson({ added, removed, changed, bytes }: TreeDiff): Json {
  const name = ({ path }: { path: string }): string => `/${printable(path)}`
  return {
    added: added.map(name),
    removed: removed.map(name),
    changed: changed.map((change) => ({ path: name(change), aspects: [...change.aspects] })),
    bytes,
  }
}

function treeText({ added, removed, changed, bytes }: TreeDiff): string {
  const lines = [
    ...removed.map(({ path }) => `- /${printable(path)}\n`),
    ...added.map(({ path }) => `+ /${printable(path)}\n`),
    ...changed.map(({ path, aspects }) => `~ /${printable(path)} (${aspects.join(', ')})\n`),
  ]
  const total = `files: ${added.length} added (${mebibytes(bytes.added)}), ${removed.length} removed (${mebibytes(bytes.removed)}), ${changed.length} changed (${mebibytes(bytes.changed)})\n`
  return `\n${lines.join('')}${total}`
}
