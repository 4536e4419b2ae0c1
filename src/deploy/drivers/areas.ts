/**
 * The data areas of a guest that lives in a root of its own, on this host: folders and upper layers in the guest's
 * `data/`, memory, and what nobody may write to. What is persistent is made here, and mounted at each start.
 *
 * An upper layer stands over the guest's root as it is then, seeds included: what each start brings is never kept as a
 * change. `redirect_dir`, `metacopy` and `index` would tie it to the very base that it was made over.
 */
import { existsSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { syncFileSystem } from '../../host/disk.ts'
import { run } from '../../host/run.ts'
import { comparePaths } from '../../tree/tree.ts'
import type { GuestFolder } from './folder.ts'
import type { GuestOutput } from './output.ts'
import { shellWord } from './words.ts'

/** Options of overlays that outlive the base below them. */
export const LASTING = 'redirect_dir=off,metacopy=off,index=off'

/** Folder of an area's upper layers; in it they have the names of the guest. */
export function upperFolder(folder: GuestFolder, area: string): string {
  return folder.file('data', area, 'upper')
}

/**
 * Makes what is missing of the persistent areas.
 * @param tree the generation's root, as a folder
 * @param source name of the mounts
 * @returns lines of a shell that stands in the guest's folder and has mounted its root at `run/root`
 * @throws S5_IMAGE_INPUT when an area has been kept in another way until now
 */
export async function prepareAreas(
  { data, areas = [] }: GuestOutput['boot'],
  folder: GuestFolder,
  tree: string,
  source: string,
  signal: AbortSignal,
): Promise<string[]> {
  const mounts: { readonly path: string; readonly lines: readonly string[] }[] = []
  for (const { name, paths, kind } of data)
    for (const path of paths) {
      const own = folder.file('data', name, path)
      const upper = join(upperFolder(folder, name), path)
      if (existsSync(kind === 'overlay' ? own : upper)) throw otherKind(folder, name, kind, path)
      if (kind !== 'overlay' && !existsSync(own)) await seedArea(join(tree, path), own, signal)
      const lines = kind === 'overlay' ? overlayLines(name, path, source) : bindLines(name, path)
      mounts.push({ path, lines })
    }
  const memory: string[] = []
  for (const { name, size, paths, kind } of areas) {
    const place = shellWord(`run/area/${name}`)
    if (kind !== 'immutable')
      memory.push(`mkdir -p ${place}`, `mount -t tmpfs -o mode=0755,size=${size} tmpfs ${place}`)
    for (const path of paths)
      mounts.push({ path, lines: kind === 'immutable' ? fixedLines(path) : memoryLines(name, path) })
  }
  // A mount hides what was mounted below its name before.
  const sorted = mounts.toSorted((a, b) => comparePaths(a.path, b.path))
  return [GUARD, ...memory, ...sorted.flatMap(({ path, lines }) => [`plain ${shellWord(path)}`, ...lines])]
}

/** A symlink, of the base or of the guest, would lead a mount out of the guest's root. */
const GUARD =
  'plain() { [ "$(realpath -m -- "run/root$1")" = "$(pwd -P)/run/root$1" ] || ' +
  '{ echo "stage5: cannot boot: $1 leads elsewhere, and cannot be a data area"; exit 1; }; }'

function bindLines(area: string, path: string): string[] {
  const at = shellWord(`run/root${path}`)
  return [`mkdir -p ${at}`, `mount --bind ${shellWord(`data/${area}${path}`)} ${at}`]
}

function overlayLines(area: string, path: string, source: string): string[] {
  const at = shellWord(`run/root${path}`)
  const upper = `data/${area}/upper${path}`
  const work = `data/${area}/work${path}`
  const fresh = shellWord(`${upper}.new`)
  const options = `lowerdir=run/root${path},upperdir=${upper},workdir=${work},${LASTING}`
  return [
    `mkdir -p ${at} ${shellWord(work)}`,
    `if [ ! -d ${shellWord(upper)} ]; then`,
    `  mkdir -p ${fresh}`,
    `  chown --reference=${at} ${fresh}`,
    `  chmod --reference=${at} ${fresh}`,
    `  mv -T ${fresh} ${shellWord(upper)}`,
    'fi',
    `mount -t overlay -o ${shellWord(options)} ${source} ${at}`,
  ]
}

function fixedLines(path: string): string[] {
  const at = shellWord(`run/root${path}`)
  return [`mkdir -p ${at}`, `mount --bind ${at} ${at}`, `mount -o remount,bind,ro ${at}`]
}

/** Filled from the base at each start. */
function memoryLines(area: string, path: string): string[] {
  const at = shellWord(`run/root${path}`)
  const own = `run/area/${area}${path}`
  return [
    `mkdir -p ${at} ${shellWord(dirname(own))}`,
    `cp -a ${at} ${shellWord(own)}`,
    `mount --bind ${shellWord(own)} ${at}`,
  ]
}

/** A guest's own copy of what the base has there, owners and modes included; whole or not there. */
async function seedArea(given: string, own: string, signal: AbortSignal): Promise<void> {
  const fresh = `${own}.new`
  await rm(fresh, { recursive: true, force: true })
  await mkdir(dirname(own), { recursive: true })
  if (existsSync(given)) await run(['cp', '-a', '--', given, fresh], { signal })
  else await mkdir(fresh)
  await syncFileSystem(fresh, signal)
  await rename(fresh, own)
}

function otherKind(
  folder: GuestFolder,
  area: string,
  kind: 'overlay' | undefined,
  path: string,
): Stage5Error {
  const [now, before] = kind === 'overlay' ? ['an overlay', 'a folder'] : ['a folder', 'an overlay']
  return new Stage5Error(
    'S5_IMAGE_INPUT',
    `${folder.name}: expected the data area ${area} to be ${before} as it was, found ${now}: what it keeps of ${path} would be hidden`,
    {
      hint: `give the area another name, or move ${folder.file('data', area)} away`,
      data: { guest: folder.name, area, path },
    },
  )
}
