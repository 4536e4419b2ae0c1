/** What people say to a rollout: pause, resume, approve, abort, go back. One compare-and-set each, tried again when others write. */
import { Stage5Error } from '../base/errors.ts'
import type { Json } from '../base/json.ts'
import { dataSchemasOf, whyNoWayBack } from '../fleet/data-schema.ts'
import { ACTIVE, approvalBytes, type Approval, KEYS, type RolloutDocument } from '../fleet/documents.ts'
import { progressOf } from '../fleet/progress.ts'
import type { Documents } from '../fleet/read.ts'
import { planWaves } from '../fleet/waves.ts'
import { type PublicKey, signBytes, verifyBytes } from '../host/signing.ts'
import { type Result, textOption, type Words } from './command.ts'
import { privateKeyOf, publicKeyOf } from './keys.ts'
import { driverGenerations, findRollout, type Fleet } from './rollout-world.ts'
import { userName } from './rollout-start.ts'
import type { World } from './world.ts'

type Steering = 'pause' | 'resume' | 'approve' | 'abort' | 'rollback'

export async function steerRollout(
  world: World,
  words: Words,
  fleet: Fleet,
  what: Steering,
  id: string | undefined,
): Promise<Result> {
  for (;;) {
    const { documents } = await fleet.read()
    const { document, revision } = findRollout(documents, id)
    if (what === 'rollback') {
      mustBeAlone(documents, document)
      await mustHaveWayBack(world, fleet, documents, document, words.options['restoreData'] === true)
    }
    const next = await changed(world, words, fleet, what, document)
    const key = KEYS.rollout(document.id)
    const { ok } = await fleet.engine.transact(
      [{ key, target: 'mod', equal: revision }],
      [{ kind: 'put', key, value: JSON.stringify({ ...next, epoch: '' }) }],
    )
    if (ok)
      return {
        data: next as unknown as Json,
        text: `${next.id}: ${said(what, next)}\n`,
      }
    world.signal.throwIfAborted()
  }
}

/** What came after it in the same groups has the guests now. */
function mustBeAlone({ rollouts }: Documents, { id, number, groups }: RolloutDocument): void {
  for (const { document } of rollouts.values())
    if (
      document.number > number &&
      ACTIVE.has(document.state) &&
      document.groups.some((name) => groups.includes(name))
    )
      throw new Stage5Error('S5_ROLLOUT_REFUSED', `${document.id} is at work in the groups of ${id}`, {
        hint: `stage5 rollout rollback ${document.id}`,
      })
}

async function mustHaveWayBack(
  world: World,
  { groups }: Fleet,
  { guests }: Documents,
  rollout: RolloutDocument,
  isGivenUp: boolean,
): Promise<void> {
  const schemas = dataSchemasOf(await driverGenerations(world))
  const progress = progressOf(rollout, { groups, guests })
  const why = whyNoWayBack(progress, schemas, isGivenUp)
  if (why === '') return
  const canRestore = !isGivenUp && whyNoWayBack(progress, schemas, true) === ''
  throw new Stage5Error('S5_ROLLOUT_REFUSED', `${rollout.id} cannot go back: ${why}`, {
    hint: canRestore
      ? `stage5 rollout rollback ${rollout.id} --restore-data drops what guests wrote since they were switched`
      : `stage5 rollout start ${rollout.groups.join(' ')} --to a generation that reads it`,
  })
}

