/**
 * The driver `dir`: a guest is a program in a root of its own. The root is an overlay: the generation's tree below,
 * memory above, and the guest's data areas mounted into it; it is mounted for that program alone and is gone with it.
 */
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isStage5Error, Stage5Error } from '../../base/errors.ts'
import { signalProcess } from '../../host/processes.ts'
import { run } from '../../host/run.ts'
import type { Group } from '../../resolve/group.ts'
import type { DirOptions } from '../../resolve/shape-driver.ts'
import { filled } from '../../resolve/template.ts'
import type { DriverGeneration, GuestDriver } from '../driver.ts'
import { LASTING, prepareAreas } from './areas.ts'
import { guestFolder, machineId } from './folder.ts'
import { type Backend, hostedDriver } from './hosted.ts'
import { endingLines, endLiving, mountSource } from './mounts.ts'
import { readOutput } from './output.ts'
import type { DriverPlaces } from './qemu.ts'
import { consoleTail, imageLine } from './running.ts'
import { seedList, seedOf } from './seed.ts'
import { shellWord } from './words.ts'

/** Makes the root of a generation as a folder that does not exist yet. */
export type CheckoutRoot = (
  generation: DriverGeneration,
  directory: string,
  signal: AbortSignal,
) => Promise<void>

export function dirDriver(
  group: Group,
  options: DirOptions,
  { project, root, whileOff }: DriverPlaces,
  checkout: CheckoutRoot,
): GuestDriver {
  const backend: Backend = {
    kind: 'dir',
    stopMs: options.stopSeconds * 1000,

    prepare: async (guest, folder, generation, directory, signal) => {
      const { image, boot } = await readOutput(generation)
      const tree = join(directory, 'root')
      if (!existsSync(tree)) {
        const fresh = `${tree}.new`
        await rm(fresh, { recursive: true, force: true })
        await checkout(generation, fresh, signal)
        await rename(fresh, tree)
      }
      const { files } = await seedOf(guest, group, folder, project)
      const seed = join(directory, 'seed')
      await rm(seed, { recursive: true, force: true })
      await mkdir(seed, { mode: 0o700 })
      await writeFile(join(seed, 'list'), seedList(files), 'latin1')
      for (const [at, { mode, bytes }] of files.entries())
        await writeFile(join(seed, `${at}`), bytes, { mode })
      const source = mountSource(await machineId(folder))
      const areas = await prepareAreas(boot, folder, tree, source, signal)
      const merged = folder.file('run', 'root')
      const argv = options.run.map((word) => filled(word, { ...guest.values, root: merged }))
      const program = argv.length === 0 ? 'exec sleep infinity' : `exec ${argv.map(shellWord).join(' ')}`
      await writeFile(
        join(directory, 'run'),
        `umask 077\nexec >>run/console.log 2>&1\numask 022\nexec unshare --mount --propagation private sh ${shellWord(`gen/${generation.name}/inside`)} "$1"\n`,
      )
      await writeFile(
        join(directory, 'inside'),
        [
          'set -e',
          ...endingLines(source),
          'mkdir -p run/rw run/root',
          `mount -t tmpfs -o mode=0700,size=${options.writable} rw run/rw`,
          'mkdir -m 0755 run/rw/upper run/rw/work',
          `mount -t overlay -o lowerdir=gen/${generation.name}/root,upperdir=run/rw/upper,workdir=run/rw/work,` +
            `${LASTING} ${source} run/root`,
          'while read -r number path; do',
          '  mkdir -p "run/root${path%/*}"',
          '  rm -f "run/root$path"',
          `  cp -p gen/${generation.name}/seed/$number "run/root$path"`,
          `done <gen/${generation.name}/seed/list`,
          ...areas,
          `export STAGE5_GENERATION=${generation.name} STAGE5_BOOT="$1"`,
          program,
          '',
        ].join('\n'),
      )
      await mkdir(folder.file('run'), { recursive: true, mode: 0o700 })
      await writeFile(join(directory, 'image'), `${imageLine(image)}\n`)
    },

    ask: async (_, __, started) => {
      signalProcess(-started.pid, 'SIGTERM')
    },

    evidence: async (_, folder, { pid, generation }) => {
      const seen = mountedImage(pid)
      if (seen === undefined) return { unknown: 'starting' }
      if (seen.generation !== generation)
        return { unknown: `expected the root of ${generation}, found ${seen.generation}` }
      const expected = folder.read(`gen/${generation}/image`)
      if (seen.image !== expected) return { unknown: `expected the image ${expected}, found ${seen.image}` }
      return { running: generation }
    },

    ended: (guest) => endLiving(guestFolder(root, guest.name)),

    health: (_, folder, { pid }) => ({
      console: () => consoleTail(folder),
      systemd: async (signal) => {
        try {
          const { stdout } = await run(['nsenter', '-a', '-t', `${pid}`, 'systemctl', 'is-system-running'], {
            signal,
            accept: 'any',
          })
          return stdout.toString('utf8').trim() || undefined
        } catch (error) {
          if (isStage5Error(error, 'S5_TOOL_MISSING')) return undefined
          throw error
        }
      },
    }),
  }
  const driver = hostedDriver(backend, { root, checks: group.health, whileOff })
  return process.getuid?.() === 0 ? driver : { ...driver, switchTo: () => Promise.reject(needsRoot()) }
}

function needsRoot(): Stage5Error {
  return new Stage5Error(
    'S5_FILE_FORBIDDEN',
    'the driver dir mounts an overlay for each guest and needs root',
    {
      hint: 'run it as root, or use the driver qemu',
    },
  )
}

/**
 * The overlay that a process lives on: the generation in its `lowerdir=`, and what its os-release says.
 * @see proc(5), /proc/pid/mountinfo
 */
function mountedImage(pid: number): { generation: string; image: string } | undefined {
  try {
    for (const line of readFileSync(`/proc/${pid}/mountinfo`, 'utf8').split('\n')) {
      const [left = '', right = ''] = line.split(' - ')
      const generation = /(?:^|[ ,])lowerdir=gen\/([^/,]+)\/root(?:,|$)/.exec(right)?.[1]
      const place = left.split(' ')[4]
      if (generation === undefined || place === undefined) continue
      const text = readFileSync(`/proc/${pid}/root${place}/usr/lib/os-release`, 'utf8')
      const value = (key: string): string => new RegExp(`^${key}="?([^"\n]*)`, 'm').exec(text)?.[1] ?? ''
      return { generation, image: imageLine({ id: value('IMAGE_ID'), version: value('IMAGE_VERSION') }) }
    }
  } catch {
    // It ends, or has not mounted anything yet.
  }
  return undefined
}
