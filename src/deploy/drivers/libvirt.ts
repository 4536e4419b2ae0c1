/**
 * The driver `libvirt`: guests are domains, defined anew for each start and kept by their keeper. The domain is
 * persistent, so that virsh and its friends see it; it never restarts by itself, since the host owns the trial pointer.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isStage5Error, Stage5Error } from '../../base/errors.ts'
import { run } from '../../host/run.ts'
import type { Group } from '../../resolve/group.ts'
import type { LibvirtOptions } from '../../resolve/shape-driver.ts'
import { filled } from '../../resolve/template.ts'
import type { GuestDriver } from '../driver.ts'
import type { GuestFolder } from './folder.ts'
import { type Backend, hostedDriver } from './hosted.ts'
import { BOOT, type Images, memoryOf, prepareImages } from './images.ts'
import type { DriverPlaces } from './qemu.ts'
import { consoleHead, consoleTail, runningImage } from './running.ts'
import { shellWord } from './words.ts'

const DEFAULT_INTERFACE = `<interface type='network'><source network='default'/><model type='virtio'/></interface>`

export function libvirtDriver(
  group: Group,
  options: LibvirtOptions,
  { project, root, whileOff }: DriverPlaces,
): GuestDriver {
  const virsh = async (words: readonly string[]): Promise<string | undefined> => {
    try {
      const { stdout } = await run(['virsh', '-q', '-c', options.connect, ...words], { timeoutMs: VIRSH_MS })
      return stdout.toString('utf8')
    } catch (error) {
      if (isStage5Error(error, 'S5_TOOL_FAILED')) return undefined
      throw error
    }
  }

  const backend: Backend = {
    kind: 'libvirt',
    stopMs: options.stopSeconds * 1000,

    prepare: async (guest, folder, generation, directory, signal) => {
      const places = { append: options.append, project }
      const images = await prepareImages(guest, group, folder, generation, directory, places, signal)
      const cards = options.interface === '' ? DEFAULT_INTERFACE : filled(options.interface, guest.values)
      const xml = domainXml(folder, generation.name, images, {
        type: options.type,
        memoryMiB: memoryOf(options.memory, images),
        cards,
      })
      await writeFile(join(directory, 'domain.xml'), xml, { mode: 0o600 })
      const command = `virsh -q -c ${shellWord(options.connect)}`
      const name = shellWord(guest.name)
      await writeFile(join(directory, 'run'), script(command, name, generation.name))
    },

    ask: async ({ name }) => {
      await virsh(['shutdown', name])
      await virsh(['send-key', name, 'KEY_LEFTCTRL', 'KEY_LEFTALT', 'KEY_DELETE'])
    },

    evidence: async ({ name }, folder, { bootId, generation }) => {
      const live = await virsh(['dumpxml', name])
      if (live === undefined) return { unknown: 'libvirt does not know it' }
      if (!live.includes(`stage5.boot=${bootId}`) || !live.includes(`/gen/${generation}/`))
        return { unknown: 'its domain was not started for this' }
      return runningImage(folder, generation, bootId, await consoleHead(folder))
    },

    health: (_, folder) => ({ console: () => consoleTail(folder) }),

    ended: async ({ name }) => {
      const state = await virsh(['domstate', name])
      if (state !== undefined && !/^(?:shut off|crashed)/.test(state)) await virsh(['destroy', name])
    },

    forget: async ({ name }) => {
      await virsh(['undefine', name])
      if ((await virsh(['domuuid', name])) === undefined) return
      throw new Stage5Error('S5_TOOL_FAILED', `libvirt keeps the domain ${name}`, {
        hint: `virsh -c ${options.connect} undefine ${name}`,
        data: { domain: name },
      })
    },
  }
  return hostedDriver(backend, { root, checks: group.health, whileOff })
}

const VIRSH_MS = 30_000

/**
 * Runs as long as the domain does. A daemon that is restarted leaves domains alone, so one that does not answer says
 * nothing about the guest.
 */
