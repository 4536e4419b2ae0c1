/** `stage5 plan PROFILE`: what would be built, before anything is fetched or written. */
import type { Json } from '../../base/json.ts'
import { labelOf } from '../../pkg/package.ts'
import { diffLocks, printLockDiff } from '../../resolve/lock-diff.ts'
import type { Lock } from '../../resolve/lock.ts'
import type { Command } from '../command.ts'
import { dateOf, plan as planProfile, versionOf } from '../flow.ts'
import { readLock, settledLock } from '../lock-file.ts'
import { lastUsage } from '../last-usage.ts'
import { openPhases, printOpenPhases } from '../open-phases.ts'
import { plannedMemory } from '../plan-memory.ts'
import { loadRecipe } from '../recipe.ts'
import { mebibytes } from '../render/progress.ts'
import { wantedImages } from '../wanted-images.ts'

export const plan: Command = {
  name: 'plan',
  summary: 'show what would be built: packages, sizes, what is stripped, what changed since the last lock',
  arguments: [{ name: '<profile>', description: 'name of a profile, with @variant' }],
  options: [{ flags: '--update', description: 'as if `stage5 lock` had chosen the newest packages first' }],
  examples: ['stage5 plan www-nginx', 'stage5 plan www-nginx --update'],
  run: async (world, words) => {
    const { profile } = await loadRecipe(world, words.arguments[0] as string)
    wantedImages(profile)
    const update = words.options['update'] === true
    const before = await readLock(world, profile.name)
    const { lock: after, isNew } = update
      ? { lock: await planProfile(world, profile), isNew: true }
      : await settledLock(world, profile, planProfile)
    const diff = diffLocks(before, after)
    const phases = await openPhases(world, profile, after, isNew)
    const usage = await lastUsage(world, profile, after)
    const memory = await plannedMemory(world, profile, after)
    const download = after.packages.reduce((sum, { file }) => sum + Math.max(0, file.size), 0)
    const installed = after.packages.reduce((sum, { installedSize }) => sum + installedSize, 0)
    const packages = after.packages.map((pkg) => ({
      label: labelOf(pkg),
      arch: pkg.arch,
      repo: pkg.repo,
      download: pkg.file.size,
      installed: pkg.installedSize,
      because: [...pkg.because],
    }))
    const version = isNew && profile.version === '' ? null : versionOf(profile, after)
    const isSettled = profile.version !== '' || (!isNew && (usage !== undefined || hasNumbers(after)))
    const rows = packages.map(
      ({ label, download, installed, because }) =>
        `${mebibytes(download).padStart(10)} ${mebibytes(installed).padStart(10)}  ${label}  (${because[0] ?? ''})\n`,
    )
    const stripped = usage
      ? usage.removed.map(
          ({ rule, bytes, files }) => `${mebibytes(bytes).padStart(21)}  ${rule} (${files} files)\n`,
        )
      : [
          `${''.padStart(21)}  ${profile.strip.classes.join(', ') || 'nothing'}; sizes are known after a build\n`,
        ]
    return {
      data: {
        profile: profile.name,
        id: profile.id,
        version,
        settled: isSettled,
        arch: profile.arch,
        date: dateOf(after),
        packages,
        download,
        installed,
        phases: phases as unknown as Json,
        strip: { classes: [...profile.strip.classes], removed: usage ? [...usage.removed] : null },
        images: profile.images.map(({ format }) => format),
        memory: memory.data,
        changes: diff as unknown as Json,
      },
      text: [
        `${[profile.id, version ?? '', profile.arch].filter((part) => part !== '').join(' ')}: ${packages.length} packages\n`,
        isSettled
          ? '\n'
          : `${version === null ? 'the version is known' : 'the version stands'} when a build has read the packages\n\n`,
        '  download  installed  package\n',
        ...rows,
        `${mebibytes(download).padStart(10)} ${mebibytes(installed).padStart(10)}  in all\n`,
        '\nstripped\n',
        ...(stripped.length > 0 ? stripped : ['  nothing\n']),
        printOpenPhases(phases),
        memory.text,
        `\n${before ? 'changed since the lock' : 'no lock yet'}\n`,
        before ? printLockDiff(diff) || '  nothing\n' : `  stage5 lock ${profile.name} writes one\n`,
      ].join(''),
    }
  },
}

/** Users and groups get their numbers, which are part of the version, when a build reads the packages. */
function hasNumbers({ ids }: Lock): boolean {
  return Object.keys(ids.users).length + Object.keys(ids.groups).length > 0
}
