/** Guests that live in memory: everything in one initrd, and the script for booting from the network. */
import { join } from 'node:path'
import { ipxeScript } from '../emit/netboot.ts'
import { planOneInitrd } from '../emit/one-initrd.ts'
import { piecesOfFile } from '../host/pieces.ts'
import type { Job } from './emit-job.ts'
import type { Kernel } from './emit-kernel.ts'
import type { OutputFile } from './output.ts'
import { timed } from './timed.ts'

/** `<stem>.one.initrd` and `parts.json`. @returns the name of the initrd */
export async function emitOneInitrd(
  { world, output, stem, date }: Job,
  kernel: Kernel,
  base: string,
): Promise<string> {
  const name = `${stem}.one.initrd`
  const sizes = { initramfs: fileOf(output.files, kernel.initrd).size, base: fileOf(output.files, base).size }
  const { parts, pieces } = planOneInitrd(sizes, kernel.memoryCmdline, date)
  const files = { initramfs: kernel.initrd, base }
  await timed(world, name, () =>
    output.add(name, 'one-initrd', async (sink) => {
      for (const piece of pieces) {
        world.signal.throwIfAborted()
        if (typeof piece !== 'string') {
          await sink.write(piece)
          continue
        }
        const path = join(output.directory, files[piece])
        for await (const bytes of piecesOfFile(path)) await sink.write(bytes)
      }
    }),
  )
  const record = { file: name, parts }
  await output.addBytes('parts.json', 'report', `${JSON.stringify(record, null, 2)}\n`)
  return name
}

/** @returns the name of the iPXE script */
export async function emitNetboot({ output, stem }: Job, kernel: Kernel, base: string): Promise<string> {
  const name = `${stem}.ipxe`
  await output.addBytes(name, 'netboot', ipxeScript({ ...kernel, cmdline: kernel.memoryCmdline, base }))
  return name
}

function fileOf(files: readonly OutputFile[], name: string): OutputFile {
  const found = files.find((file) => file.name === name)
  if (!found) throw new Error(`${name} is not written yet`)
  return found
}
