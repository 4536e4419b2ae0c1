/** Data disks: sparse ext4 images, labelled and seeded from the root, made as any user. */
import { open, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import {
  type Contents,
  type DataDiskArea,
  debugfsScript,
  mke2fsArguments,
  planDataDisk,
  type Tree,
} from '../emit/data-disk.ts'
import { run } from '../host/run.ts'
import { piecesOf } from '../tree/contents.ts'
import { temporaryDirectory } from '../host/temp.ts'

interface DataDiskOptions {
  /** Seconds since 1970: when the file system was made. */
  readonly date: number
  /** Decides the UUID and the hash seed of directories. */
  readonly seed: string
  readonly signal: AbortSignal
}

/**
 * Makes the disk of one data area at `target`, which must not exist. Equal arguments give equal bytes. The image is
 * sparse: it takes the place of its content and about 400 KiB. Nothing is left behind on failure.
 * @throws S5_IMAGE_INPUT, S5_TOOL_MISSING, S5_TOOL_FAILED
 */
export async function makeDataDisk(
  area: DataDiskArea,
  root: Tree,
  contents: Contents,
  target: string,
  options: DataDiskOptions,
): Promise<void> {
  const { date, seed, signal } = options
  const plan = planDataDisk(area, root)
  using folder = temporaryDirectory()
  const places = new Map<string, string>()
  for (const { content, size } of plan.files) {
    signal.throwIfAborted()
    const place = join(folder.path, `${places.size}`)
    places.set(content, place)
    await writeFile(place, piecesOf(contents, content, size))
  }
  const values: [place: string, value: string][] = []
  const script = debugfsScript(plan, (what) => {
    if (typeof what === 'string') return places.get(what) as string
    const place = join(folder.path, `x${values.length}`)
    values.push([place, what.value])
    return place
  })
  for (const [place, value] of values) await writeFile(place, value, 'latin1')
  const commands = join(folder.path, 'commands')
  await writeFile(commands, script, 'latin1')
  const settings = join(folder.path, 'mke2fs.conf')
  await writeFile(settings, '[fs_types]\n  ext4 = {\n  }\n')
  const env = { E2FSPROGS_FAKE_TIME: `${date}`, MKE2FS_CONFIG: settings, TZ: 'UTC' }

  const file = await open(target, 'wx', 0o644)
  try {
    await file.truncate(plan.size)
    await file.close()
    await run(mke2fsArguments(plan, seed, target), { env, signal })
    if (script !== '') await fill(target, commands, env, signal)
  } catch (error) {
    await rm(target, { force: true })
    throw error
  }
}

/** debugfs ends with 0 whatever happens: what it says beside its version is an error. */
async function fill(
  target: string,
  commands: string,
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<void> {
  const argv = ['debugfs', '-w', '-f', commands, target]
  const { stderr } = await run(argv, { env, signal })
  const complaints = stderr.split('\n').filter((line) => line !== '' && !/^debugfs \d/.test(line))
  if (complaints.length > 0)
    throw new Stage5Error(
      'S5_TOOL_FAILED',
      `debugfs could not fill ${target}: ${complaints.slice(0, 5).join('; ')}`,
      {
        data: { argv, stderr },
      },
    )
}

/**
 * A guest's own copy of a data disk: what is a hole stays a hole, and where the file system can share blocks nothing
 * is copied at all.
 * @throws S5_TOOL_FAILED
 */
export async function copyDataDisk(from: string, to: string, signal: AbortSignal): Promise<void> {
  await run(['cp', '--sparse=always', '--reflink=auto', '--', from, to], { signal })
}
