/** `stage5 checkout WHAT DIR`: a root as a folder, hard-linked from the store; `--check` compares one with what it was. */
import { mkdir } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { type Digest, parseDigest } from '../../base/digest.ts'
import { printable, Stage5Error } from '../../base/errors.ts'
import type { Json } from '../../base/json.ts'
import { diskError } from '../../host/disk.ts'
import { checkout as checkOut } from '../../store/checkout.ts'
import { treeDigest } from '../../tree/text.ts'
import type { Tree } from '../../tree/tree.ts'
import { checkRoot } from '../check-root.ts'
import { type Command, type Result, textOption, type Words } from '../command.ts'
import { generationNamed, rootOf } from '../generations.ts'
import { keep, keepProject } from '../kept.ts'
import { meansFolder, readManifest } from '../manifest.ts'
import { isProtection, protect, type Protection, PROTECTIONS, refuseUnsupported } from '../protect.ts'
import { mebibytes } from '../render/progress.ts'
import { timed } from '../timed.ts'
import { shownPath, type World } from '../world.ts'

export const checkout: Command = {
  name: 'checkout',
  summary: 'make a root as a folder, hard-linked from the store, or check one that was made',
  arguments: [
    {
      name: '<what>',
      description:
        'a profile (as it is locked), a generation, or an output folder; with --check the folder of a root',
    },
    { name: '[dir]', description: 'the folder to make' },
  ],
  options: [
    { flags: '--copy', description: 'share no file with the store or with other roots' },
    {
      flags: '--protect <mode>',
      description:
        'against changes of shared files: none (default), reflink: files of its own that share blocks (btrfs, XFS); ' +
        'bind: a read-only mount, against writes through this folder only; verity: fs-verity, against changed content by anyone',
    },
    {
      flags: '--check',
      description: 'say what differs in a root from what it was made as; status 1 if anything',
    },
  ],
  examples: [
    'stage5 checkout www-nginx guests/www1',
    'stage5 checkout www-nginx/g3 guests/www2 --protect bind',
    'stage5 checkout --check guests/www1',
  ],
  run: async (world, words) => {
    const [what = '', folder] = words.arguments
    if (words.options['check'] === true) {
      if (folder !== undefined) throw new Stage5Error('S5_USAGE', 'checkout --check takes one folder')
      return await check(world, resolve(world.directory, what))
    }
    if (folder === undefined)
      throw new Stage5Error('S5_USAGE', 'checkout needs a folder to make', {
        hint: `stage5 checkout ${what} DIR`,
      })
    return await make(world, what, resolve(world.directory, folder), protectionOf(words), words)
  },
}

function protectionOf(words: Words): Protection {
  const mode = textOption(words, 'protect') ?? 'none'
  if (!isProtection(mode))
    throw new Stage5Error(
      'S5_USAGE',
      `--protect expects one of ${PROTECTIONS.join(', ')}, found ${JSON.stringify(mode)}`,
    )
  if (words.options['copy'] === true && mode !== 'none')
    throw new Stage5Error('S5_USAGE', '--copy shares nothing that --protect could protect')
  return mode
}

async function make(
  world: World,
  what: string,
  directory: string,
  protection: Protection,
  words: Words,
): Promise<Result> {
  const store = await world.store()
  await mkdir(dirname(directory), { recursive: true }).catch((error: unknown) => {
    throw diskError(error, shownPath(directory))
  })
  await refuseUnsupported(protection, store, directory)
  const { tree, root } = await rootOfWord(world, what)
  const how = words.options['copy'] === true || protection === 'reflink' ? 'copy' : 'link'
  const done = await timed(world, 'checkout', () =>
    checkOut(store, tree, directory, { how, signal: world.signal, report: world.report }),
  )
  await keepProject(world)
  await keep(store, 'root', directory, root)
  await protect(protection, directory, tree, world.signal)
  if (done.skipped.length > 0)
    world.report({
      kind: 'warning',
      code: 'dir.incomplete',
      message: `${done.skipped.length} owners, devices or attributes need root; first: ${done.skipped[0]}`,
    })
  return {
    data: { directory, root, protection, ...done, skipped: [...done.skipped] },
    text: `${shownPath(directory)}: ${done.linked} linked, ${done.copied} copied (${mebibytes(done.bytes)})\n`,
  }
}

interface Stored {
  readonly tree: Tree
  /** Of the tree. */
  readonly root: Digest
}

/** The root of a build as it was emitted, or of a profile as it is locked. */
async function rootOfWord(world: World, what: string): Promise<Stored> {
  if (await meansFolder(world, what)) {
    const path = resolve(world.directory, what)
    const { root, image } = await readManifest(path)
    return await storedTree(world, parseDigest(root), shownPath(path), image.profile)
  }
  const generation = await generationNamed(world, what)
  if (generation) {
    const { line, name } = generation
    return await storedTree(world, await rootOf(world, generation), `${line}/${name}`, line)
  }
  const tree = await composed(world, what)
  return { tree, root: treeDigest(tree) }
}

/** Reads what composes roots only where one is composed: it is half of stage5. */
async function composed(world: World, profile: string): Promise<Tree> {
  const [{ compose, plan }, { settledLock, writeLock }, { loadRecipe }] = await Promise.all([
    import('../flow.ts'),
    import('../lock-file.ts'),
    import('../recipe.ts'),
  ])
  const recipe = await loadRecipe(world, profile)
  const made = await compose(world, recipe, (await settledLock(world, recipe.profile, plan)).lock)
  if (!world.options.locked) await writeLock(world, made.lock)
  return made.root.tree
}

/** @throws S5_STORE_DAMAGED */
async function storedTree(world: World, root: Digest, name: string, profile: string): Promise<Stored> {
  try {
    return { tree: await (await world.store()).loadTree(root), root }
  } catch (cause) {
    throw new Stage5Error('S5_STORE_DAMAGED', `the store has not all files of ${name}`, {
      cause,
      hint: `stage5 build ${profile}`,
    })
  }
}

async function check(world: World, directory: string): Promise<Result> {
  const store = await world.store()
  const root = (await store.refs()).get(`root:${directory}`)
  if (root === undefined)
    throw new Stage5Error(
      'S5_ROOT_UNKNOWN',
      `${shownPath(directory)} was not made by \`stage5 checkout\` with this store`,
    )
  const tree = await store.loadTree(root)
  const { changed, added, removed } = await timed(world, 'check', () =>
    checkRoot(directory, tree, world.signal),
  )
  const lines = [
    ...removed.map(({ path }) => `- /${printable(path)}\n`),
    ...added.map(({ path }) => `+ /${printable(path)}\n`),
    ...changed.map(({ path, aspects }) => `~ /${printable(path)} (${aspects.join(', ')})\n`),
  ]
  const names = (list: readonly { path: string }[]): Json => list.map(({ path }) => `/${printable(path)}`)
  return {
    data: {
      root,
      removed: names(removed),
      added: names(added),
      changed: changed.map((one) => ({ path: `/${printable(one.path)}`, aspects: [...one.aspects] })),
    },
    text: lines.length === 0 ? `${shownPath(directory)} is as it was made\n` : lines.join(''),
    exitCode: lines.length === 0 ? 0 : 1,
  }
}
