/** The driver that a group names. */
import { mkdirSync, realpathSync } from 'node:fs'
import { resolve } from 'node:path'
import { never } from '../../base/never.ts'
import type { Group } from '../../resolve/group.ts'
import type {
  DirOptions,
  ExecOptions,
  LibvirtOptions,
  PullOptions,
  QemuOptions,
} from '../../resolve/shape-driver.ts'
import type { GuestDriver, WhileOff } from '../driver.ts'
import { type CheckoutRoot, dirDriver } from './dir.ts'
import { execDriver } from './exec.ts'
import { libvirtDriver } from './libvirt.ts'
import { pullDriver } from './pull.ts'
import { qemuDriver } from './qemu.ts'

interface DriverOptions {
  /** The project: where relative names of the group begin. */
  readonly directory: string
  /** For the driver dir: makes a generation's root as a folder. */
  readonly checkout: CheckoutRoot
  /** For guests that this host starts: dir, qemu, libvirt. */
  readonly whileOff?: WhileOff | undefined
}

/** Folder with a folder for each guest of this group; made when missing. */
export function guestsRoot({ driver }: Pick<Group, 'driver'>, directory: string): string {
  const given = driver.options['root']
  const root =
    typeof given === 'string' && given !== '' ? resolve(directory, given) : resolve(directory, USUAL)
  mkdirSync(root, { recursive: true, mode: 0o700 })
  return realpathSync(root)
}

const USUAL = '.stage5/guests'

/** Guests of the driver `pull` are only observed: whatever else is asked of it throws S5_DRIVER_NONE. */
export function openDriver(group: Group, { directory, checkout, whileOff }: DriverOptions): GuestDriver {
  const { kind, options } = group.driver
  if (kind === 'pull') return pullDriver(group, options as unknown as PullOptions, directory)
  const places = { project: directory, root: guestsRoot(group, directory), whileOff }
  switch (kind) {
    case 'dir':
      return dirDriver(group, options as unknown as DirOptions, places, checkout)
    case 'qemu':
      return qemuDriver(group, options as unknown as QemuOptions, places)
    case 'exec':
      return execDriver(group, options as unknown as ExecOptions, places)
    case 'libvirt':
      return libvirtDriver(group, options as unknown as LibvirtOptions, places)
    default:
      return never(kind)
  }
}
