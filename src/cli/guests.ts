/** Guests by name, as the commands `guest` and `group` speak of them. */
import { existsSync, statSync } from 'node:fs'
import { mkdir, readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { nearest } from '../base/near.ts'
import type { DriverGeneration, DriverGuest, GuestDriver, Observed } from '../deploy/driver.ts'
import { dataDisks, growDisk, type Templates } from '../deploy/drivers/data.ts'
import { type GuestFolder, guestFolder, machineId } from '../deploy/drivers/folder.ts'
import { startedOf } from '../deploy/drivers/keeper.ts'
import { guestsRoot } from '../deploy/drivers/open.ts'
import { readOutput } from '../deploy/drivers/output.ts'
import { dataProblem, dataSchemasOf } from '../fleet/data-schema.ts'
import { NEW_GUEST } from '../fleet/documents.ts'
import type { Group } from '../resolve/group.ts'
import { driverGuest } from '../resolve/template.ts'
import { findGeneration } from './generations.ts'
import { groupDriver } from './groups.ts'
import { driverGenerations } from './rollout-world.ts'
import type { World } from './world.ts'

export interface FoundGuest {
  readonly group: Group
  readonly guest: DriverGuest
  readonly folder: GuestFolder
}

export function guestsOf(world: World, groups: readonly Group[]): FoundGuest[] {
  return groups.flatMap((group) => {
    const root = guestsRoot(group, world.directory)
    return group.guests.map((spec) => ({
      group,
      guest: driverGuest(group, spec),
      folder: guestFolder(root, spec.name),
    }))
  })
}

/** @throws S5_GUEST_UNKNOWN */
export function findGuest(world: World, groups: readonly Group[], name: string): FoundGuest {
  for (const group of groups) {
    const spec = group.guests.find((one) => one.name === name)
    if (spec) return guestsOf(world, [{ ...group, guests: [spec] }])[0] as FoundGuest
  }
  const names = groups.flatMap(({ guests }) => guests.map((one) => one.name))
  const near = nearest(name, names)
  const meant = near.length > 0 ? `, did you mean ${near.join(' or ')}` : ''
  throw new Stage5Error('S5_GUEST_UNKNOWN', `no group names the guest ${JSON.stringify(name)}${meant}`, {
    hint: 'stage5 guest list',
    data: { guest: name, near },
  })
}

/** @throws S5_GROUP_UNKNOWN */
export function findGroup(groups: readonly Group[], name: string): Group {
  const found = groups.find((one) => one.name === name)
  if (found) return found
  const names = groups.map((one) => one.name)
  const near = nearest(name, names)
  const meant = near.length > 0 ? `, did you mean ${near.join(' or ')}` : ''
  throw new Stage5Error('S5_GROUP_UNKNOWN', `no group is called ${JSON.stringify(name)}${meant}`, {
    hint: `known: ${names.slice(0, 10).join(', ') || 'none'}`,
    data: { group: name, near },
  })
}

export function driverOf(world: World, { group }: Pick<FoundGuest, 'group'>): GuestDriver {
  return groupDriver(world, group)
}

/** What is known of a guest without disturbing it. */
export async function observe(world: World, found: FoundGuest): Promise<Observed> {
  return await driverOf(world, found).status(found.guest, world.signal)
}

/** The newest generation of a line, or the one that is named. */
export async function generationFor(world: World, group: Group, text?: string): Promise<DriverGeneration> {
  const { line, seq, name, manifest, directory } = await findGeneration(world, text ?? group.line)
  return { line, seq, name, manifest, directory }
}

/** @throws S5_ROLLOUT_REFUSED when the generation does not read data as the one before it left it */
export async function mustRead(
  world: World,
  { folder }: FoundGuest,
  generation: DriverGeneration,
): Promise<void> {
  const schemas = dataSchemasOf(await driverGenerations(world))
  const problem = dataProblem({ ...NEW_GUEST, good: folder.pointer('good') }, generation.name, schemas)
  if (problem && !problem.isWayBack)
    throw new Stage5Error('S5_ROLLOUT_REFUSED', `${folder.name}: ${problem.text}`, {
      hint: `stage5 generations ${generation.line}`,
      data: { guest: folder.name, generation: generation.name },
    })
}

/** Makes what outlives all generations of a guest: its machine-id, and its data disks where the driver has some. */
export async function createGuest(
  world: World,
  { group, folder }: FoundGuest,
  generation: DriverGeneration | undefined,
  templates: Templates,
): Promise<void> {
  await folder.exclusively(world.signal, async () => {
    await machineId(folder)
    if (!generation || (group.driver.kind !== 'qemu' && group.driver.kind !== 'libvirt')) return
    const output = await readOutput(generation)
    await dataDisks(folder, generation, output, group.data ?? {}, world.signal, templates)
  })
}

/**
 * Makes a data disk larger.
 * @throws S5_GUEST_RUNNING, S5_FILE_MISSING, S5_IMAGE_INPUT
 */
export async function growArea(
  world: World,
  { folder }: FoundGuest,
  area: string,
  size: number,
): Promise<{ before: number; after: number }> {
  return await folder.exclusively(world.signal, async () => {
    const disk = folder.file('data', `${area}.ext4`)
    if (!existsSync(disk)) {
      const names = (await readdir(folder.file('data')).catch(() => []))
        .filter((name) => name.endsWith('.ext4'))
        .map((name) => name.slice(0, -'.ext4'.length))
      throw new Stage5Error('S5_FILE_MISSING', `${folder.name} has no data disk ${JSON.stringify(area)}`, {
        hint: names.length > 0 ? `it has ${names.join(', ')}` : `stage5 guest create ${folder.name}`,
      })
    }
    if (startedOf(folder))
      throw new Stage5Error('S5_GUEST_RUNNING', `${folder.name} is running: its disks are in use`, {
        hint: `stage5 guest stop ${folder.name}`,
      })
    const before = statSync(disk).size
    await growDisk(disk, size, world.signal)
    return { before, after: statSync(disk).size }
  })
}

/** Stops a guest for good: its folder goes to `.retired/`, whole. @returns where it is now */
export async function retireGuest(world: World, found: FoundGuest): Promise<string> {
  const { folder, guest } = found
  if (!existsSync(folder.path))
    throw new Stage5Error('S5_GUEST_UNKNOWN', `${guest.name} has never been made here`, {
      hint: 'stage5 guest list',
    })
  if (found.group.driver.kind !== 'pull') {
    const driver = driverOf(world, found)
    await driver.stop(guest, world.signal)
    await driver.forget?.(guest, world.signal)
  }
  const retired = join(folder.path, '..', '.retired')
  await mkdir(retired, { recursive: true, mode: 0o700 })
  const taken = await readdir(retired)
  let number = 1
  while (taken.includes(`${guest.name}.${number}`)) number++
  const target = join(retired, `${guest.name}.${number}`)
  await rename(folder.path, target)
  return target
}
