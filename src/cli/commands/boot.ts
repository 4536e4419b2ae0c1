/** `stage5 boot PROFILE`: run the newest output in QEMU, with its data disks, on the console. */
import { bootGuest, type Guest, type GuestSpec, waitReady } from '../../deploy/qemu.ts'
import { type Command, textOption } from '../command.ts'
import { guestSpec } from '../guest-spec.ts'
import { findOutput } from '../manifest.ts'
import { parseSeconds } from '../quantities.ts'
import { loadRecipe } from '../recipe.ts'
import type { World } from '../world.ts'

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
    'stage5 boot minimal --image initrd',
    'stage5 boot minimal --image disk --firmware uefi --memory 256M',
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
