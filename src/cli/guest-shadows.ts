/** What the overlays of a guest hide of its base, seen from the next base, and how that is mended. */
import { existsSync } from 'node:fs'
import { printable, Stage5Error } from '../base/errors.ts'
import { startedOf } from '../deploy/drivers/keeper.ts'
import { upperFolder } from '../deploy/drivers/areas.ts'
import { livingOn } from '../deploy/drivers/mounts.ts'
import { folderLayer } from '../deploy/upper-folder.ts'
import type { Beside, UpperLayer } from '../deploy/upper-layer.ts'
import { diskLayer } from '../deploy/upper.ts'
import {
  BESIDE,
  holding,
  resetting,
  type Shadow,
  shadowsOf,
  shadowWords,
  type UpperEntry,
} from '../fleet/shadow.ts'
import type { Group } from '../resolve/group.ts'
import { readXattrs, setXattrs } from '../store/xattrs.ts'
import { lookup, type Tree, type TreePath } from '../tree/tree.ts'
import { findGeneration, type Generation, generationsOf, generationWord } from './generations.ts'
import { type FoundGuest, guestsOf } from './guests.ts'
import { type DataRecord, readManifest } from './manifest.ts'
import type { World } from './world.ts'

interface AreaShadows {
  readonly name: string
  readonly layer: UpperLayer
  readonly upper: readonly UpperEntry[]
  readonly shadows: readonly Shadow[]
}

interface GuestShadows {
  /** Generation that the guest runs, and the one that it is compared with. */
  readonly before: Generation
  readonly after: Generation
  readonly next: Tree
  readonly areas: readonly AreaShadows[]
  /** What it wrote last may be missing. */
  readonly running: boolean
}

/** The generation that a guest calls good; undefined before its first start. */
export async function runningBase(world: World, { folder }: FoundGuest): Promise<Generation | undefined> {
  const good = folder.pointer('good')
  return good === '' ? undefined : (await generationsOf(world)).find(({ name }) => name === good)
}

/**
 * @param to a generation of the guest's line; absent: the newest
 * @throws S5_GUEST_OFF when it was never started here, S5_GENERATION_UNKNOWN
 */
export async function guestShadows(world: World, found: FoundGuest, to?: string): Promise<GuestShadows> {
  const { group, folder } = found
  const before = await runningBase(world, found)
  if (!before)
    throw new Stage5Error('S5_GUEST_OFF', `${folder.name} has not been started here: it has no base yet`, {
      hint: `stage5 guest start ${folder.name}`,
    })
  const after = await findGeneration(world, generationWord(group.line, to))
  const { boot } = await readManifest(before.directory)
  const overlays = boot.data.filter(({ kind }) => kind === 'overlay')
  const next = await treeOf(world, after)
  const now = await treeOf(world, before)
  const running = startedOf(folder) !== undefined
  const areas: AreaShadows[] = []
  if (overlays.length > 0) {
    const earlier = await earlierTrees(world, before)
    for (const record of overlays)
      areas.push(await areaOf(world, found, record, { now, next, earlier, running }))
  }
  return { before, after, next, areas, running }
}

async function treeOf(world: World, { directory }: Generation): Promise<Tree> {
  const store = await world.store()
  const { root } = await readManifest(directory)
  return await store.loadTree(root as `sha256:${string}`)
}

/** Older generations of the line, as far as they are kept. */
async function earlierTrees(world: World, { line, seq }: Generation): Promise<readonly Tree[]> {
  const trees: Tree[] = []
  for (const one of await generationsOf(world))
    if (one.line === line && one.seq < seq && existsSync(one.directory)) trees.push(await treeOf(world, one))
  return trees
}

interface Bases {
  readonly now: Tree
  readonly next: Tree
  readonly earlier: readonly Tree[]
  readonly running: boolean
}

