/** `stage5 boot PROFILE`: run the newest output in QEMU, with its data disks, on the console. */
import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { probeAccel } from '../../deploy/accel.ts'
import { copyDataDisk } from '../../deploy/data-disk.ts'
import { bootGuest, type Guest, type GuestArch, type GuestSpec, waitReady } from '../../deploy/qemu.ts'
import { type Command, textOption, type Words } from '../command.ts'
import { findOutput, type Manifest } from '../manifest.ts'
import { parseMemory, parsePort, parseSeconds } from '../quantities.ts'
import { loadRecipe } from '../recipe.ts'
import { shownPath, type World } from '../world.ts'

export const boot: Command = {
  name: 'boot',
  summary: 'run the newest build in QEMU with its serial console (Ctrl-A X ends it)',
  arguments: [{ name: '<profile>', description: 'name of a profile, with @variant' }],
  options: [
    {
      flags: '-m, --memory <size>',
      description: 'memory of the guest, such as 256M (default: what the profile says)',
    },
    {
      flags: '-p, --forward <host:guest>',
      description: 'reach a TCP port of the guest at 127.0.0.1, such as 8080:80',
      many: true,
    },
    { flags: '--data <dir>', description: 'folder of the data disks (default: .stage5/guests/<id>)' },
    { flags: '--fresh', description: 'forget the data disks and start with new ones' },
    {
      flags: '--expect <text>',
      description: 'end with status 0 when the console shows this text, with 1 when it does not',
    },
    {
      flags: '--timeout <time>',
      description: 'how long to wait for --expect, such as 90s (default: what the profile says)',
    },
    { flags: '--accel <accel>', description: 'kvm, tcg, or auto (default): kvm where it really runs' },
    { flags: '--append <words>', description: 'more words for the kernel command line' },
  ],
  examples: [
    'stage5 boot www-nginx --forward 8080:80',
    "stage5 boot minimal --memory 128M --expect 'stage5: ready'",
  ],
  run: async (world, words) => {
    const { profile } = await loadRecipe(world, words.arguments[0] as string)
    const { directory, manifest } = await findOutput(world, profile.id, profile.name)
    const spec = await guestSpec(world, words, directory, manifest)
    const expect = textOption(words, 'expect')
    if (expect !== undefined) {
      const timeout = textOption(words, 'timeout')
      const seconds = timeout === undefined ? profile.boot.timeoutSeconds : parseSeconds('--timeout', timeout)
      return await bootAndExpect(world, spec, expect, seconds)
    }
    await using guest = await bootGuest(spec, { signal: world.signal, interactive: true })
    const { code } = await guest.exited
    return { data: { exitCode: code }, text: '', exitCode: code ?? 1 }
  },
}

async function bootAndExpect(
  world: World,
  spec: GuestSpec,
  expect: string,
  seconds: number,
): Promise<{ data: { ready: boolean; ms: number }; text: string }> {
  await using guest = await bootGuest(spec, { signal: world.signal })
  const shown = echo(guest)
  const ms = await waitReady(guest, expect, seconds * 1000)
  await guest.stop()
  await shown
  world.signal.throwIfAborted()
  return {
    data: { ready: true, ms: Math.round(ms) },
    text: `${JSON.stringify(expect)} after ${(ms / 1000).toFixed(1)} s\n`,
  }
}

/** The console is for people: it goes to stderr. */
async function echo(guest: Guest): Promise<void> {
  for await (const line of guest.lines()) process.stderr.write(`${line}\n`)
}

async function guestSpec(
  world: World,
  words: Words,
  directory: string,
  manifest: Manifest,
): Promise<GuestSpec> {
  const { boot: record, image } = manifest
  if (record.kernel === undefined || record.initrd === undefined)
    throw new Stage5Error('S5_KERNEL_MISSING', `${shownPath(directory)} has no kernel to boot`, {
      hint: 'set kernel: in the profile',
    })
  const memory = textOption(words, 'memory')
  const arch = image.arch as GuestArch
  const append = textOption(words, 'append') ?? ''
  return {
    arch,
    kernel: join(directory, record.kernel),
    initrd: join(directory, record.initrd),
    ...(record.base !== undefined && { base: join(directory, record.base) }),
    ...(record.verity !== undefined && { verity: join(directory, record.verity) }),
    data: await dataDisks(world, words, directory, manifest),
    cmdline: `${record.cmdline ?? ''} ${append}`.split(/\s+/).filter((word) => word !== ''),
    memoryMiB: memory === undefined ? record.memory : parseMemory('--memory', memory),
    forwards: forwardsOf(words),
    network: true,
    accel: await accelOf(world, words, arch),
    extra: [],
  }
}

function forwardsOf(words: Words): { host: number; guest: number }[] {
  const given = words.options['forward']
  return (Array.isArray(given) ? (given as string[]) : []).map((text) => {
    const [host = '', guest = '', more] = text.split(':')
    if (guest === '' || more !== undefined)
      throw new Stage5Error(
        'S5_USAGE',
        `--forward expects HOST:GUEST such as 8080:80, found ${JSON.stringify(text)}`,
      )
    return { host: parsePort('--forward', host), guest: parsePort('--forward', guest) }
  })
}

async function accelOf(world: World, words: Words, arch: GuestArch): Promise<'kvm' | 'tcg'> {
  const accel = textOption(words, 'accel') ?? 'auto'
  if (accel === 'kvm' || accel === 'tcg') return accel
  if (accel !== 'auto')
    throw new Stage5Error('S5_USAGE', `--accel expects kvm, tcg or auto, found ${JSON.stringify(accel)}`)
  const cacheFile = join((await world.store()).path, 'accel.json')
  return await probeAccel({ arch, signal: world.signal, cacheFile })
}

/** The guest's own copies of the data disks: made from the templates once, kept over reboots and new bases. */
async function dataDisks(
  world: World,
  words: Words,
  directory: string,
  { boot: record, image }: Manifest,
): Promise<string[]> {
  const folder = textOption(words, 'data') ?? join(world.directory, '.stage5', 'guests', image.id)
  const disks: string[] = []
  for (const area of record.data) {
    await mkdir(folder, { recursive: true })
    const disk = join(folder, `${area.name}.ext4`)
    if (words.options['fresh'] === true || (await stat(disk).catch(() => undefined)) === undefined) {
      const fresh = join(folder, `.${basename(disk)}.${process.pid}.tmp`)
      try {
        await copyDataDisk(join(directory, area.file), fresh, world.signal)
        await rename(fresh, disk)
      } finally {
        await rm(fresh, { force: true })
      }
    }
    disks.push(disk)
  }
  return disks
}
