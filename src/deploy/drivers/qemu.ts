/**
 * The driver `qemu`: guests are processes of QEMU on this host, kept by their keeper. The host owns the trial pointer,
 * the base is attached read-only, and the data disks are the guest's own.
 */
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isStage5Error } from '../../base/errors.ts'
import { forwardsOf } from '../../resolve/forward.ts'
import type { Group } from '../../resolve/group.ts'
import type { QemuOptions } from '../../resolve/shape-driver.ts'
import { filled } from '../../resolve/template.ts'
import { probeAccel } from '../accel.ts'
import type { GuestDriver, WhileOff } from '../driver.ts'
import { type GuestArch, type GuestSpec, qemuArguments } from '../qemu.ts'
import { qmp } from '../qmp.ts'
import { type Backend, hostedDriver } from './hosted.ts'
import { BOOT, memoryOf, prepareImages } from './images.ts'
import { consoleHead, consoleTail, runningImage } from './running.ts'
import { shellWord } from './words.ts'

export interface DriverPlaces {
  /** The project: where relative names begin. */
  readonly project: string
  /** Absolute folder with a folder for each guest. */
  readonly root: string
  readonly whileOff?: WhileOff | undefined
}

export function qemuDriver(
  group: Group,
  options: QemuOptions,
  { project, root, whileOff }: DriverPlaces,
): GuestDriver {
  const backend: Backend = {
    kind: 'qemu',
    stopMs: options.stopSeconds * 1000,

    prepare: async (guest, folder, generation, directory, signal) => {
      const images = await prepareImages(
        guest,
        group,
        folder,
        generation,
        directory,
        { append: options.append, project },
        signal,
      )
      const { boot, image, disks, words } = images
      const arch = image.arch as GuestArch
      const cacheFile = join(root, '.accel.json')
      const accel = options.accel === 'auto' ? await probeAccel({ arch, signal, cacheFile }) : options.accel
      const here = `gen/${generation.name}`
      const spec: GuestSpec = {
        arch,
        kernel: `${here}/kernel`,
        initrd: `${here}/initrd`,
        ...(boot.base !== undefined && { base: `${here}/base` }),
        ...(boot.verity !== undefined && { verity: `${here}/verity` }),
        data: disks,
        cmdline: words,
        memoryMiB: memoryOf(options.memory, images),
        forwards: forwardsOf(options, guest.values),
        network: true,
        accel,
        serial: [
          '-chardev',
          'socket,id=console,path=run/console.sock,server=on,wait=off,logfile=run/console.log,logappend=on',
          ...['-serial', 'chardev:console'],
        ],
        extra: [
          ...['-qmp', 'unix:run/qmp.sock,server=on,wait=off'],
          ...options.arguments.map((word) => filled(word, guest.values)),
        ],
      }
      const command = qemuArguments(spec).map(shellWord).join(' ').replace(BOOT, `'"$1"'`)
      await writeFile(join(directory, 'run'), `umask 077\nexec ${command}\n`)
    },

    ask: async (_, folder) => {
      try {
        await qmp(folder.file('run', 'qmp.sock'), [
          { execute: 'system_powerdown' },
          {
            execute: 'send-key',
            arguments: { keys: ['ctrl', 'alt', 'delete'].map((data) => ({ type: 'qcode', data })) },
          },
        ])
      } catch (error) {
        // One that cannot be asked is ended the hard way.
        if (!isStage5Error(error, 'S5_TOOL_FAILED')) throw error
      }
    },

    evidence: async (_, folder, { pid, bootId, generation }) => {
      let command: string
      try {
        command = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      } catch {
        return { unknown: 'it has just ended' }
      }
      if (!command.includes(`stage5.boot=${bootId}`) || !command.includes(`gen/${generation}/`))
        return { unknown: `process ${pid} was not started for this` }
      return runningImage(folder, generation, bootId, await consoleHead(folder))
    },

    health: (_, folder) => ({ console: () => consoleTail(folder) }),
  }
  return hostedDriver(backend, { root, checks: group.health, whileOff })
}
