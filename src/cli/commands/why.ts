/** `stage5 why` and `stage5 why-not`: what brings a package in, and what keeps one out. */
import { Stage5Error } from '../../base/errors.ts'
import { nearest } from '../../base/near.ts'
import type { Index } from '../../pkg/package.ts'
import { fullName, why as chainsOf, whyNot as rejectedBuilds } from '../../resolve/why.ts'
import { ebuildPhases } from '../../stage/ebuild-phases.ts'
import { phasesReplacedBy } from '../../stage/gentoo-phases.ts'
import type { Command } from '../command.ts'
import { plan } from '../flow.ts'
import { readLock, settledLock } from '../lock-file.ts'
import { pinned } from '../pin.ts'
import { loadRecipe } from '../recipe.ts'
import { unpackAll } from '../unpack-all.ts'

const ARGUMENTS = [
  { name: '<profile>', description: 'name of a profile, with @variant' },
  { name: '<package>', description: 'name of a package; its category may be left out' },
]

const SCRIPTS = ['preinst', 'postinst', 'config']

export const why: Command = {
  name: 'why',
  summary: 'show what brings a package into a profile',
  arguments: ARGUMENTS,
  options: [{ flags: '--scripts', description: 'print its maintainer scripts, none of which is ever run' }],
  examples: ['stage5 why www-nginx libssl3', 'stage5 why www-nginx nginx-common --scripts'],
  run: async (world, words) => {
    const [profileName = '', given = ''] = words.arguments
    const { profile } = await loadRecipe(world, profileName)
    const { lock } = await settledLock(world, profile, plan)
    const name = fullName(
      given,
      lock.packages.map((pkg) => pkg.name),
    )
    const chains = chainsOf(lock, name)
    if (chains.length === 0) {
      const near = nearest(
        name,
        lock.packages.map((pkg) => pkg.name),
      )
      throw new Stage5Error(
        'S5_PACKAGE_UNKNOWN',
        `${profile.name} has no package ${name}${near.length > 0 ? `, did you mean ${near[0]}` : ''}`,
        {
          hint: `stage5 why-not ${profile.name} ${name}`,
        },
      )
    }
    if (words.options['scripts'] === true) {
      const packages = lock.packages.filter((pkg) => pkg.name === name)
      const [unpacked] = await unpackAll(world, await pinned(world, { ...lock, packages }))
      const control = unpacked?.control ?? {}
      const bodies = packages[0]?.scheme === 'ebuild' ? phaseTexts(control) : textsOf(control, SCRIPTS)
      const scripts = Object.keys(bodies)
      const replaced = phasesReplacedBy(name)
      return {
        data: { scripts: bodies },
        text:
          scripts.map((member) => `# ${name} ${member}\n${bodies[member]}\n`).join('') ||
          (replaced === undefined
            ? `${name} has no maintainer scripts\n`
            : `what the phases of ${name} do is done by: ${replaced}\n`),
      }
    }
    return {
      data: { chains: chains.map((links) => links.map((link) => ({ ...link }))) },
      text: chains
        .map((links) =>
          links.map(({ pkg, because }, depth) => `${'  '.repeat(depth)}${pkg}  (${because})\n`).join(''),
        )
        .join('\n'),
    }
  },
}

function textsOf(
  control: { readonly [member: string]: string },
  members: readonly string[],
): { [member: string]: string } {
  const there = members.filter((member) => control[member] !== undefined)
  return Object.fromEntries(
    there.map((member) => [member, Buffer.from(control[member] as string, 'latin1').toString()]),
  )
}

/** What each phase of an ebuild would do. */
function phaseTexts(control: { readonly [member: string]: string }): { [member: string]: string } {
  const texts: { [member: string]: string } = {}
  for (const { member, text } of ebuildPhases(control))
    texts[member] = `${texts[member] ?? ''}${Buffer.from(text, 'latin1').toString()}\n`
  return texts
}

export const whyNot: Command = {
  name: 'why-not',
  summary: 'show for each build of a package why a profile does not get it',
  arguments: ARGUMENTS,
  options: [],
  examples: ['stage5 why-not www-nginx apache2'],
  run: async (world, words) => {
    const [profileName = '', name = ''] = words.arguments
    const { profile } = await loadRecipe(world, profileName)
    const indexes: readonly Index[] = await Promise.all(
      profile.repositories.map(async (repo) =>
        (await world.repository(repo)).index(profile.arch, world.signal),
      ),
    )
    const builds = rejectedBuilds(profile, indexes, name, await readLock(world, profile.name))
    return {
      data: {
        builds: builds.map((build) => ({ ...build, use: [...build.use], because: [...build.because] })),
      },
      text: builds
        .map(
          ({ pkg, repo, kind, because }) =>
            `${pkg} (${repo}): ${kind}\n${because.map((line) => `  ${line}\n`).join('')}`,
        )
        .join(''),
    }
  },
}