async function changed(
  world: World,
  words: Words,
  fleet: Fleet,
  what: Steering,
  rollout: RolloutDocument,
): Promise<RolloutDocument> {
  const { state, pausedBy, resume } = rollout
  const because = textOption(words, 'reason')
  const by = `${because ?? 'asked'} (${userName()})`
  switch (what) {
    case 'pause':
      if (state === 'paused') return { ...rollout, pausedBy: 'operator', reason: by }
      if (state !== 'prefetch' && state !== 'wave' && state !== 'soak') throw refused(what, rollout)
      return { ...rollout, state: 'paused', resume: state, pausedBy: 'operator', reason: by }
    case 'resume':
      if (state !== 'paused' || resume === '') throw refused(what, rollout)
      if (pausedBy !== 'operator')
        throw new Stage5Error(
          'S5_ROLLOUT_REFUSED',
          `${rollout.id} pauses by itself until that is over: ${rollout.reason}`,
          {
            hint: rollout.reason.includes('approval')
              ? `stage5 rollout approve ${rollout.id} --key NAME`
              : 'stage5 rollout status',
          },
        )
      return { ...rollout, state: resume, resume: '', pausedBy: '', reason: '' }
    case 'abort':
      if (!ACTIVE.has(state)) throw refused(what, rollout)
      return { ...rollout, state: 'aborted', resume: '', pausedBy: '', reason: by }
    case 'rollback': {
      const isEnded = state === 'completed' || state === 'aborted'
      if (!isEnded && (!ACTIVE.has(state) || state === 'rolling-back')) throw refused(what, rollout)
      return { ...rollout, state: 'rolling-back', resume: '', pausedBy: '', reason: by }
    }
    case 'approve':
      if (!ACTIVE.has(state) || state === 'rolling-back') throw refused(what, rollout)
      return { ...rollout, approvals: [...rollout.approvals, await approve(world, words, fleet, rollout)] }
  }
}

/** The next wave, or all that are left. */
async function approve(
  world: World,
  words: Words,
  fleet: Fleet,
  rollout: RolloutDocument,
): Promise<Approval> {
  const groups = rollout.groups.flatMap((name) => fleet.groups.get(name) ?? [])
  const approvers = [...new Set(groups.flatMap((group) => group.approvers))]
  if (approvers.length === 0)
    throw new Stage5Error(
      'S5_ROLLOUT_REFUSED',
      `nobody has to approve ${rollout.id}: its groups name no approvers`,
    )
  const name = textOption(words, 'key')
  if (name === undefined || !approvers.includes(name))
    throw new Stage5Error(
      'S5_ROLLOUT_REFUSED',
      `${rollout.id} is approved with a key of ${approvers.join(' or ')}, found ${name === undefined ? 'none' : JSON.stringify(name)}`,
      { hint: `stage5 rollout approve ${rollout.id} --key ${approvers[0]}` },
    )
  const key = await privateKeyOf(world, name)
  const wave = words.options['all'] === true ? planWaves(rollout.id, groups).length - 1 : rollout.wave + 1
  return { wave, by: name, ...signBytes(key, approvalBytes(rollout, wave)) }
}

function refused(what: Steering, { id, state, reason }: RolloutDocument): Stage5Error {
  return new Stage5Error(
    'S5_ROLLOUT_REFUSED',
    `${id} is ${state}${reason === '' ? '' : ` (${reason})`}: there is nothing to ${what}`,
    { hint: 'stage5 rollout status' },
  )
}

function said(what: Steering, { reason, state, approvals, to }: RolloutDocument): string {
  if (what === 'approve') {
    const last = approvals.at(-1)
    return `${last?.by} approved ${to} up to wave ${last?.wave}`
  }
  return what === 'resume' ? `goes on (${state})` : `${state}: ${reason}`
}

/** Whether an approval was signed by the key of its name that the project trusts. */
export async function approvalCheck(
  world: World,
  names: Iterable<string>,
): Promise<(rollout: RolloutDocument, approval: Approval) => boolean> {
  const keys = new Map<string, PublicKey>()
  for (const name of new Set(names)) {
    const key = await publicKeyOf(world, name).catch(() => undefined)
    if (key) keys.set(name, key)
  }
  return (rollout, { by, keyid, sig, wave }) => {
    const key = keys.get(by)
    return key !== undefined && key.keyid === keyid && verifyBytes(key, approvalBytes(rollout, wave), sig)
  }
}