async function areaOf(
  world: World,
  found: FoundGuest,
  { name, paths }: DataRecord,
  { now, next, earlier, running }: Bases,
): Promise<AreaShadows> {
  const layer = layerOf(found, name)
  if (!layer.exists()) return { name, layer, upper: [], shadows: [] }
  const inTree = paths.map((path) => path.slice(1))
  const isCompared = (path: TreePath): boolean => {
    const plain = path.endsWith(BESIDE) ? path.slice(0, -BESIDE.length) : path
    return [now, next].some((tree) => lookup(tree, plain) !== undefined)
  }
  if (!running) await layer.settle(world.signal)
  const upper = await layer.read(inTree, isCompared, world.signal)
  return { name, layer, upper, shadows: shadowsOf(upper, now, next, earlier) }
}

/** Drivers whose guests keep their overlays on this host. */
const WITH_LAYERS: ReadonlySet<string> = new Set(['dir', 'qemu', 'libvirt'])

function layerOf({ group, folder }: FoundGuest, area: string): UpperLayer {
  return group.driver.kind === 'dir'
    ? folderLayer(upperFolder(folder, area), { read: readXattrs, set: setXattrs })
    : diskLayer(folder.file('data', `${area}.ext4`))
}

interface Mended {
  readonly reset: readonly TreePath[]
  readonly beside: readonly TreePath[]
  /** Conflicts that nothing here can decide. */
  readonly left: readonly Shadow[]
}

/**
 * Resets what the guest only touched, and puts the new default beside what both sides changed. What is as in the new base
 * stays until the guest runs that.
 * @throws S5_GUEST_RUNNING
 */
export async function rebaseGuest(world: World, found: FoundGuest, to?: string): Promise<Mended> {
  const { folder } = found
  return await folder.exclusively(world.signal, async () => {
    mustBeOff(found)
    const { before, after, next, areas } = await guestShadows(world, found, to)
    const store = await world.store()
    const reset: TreePath[] = []
    const added: TreePath[] = []
    const left: Shadow[] = []
    for (const { layer, upper, shadows } of areas) {
      const going = shadows.filter(
        ({ remedy, kind, base }) =>
          remedy === 'reset' && (kind !== 'same' || before.name === after.name || base === 'none'),
      )
      const beside: Beside[] = []
      for (const { path, remedy, settled } of shadows) {
        const young = lookup(next, path)?.inode
        if (remedy !== 'both' || settled || young?.type !== 'file') continue
        beside.push({ path: `${path}${BESIDE}`, inode: young, bytes: await store.read(young.content) })
      }
      const paths = going.map(({ path }) => path)
      await layer.mend(upper, paths, beside, world.signal)
      reset.push(...paths)
      added.push(...beside.map(({ path }) => path))
      left.push(...shadows.filter(({ conflict, remedy }) => conflict && remedy === 'keep'))
    }
    return { reset, beside: added, left }
  })
}

/**
 * Gives back what the base has at a path, and below it.
 * @param path absolute, in the guest
 * @returns names that went from the overlay
 * @throws S5_GUEST_RUNNING, S5_FILE_MISSING
 */
export async function resetPath(world: World, found: FoundGuest, path: string): Promise<readonly TreePath[]> {
  const { folder } = found
  const wanted = Buffer.from(path.replace(/^\/+|\/+$/g, '')).toString('latin1')
  return await folder.exclusively(world.signal, async () => {
    mustBeOff(found)
    const { areas } = await guestShadows(world, found)
    for (const { layer, upper } of areas) {
      const going = upper
        .map((entry) => entry.path)
        .filter((one) => one === wanted || one.startsWith(`${wanted}/`) || one === `${wanted}${BESIDE}`)
      if (going.length === 0) continue
      await layer.mend(upper, going, [], world.signal)
      return going
    }
    throw new Stage5Error(
      'S5_FILE_MISSING',
      `${folder.name} keeps nothing of its own at /${printable(wanted)}`,
      {
        hint: `stage5 guest status ${folder.name}`,
      },
    )
  })
}

