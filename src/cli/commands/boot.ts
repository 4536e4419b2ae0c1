/** `stage5 boot PROFILE`: run the newest output in QEMU, with its data disks, on the console. */
import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { bootGuest, type Guest, type GuestSpec, waitReady } from '../../deploy/qemu.ts'
import { type Command, textOption, type Words } from '../command.ts'
import { seedDisk } from '../config-pack.ts'
import { findGeneration } from '../generations.ts'
import { guestSpec } from '../guest-spec.ts'
import { findOutput, type Manifest, readManifest } from '../manifest.ts'
import { readNamed } from '../named-file.ts'
import { parseSeconds } from '../quantities.ts'
import { loadRecipe } from '../recipe.ts'
import type { World } from '../world.ts'

export const boot: Command = {
  name: 'boot',
  summary: 'run the newest build in QEMU with its serial console (Ctrl-A X ends it)',
  arguments: [{ name: '[profile]', description: 'name of a profile, with @variant' }],
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
    {
      flags: '--generation <generation>',
      description: 'run this one instead, such as www-nginx/g3, with the same data disks',
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
    {
      flags: '--seed <file>',
      description: 'words of this one guest, on a small disk: address, name, config',
    },
    { flags: '--append <words>', description: 'more words for the kernel command line' },
    {
      flags: '--image <format>',
      description:
        'what to start: kernel (default: kernel, initrd and base), initrd, netboot, disk, qcow2 or vhd',
    },
    { flags: '--firmware <firmware>', description: 'what starts a disk: bios (default) or uefi' },
    {
      flags: '--kernel <release>',
      description: 'which kernel, where the profile has several (default: the newest)',
    },
  ],
  examples: [
    'stage5 boot www-nginx --forward 8080:80',
    'stage5 boot --generation www-nginx/g3',
    'stage5 boot minimal --image initrd',
    'stage5 boot minimal --image disk --firmware uefi --memory 256M',
    "stage5 boot minimal --memory 128M --expect 'stage5: ready'",
  ],
  run: async (world, words) => {
    const expect = textOption(words, 'expect')
    const timeout = textOption(words, 'timeout')
    if (timeout !== undefined && expect === undefined)
      throw new Stage5Error('S5_USAGE', '--timeout says how long to wait for --expect, which is not there', {
        hint: "--expect 'stage5: ready'",
      })
    const { directory, manifest } = await chosenBuild(world, words)
    await using seed = await seedOf(world, words)
    const asked = await guestSpec(world, words, directory, manifest)
    const spec = { ...asked, extra: [...asked.extra, ...seed.words] }
    if (expect !== undefined) {
      const seconds =
        timeout === undefined
          ? (await loadRecipe(world, manifest.image.profile)).profile.boot.timeoutSeconds
          : parseSeconds('--timeout', timeout)
      return await bootAndExpect(world, spec, expect, seconds)
    }
    await using guest = await bootGuest(spec, { signal: world.signal, interactive: true })
    const { code } = await guest.exited
    return { data: { exitCode: code }, text: '', exitCode: code ?? 1 }
  },
}

/** QEMU's words for the disk with the seed, while it is there. @throws S5_FILE_MISSING, S5_CONFIG_INVALID */
async function seedOf(
  world: World,
  words: Words,
): Promise<AsyncDisposable & { readonly words: readonly string[] }> {
  const given = textOption(words, 'seed')
  if (given === undefined) return { words: [], [Symbol.asyncDispose]: async () => {} }
  const text = (await readNamed(resolve(world.directory, given))).toString()
  const folder = await mkdtempDisposable(join(tmpdir(), 'stage5-seed-'))
  const file = join(folder.path, 'seed.img')
  await writeFile(file, seedDisk(text))
  const node = {
    driver: 'raw',
    'node-name': 'seed',
    'read-only': true,
    file: { driver: 'file', filename: file },
  }
  return {
    words: ['-blockdev', JSON.stringify(node), '-device', 'virtio-blk-pci,drive=seed,serial=seed'],
    [Symbol.asyncDispose]: () => folder.remove(),
  }
}

/** @throws S5_USAGE, S5_OUTPUT_MISSING, S5_GENERATION_UNKNOWN */
async function chosenBuild(
  world: World,
  words: Words,
): Promise<{ readonly directory: string; readonly manifest: Manifest }> {
  const [name] = words.arguments
  const wanted = textOption(words, 'generation')
  if ((name === undefined) === (wanted === undefined))
    throw new Stage5Error('S5_USAGE', 'boot takes a profile or --generation, and not both', {
      hint: 'stage5 boot PROFILE',
    })
  if (wanted !== undefined) {
    const { directory } = await findGeneration(world, wanted)
    return { directory, manifest: await readManifest(directory) }
  }
  const { profile } = await loadRecipe(world, name as string)
  return await findOutput(world, profile.id, profile.name)
}

async function bootAndExpect(
  world: World,
  spec: GuestSpec,
  expect: string,
  seconds: number,
): Promise<{ data: { ready: boolean; ms: number }; text: string }> {
  await using guest = await bootGuest(spec, { signal: world.signal })
  const shown = echo(guest, expect)
  const ms = await waitReady(guest, expect, seconds * 1000)
  await guest.stop()
  await shown
  world.signal.throwIfAborted()
  return {
    data: { ready: true, ms: Math.round(ms) },
    text: `${JSON.stringify(expect)} after ${(ms / 1000).toFixed(1)} s\n`,
  }
}

/** The console is for people: it goes to stderr, up to the line that has `last`. */
async function echo(guest: Guest, last: string): Promise<void> {
  for await (const line of guest.lines()) {
    process.stderr.write(`${line}\n`)
    if (line.includes(last)) return
  }
}
