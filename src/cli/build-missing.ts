/** Resolving a profile; where its policy says so, builds that no binhost has are made on the way. */
import { Stage5Error } from '../base/errors.ts'
import { run } from '../host/run.ts'
import type { Index } from '../pkg/package.ts'
import { buildsOf } from '../resolve/explain.ts'
import type { Lock } from '../resolve/lock.ts'
import { buildCommand } from '../resolve/missing-builds.ts'
import type { Profile } from '../resolve/profile.ts'
import { type Resolution, resolve } from '../resolve/resolve.ts'
import { timed } from './timed.ts'
import type { World } from './world.ts'

/**
 * The answer for today's indexes. With `policy: build-missing`, each build that a refusal lacks is made once by the
 * builder of a repository, which runs in the folder of the project, and the indexes are read again.
 *
 * @throws S5_PROFILE_INVALID when no repository has a builder; S5_TOOL_FAILED, S5_TOOL_MISSING of the builder
 */
export async function resolveOrBuild(
  world: World,
  profile: Profile,
  pins?: Lock,
): Promise<{ readonly answer: Resolution; readonly indexes: readonly Index[] }> {
  const repositories = await Promise.all(profile.repositories.map((name) => world.repository(name)))
  const builder = repositories.find((one) => one.builder)
  if (profile.policy === 'build-missing' && !builder?.builder)
    throw new Stage5Error(
      'S5_PROFILE_INVALID',
      `${profile.name}: policy: build-missing, but no repository of the profile has a builder`,
      { hint: 'add builder: [emerge, --buildpkgonly] to a repository file of kind gentoo' },
    )
  const made = new Set<string>()
  for (;;) {
    const indexes = await timed(world, 'index', () =>
      Promise.all(repositories.map((one) => one.index(profile.arch, world.signal))),
    )
    const answer = await timed(world, 'resolve', async () => resolve(profile, indexes, pins))
    if (answer.ok || profile.policy !== 'build-missing' || !builder?.builder) return { answer, indexes }
    const missing = buildsOf(answer.conflict).filter((build) => !made.has(buildCommand(build)))
    if (missing.length === 0) return { answer, indexes }
    for (const build of missing) {
      const command = [...builder.builder, build.atom]
      made.add(buildCommand(build))
      world.report({
        kind: 'warning',
        code: 'building',
        message: `a build is missing: ${buildCommand(build)}`,
      })
      const options = { env: { USE: build.use.join(' ') }, cwd: world.directory, isTalk: true }
      await timed(world, 'build missing', () => run(command, { ...options, signal: world.signal }))
    }
    builder.forget?.()
  }
}