/** What hides changes of a generation from guests, as lines. */
export interface Hidden {
  readonly warnings: readonly string[]
  /** What holds guests of groups that hold. */
  readonly problems: readonly string[]
  /** What a rollout resets while the guest is off. */
  readonly resets: readonly string[]
}

export async function hiddenChanges(
  world: World,
  groups: readonly Group[],
  { line, name }: Pick<Generation, 'line' | 'name'>,
): Promise<Hidden> {
  const warnings: string[] = []
  const problems: string[] = []
  const resets: string[] = []
  const overlaid = new Map<string, boolean>()
  for (const group of groups) {
    if (!WITH_LAYERS.has(group.driver.kind)) continue
    for (const found of guestsOf(world, [group])) {
      const before = await runningBase(world, found)
      if (!before || before.name === name || !existsSync(before.directory)) continue
      if (!overlaid.has(before.name)) {
        const { boot } = await readManifest(before.directory)
        overlaid.set(
          before.name,
          boot.data.some(({ kind }) => kind === 'overlay'),
        )
      }
      if (overlaid.get(before.name) !== true) continue
      const { areas } = await guestShadows(world, found, `${line}/${name.split('-')[0]}`)
      const shadows = areas.flatMap((area) => area.shadows)
      const toReset = new Set(group.shadows === 'reset-unmodified' ? resetting(shadows) : [])
      for (const shadow of holding(shadows, 'hold')) {
        const into = toReset.has(shadow) ? resets : group.shadows === undefined ? warnings : problems
        into.push(lineOf(found, shadow))
      }
    }
  }
  return { warnings, problems, resets }
}

function lineOf({ guest }: FoundGuest, shadow: Shadow): string {
  return `${guest.name}: /${printable(shadow.path)}: ${shadowWords(shadow)}`
}

/**
 * Looks at the overlays of a guest that is to be led to a generation, and with `reset-unmodified` takes out of them what the
 * guest only touched and the generation changes, so that the change shows. The caller keeps the guest off meanwhile. Cut
 * off anywhere, it can be done again.
 * @returns what was taken out, as lines
 * @throws S5_ROLLOUT_REFUSED when what stays would hide a change, unless the generation is an older one; nothing is taken
 * out then
 */
export async function readyOverlays(
  world: World,
  found: FoundGuest,
  { line, seq, name }: Pick<Generation, 'line' | 'seq' | 'name'>,
  policy: 'hold' | 'reset-unmodified',
): Promise<readonly string[]> {
  mustBeOff(found)
  const before = await runningBase(world, found)
  if (!before || before.name === name || !existsSync(before.directory)) return []
  const { areas } = await guestShadows(world, found, `${line}/g${seq}`)
  const left = areas.flatMap(({ shadows }) => holding(shadows, policy))
  if (before.seq < seq)
    refuseHidden(
      found.guest.name,
      name,
      left.map((shadow) => lineOf(found, shadow)),
    )
  if (policy === 'hold') return []
  for (const { layer, upper, shadows } of areas) {
    const paths = resetting(shadows).map(({ path }) => path)
    if (paths.length > 0) await layer.mend(upper, paths, [], world.signal)
  }
  return areas.flatMap(({ shadows }) => resetting(shadows).map((shadow) => lineOf(found, shadow)))
}

/** @throws S5_ROLLOUT_REFUSED when there is anything */
export function refuseHidden(guest: string, generation: string, hidden: readonly string[]): void {
  if (hidden.length === 0) return
  throw new Stage5Error('S5_ROLLOUT_REFUSED', hidden.slice(0, 3).join('; '), {
    hint: `stage5 guest status ${guest} --to ${generation}`,
    data: { guest, generation, hidden },
  })
}

function mustBeOff({ group, folder }: FoundGuest): void {
  if (startedOf(folder) || (group.driver.kind === 'dir' && livingOn(folder).length > 0))
    throw new Stage5Error('S5_GUEST_RUNNING', `${folder.name} is running: its disks are in use`, {
      hint: `stage5 guest stop ${folder.name}`,
    })
}
