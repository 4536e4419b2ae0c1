/** Memory and sizes as inputs: what is built must fit into what the profile says that guests have. */
import { Stage5Error } from '../base/errors.ts'
import {
  type MemoryFacts,
  fitting,
  largest,
  memoryNeeds,
  memoryText,
  needText,
  treeInMemory,
  type Way,
} from '../emit/memory.ts'
import type { Profile } from '../resolve/profile.ts'
import { DEFAULT_ROOT } from '../resolve/shape-memory.ts'
import type { Job } from './emit-job.ts'
import type { Kernel } from './emit-kernel.ts'
import type { OutputFile } from './output.ts'
import { mebibytes } from './render/progress.ts'
import { diskUsage } from './reports.ts'

/** The ways in which the images of a profile are started. */
export function waysOf({ images }: Pick<Profile, 'images'>): readonly Way[] {
  return images.some(({ format }) => format === 'initrd' || format === 'netboot')
    ? ['disk', 'memory']
    : ['disk']
}

/**
 * Chooses what the kernel unpacks an initrd into, and writes `<stem>.memory.txt`.
 * @returns the kernel with the words that it takes
 * @throws S5_MEMORY_SHORT
 */
export async function fitMemory(job: Job, kernel: Kernel, base: string | undefined): Promise<Kernel> {
  const { profile, output, stem, composed } = job
  const size = output.files.find(({ name }) => name === base)?.size
  if (size === undefined) return kernel
  const root = profile.boot.root ?? DEFAULT_ROOT
  const facts = { base: size, tree: treeInMemory(composed.root.tree), root }
  await output.addBytes(`${stem}.memory.txt`, 'report', memoryText(facts, profile.memory))
  if (profile.memory === 0) return kernel
  const words = mustFit(profile, facts, diskUsage(composed.root).owners)
  return words.length === 0
    ? kernel
    : { ...kernel, memoryCmdline: [kernel.memoryCmdline, ...words].join(' ') }
}

/** @returns words for guests whose base comes in the initrd @throws S5_MEMORY_SHORT */
export function mustFit(
  profile: Profile,
  facts: MemoryFacts,
  owners: readonly { readonly name: string; readonly bytes: number }[],
): readonly string[] {
  const { name, memory } = profile
  let words: readonly string[] = []
  for (const way of waysOf(profile)) {
    const needs = memoryNeeds(facts, way)
    const found = fitting(needs, memory)
    if (!found) {
      const onDisk = memoryNeeds(facts, 'disk')[0]
      const hints = [
        ...(owners.length === 0 ? [] : ['take something out']),
        ...(way === 'memory' && onDisk && onDisk.mebibytes <= memory
          ? [`start it from a disk (${onDisk.mebibytes} MiB)`]
          : []),
        ...(facts.root.kind === 'overlay' ? [] : ['boot: overlay']),
      ]
      const last = `${hints.length === 0 ? '' : 'or '}give guests more memory`
      throw new Stage5Error(
        'S5_MEMORY_SHORT',
        `${name} does not come up with memory: ${memory}M: ${needs.map(needText).join('; ')}${owners.length === 0 ? '' : `. Largest: ${largest(owners)}`}`,
        {
          hint: [...hints, last].join(', '),
          data: { memory, way, needs: needs.map((need) => ({ ...need })) },
        },
      )
    }
    if (way === 'memory') words = found.words
  }
  return words
}

/** @throws S5_BUDGET_EXCEEDED */
export function checkBudget({ profile, output, stem, composed }: Job, base: string | undefined): void {
  const ending: { readonly [name: string]: readonly string[] } = {
    base: base === undefined ? [] : [base],
    kernel: [`${stem}.vmlinuz`],
    initrd: [`${stem}.initrd`],
    total: [...(base === undefined ? [] : [base]), `${stem}.vmlinuz`, `${stem}.initrd`],
    'one-initrd': [`${stem}.one.initrd`],
    disk: [`${stem}.raw`],
    qcow2: [`${stem}.qcow2`],
    vhd: [`${stem}.vhd`],
    tar: [`${stem}.tar`],
  }
  const over: string[] = []
  for (const [name, most] of Object.entries(profile.budget)) {
    const files = output.files.filter((file: OutputFile) => ending[name]?.includes(file.name))
    const size = files.reduce((sum, file) => sum + file.size, 0)
    if (size > most)
      over.push(`${name} has ${mebibytes(size)} of ${mebibytes(most)}, ${mebibytes(size - most)} too much`)
  }
  if (over.length === 0) return
  throw new Stage5Error(
    'S5_BUDGET_EXCEEDED',
    `${profile.name}: ${over.join('; ')}. Largest: ${largest(diskUsage(composed.root).owners)}`,
    {
      hint: 'take packages out, strip more, or raise budget: in the profile',
      data: { budget: { ...profile.budget } },
    },
  )
}