function script(virsh: string, name: string, generation: string): string {
  return `umask 077
trap '${virsh.replaceAll("'", `'\\''`)} destroy ${name.replaceAll("'", `'\\''`)}; exit 143' TERM
${virsh} destroy ${name} 2>/dev/null
sed "s/${BOOT}/$1/" gen/${generation}/domain.xml >run/domain.xml
${virsh} define run/domain.xml && ${virsh} start ${name} || exit 1
while state=$(${virsh} domstate ${name} || echo unknown) && [ "$state" != 'shut off' ] && [ "$state" != crashed ]; do
  sleep 1 &
  wait $!
done
`
}

/** A socket for the console, where its name fits into an address (sun_path, 108 bytes); the log is kept in any case. */
function serial(folder: GuestFolder): string {
  const log = `<log file='${escaped(folder.file('run', 'console.log'))}' append='on'/>`
  const path = folder.file('run', 'console.sock')
  if (Buffer.byteLength(path) > 107) return `<serial type='null'>${log}</serial>`
  return `<serial type='unix'><source mode='bind' path='${escaped(path)}'/>${log}</serial>`
}

function escaped(text: string): string {
  return text.replace(/[<>&'"]/g, (sign) => `&#${sign.charCodeAt(0)};`)
}

const MACHINES: { readonly [arch: string]: { readonly arch: string; readonly machine: string } } = {
  amd64: { arch: 'x86_64', machine: 'pc' },
  arm64: { arch: 'aarch64', machine: 'virt' },
}

/** @see https://libvirt.org/formatdomain.html */
function domainXml(
  folder: GuestFolder,
  generation: string,
  { image, boot, disks, words }: Images,
  { type, memoryMiB, cards }: { readonly type: string; readonly memoryMiB: number; readonly cards: string },
): string {
  const { arch, machine } = MACHINES[image.arch] ?? { arch: image.arch, machine: 'virt' }
  const here = (name: string): string => escaped(folder.file('gen', generation, name))
  const disk = (at: number, file: string, serial: string, isReadOnly: boolean): string =>
    `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${file}'/>` +
    `<target dev='vd${String.fromCharCode(97 + at)}' bus='virtio'/>` +
    `${isReadOnly ? '<readonly/><shareable/>' : ''}<serial>${serial}</serial></disk>`
  const fixed = [
    ...(boot.base === undefined ? [] : [['base', here('base')] as const]),
    ...(boot.verity === undefined ? [] : [['verity', here('verity')] as const]),
  ]
  const rows = [
    ...fixed.map(([serial, file], at) => disk(at, file, serial, true)),
    ...disks.map((file, at) => disk(fixed.length + at, escaped(folder.file(file)), `data${at}`, false)),
  ]
  const console = image.arch === 'arm64' ? 'ttyAMA0' : 'ttyS0'
  const cmdline = [`console=${console}`, 'panic=-1', ...words].join(' ')
  const owner = `+${process.getuid?.() ?? 0}:+${process.getgid?.() ?? 0}`
  return `<domain type='${type}'>
  <name>${escaped(folder.name)}</name>
  <uuid>${folder.read('machine-id')}</uuid>
  <memory unit='MiB'>${memoryMiB}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='${arch}' machine='${machine}'>hvm</type>
    <kernel>${here('kernel')}</kernel>
    <initrd>${here('initrd')}</initrd>
    <cmdline>${escaped(cmdline)}</cmdline>
  </os>
  <features><acpi/></features>
  ${type === 'kvm' ? "<cpu mode='host-passthrough'/>" : "<cpu mode='maximum'/>"}
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    ${rows.join('\n    ')}
    ${cards}
    ${serial(folder)}
  </devices>
  <seclabel type='static' model='dac' relabel='no'><label>${owner}</label></seclabel>
</domain>
`
}
