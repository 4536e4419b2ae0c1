/** The answer to a resolver question, in the interchange format. */
import { isStage5Error, Stage5Error } from '../base/errors.ts'
import type { Json } from '../base/json.ts'
import { titleOf } from '../pkg/package.ts'
import { buildsOf } from './explain.ts'
import { buildCommand } from './missing-builds.ts'
import { type Reason, type Resolution, resolve } from './resolve.ts'
import { type Relaxation, relaxations } from './relax.ts'
import { type RawIndex, type Universe, universeOf } from './universe.ts'

type JsonObject = { readonly [key: string]: Json | undefined }

/** An answer in the interchange format. */
interface Answer {
  readonly ok: boolean
  readonly data: JsonObject
}

/**
 * @param isHelped whether a refusal comes with what would make it solvable
 * @throws S5_ATOM_SYNTAX, S5_PROFILE_INVALID for what the request says
 */
export function answerUniverse({ input, indexes, problems }: Universe, isHelped = false): Answer {
  const resolution = resolve(input, indexes)
  const helps = isHelped && !resolution.ok ? relaxations(input, indexes, resolution) : []
  return {
    ok: resolution.ok,
    data: resolution.ok ? solved(resolution, problems) : refused(resolution, problems, helps),
  }
}

function solved(
  { packages, members, heldBack, sonameMissing, loosened, optimal }: Extract<Resolution, { ok: true }>,
  problems: readonly string[],
): JsonObject {
  return {
    ok: true,
    packages: members.map((pkg, at) => ({
      cpv: `${pkg.name}-${pkg.version}`,
      buildId: pkg.buildId === 0 ? null : pkg.buildId,
      slot: pkg.subslot === pkg.slot ? pkg.slot : `${pkg.slot}/${pkg.subslot}`,
      repo: pkg.gentoo?.repository ?? '',
      binhost: pkg.repo,
      use: [...pkg.use],
      why: (packages[at]?.because ?? []).map(whyOf),
    })),
    order: members.map(titleOf),
    heldBack: heldBack.map((one) => ({ ...one, because: [...one.because] })),
    sonameMissing: sonameMissing.map((one) => ({
      ...one,
      neededBy: [...one.neededBy],
      providers: [...one.providers],
    })),
    optimal,
    ...(loosened.length > 0 && { loosened: loosened.map((one) => ({ ...one })) }),
    ...(problems.length > 0 && { ignored: [...problems].sort() }),
  }
}

/** `profile: ATOM`, or `NAME: DEPENDENCY`. */
function whyOf(because: string): Json {
  const colon = because.indexOf(': ')
  const by = because.slice(0, colon)
  return { by: by === 'profile' ? 'request' : by, dep: because.slice(colon + 2) }
}

function refused(
  refusal: Extract<Resolution, { ok: false }>,
  problems: readonly string[],
  helps: readonly Relaxation[],
): JsonObject {
  const { conflict, message } = refusal
  const isNoMatch =
    refusal.code === 'S5_PACKAGE_UNKNOWN' ||
    conflict.some((reason) => reason.kind === 'request' && reason.fits.length === 0)
  const missing = buildsOf(conflict).map(buildCommand)
  return {
    ok: false,
    error: {
      kind: isNoMatch ? 'no-match' : 'unsatisfiable',
      message,
      steps: conflict.map(stepOf),
      ...(missing.length > 0 && { builds: missing }),
      ...(helps.length > 0 && { relaxations: helps.map((one) => ({ ...one })) }),
    },
    ...(problems.length > 0 && { ignored: [...problems].sort() }),
  }
}

function stepOf(reason: Reason): Json {
  const { text: sentence } = reason
  switch (reason.kind) {
    case 'unknown':
      return { package: 'request', dep: reason.atom, rejected: [], text: sentence }
    case 'request':
      return {
        package: 'request',
        dep: reason.atom,
        rejected: reason.rejected.map((one) => rejectedOf(one)),
        text: sentence,
      }
    case 'needs':
      return {
        package: reason.pkg,
        dep: reason.item,
        rejected: reason.rejected.map((one) => rejectedOf(one)),
        text: sentence,
      }
    case 'blocks':
      return {
        package: reason.pkg,
        dep: `!${reason.atom}`,
        rejected: reason.others.map((pkg) => ({ package: pkg, because: 'blocked' })),
        text: sentence,
      }
    case 'slot':
      return {
        package: reason.name,
        dep: 'one build in a slot',
        rejected: reason.packages.map((pkg) => ({ package: pkg, because: 'the same slot' })),
        text: sentence,
      }
    case 'unreadable':
      return {
        package: reason.pkg,
        dep: '',
        rejected: [{ package: reason.pkg, because: reason.problem }],
        text: sentence,
      }
    case 'held-back':
      return {
        package: 'request',
        dep: reason.best,
        rejected: reason.because.map((because) => ({ package: reason.best, because })),
        text: sentence,
      }
  }
}

function rejectedOf({ pkg, because }: { readonly pkg: string; readonly because: string }): Json {
  return { package: pkg, because }
}

/**
 * The answer to a question in the interchange format, both plain data; a question that cannot be read gets an answer
 * whose `error.kind` is `invalid`.
 *
 * @param readIndex parses the file that a binhost names under `index`; without it no binhost may name one
 * @example
 * resolveUniverse({ binhosts: [], request: { atoms: ['a/b'] } }).ok // => false
 */
export function resolveUniverse(
  question: unknown,
  readIndex: (path: string) => RawIndex = noIndex,
): JsonObject {
  try {
    return answerUniverse(universeOf(question, readIndex)).data
  } catch (error) {
    return invalidAnswer(error)
  }
}

function noIndex(path: string): RawIndex {
  throw new Stage5Error('S5_UNIVERSE_INVALID', `the index ${path} cannot be read here`)
}

/** The answer to a universe that cannot be read. */
export function invalidAnswer(error: unknown): JsonObject {
  if (
    !isStage5Error(error, 'S5_UNIVERSE_INVALID') &&
    !isStage5Error(error, 'S5_ATOM_SYNTAX') &&
    !isStage5Error(error, 'S5_PROFILE_INVALID')
  )
    throw error
  return { ok: false, error: { kind: 'invalid', message: error.message, steps: [] } }
}
