/**
 * Which generation can work with the data that a guest has: the numbers of its format that a generation reads, and the one
 * that it leaves behind (rollout.md 2.5). Nothing here looks into data: profiles say it.
 */
import type { DriverKind, Group } from '../resolve/group.ts'
import type { DataSchema } from '../resolve/profile.ts'
import { type GuestDocument, HOLDING, type RolloutDocument } from './documents.ts'
import { isToReturn, type Progress } from './progress.ts'

/** By the name of a generation; one that says nothing is not in it. */
export type DataSchemas = ReadonlyMap<string, DataSchema>

export function dataSchemasOf(
  generations: ReadonlyMap<string, { readonly dataSchema?: DataSchema }>,
): DataSchemas {
  return new Map(
    [...generations].flatMap(([name, { dataSchema }]) => (dataSchema ? [[name, dataSchema]] : [])),
  )
}

const NOTHING_SAID: DataSchemas = new Map()

/** Number of the newest format that the data may have, since something that writes it was led there; 0 is not known. */
export function dataOf({ dataSchema, good }: GuestDocument, schemas: DataSchemas = NOTHING_SAID): number {
  return Math.max(dataSchema, schemas.get(good)?.writes ?? 0)
}

/** The same once a generation has been started. */
export function dataAfter(
  document: GuestDocument,
  generation: string,
  schemas: DataSchemas = NOTHING_SAID,
): number {
  return Math.max(dataOf(document, schemas), schemas.get(generation)?.writes ?? 0)
}

/** A generation that says nothing is not believed to read what somebody gave a number. */
function isReadable(data: number, generation: string, schemas: DataSchemas): boolean {
  if (data === 0) return true
  const reads = schemas.get(generation)?.reads
  return reads !== undefined && reads[0] <= data && data <= reads[1]
}

function saidOf(generation: string, schemas: DataSchemas): string {
  const reads = schemas.get(generation)?.reads
  if (!reads) return `${generation} does not say what it reads`
  return `${generation} reads ${reads[0] === reads[1] ? reads[0] : `${reads[0]} to ${reads[1]}`}`
}

interface DataProblem {
  readonly text: string
  /** Whoever says that there is no way back may go on. */
  readonly isWayBack: boolean
}

/** Why a guest must not be led to a generation; undefined when its data allows that. */
export function dataProblem(
  document: GuestDocument,
  to: string,
  schemas: DataSchemas = NOTHING_SAID,
): DataProblem | undefined {
  const data = dataOf(document, schemas)
  if (!isReadable(data, to, schemas))
    return { text: `its data has schema ${data}, ${saidOf(to, schemas)}`, isWayBack: false }
  const after = dataAfter(document, to, schemas)
  const { good } = document
  if (good === '' || after === data || isReadable(after, good, schemas)) return undefined
  return {
    text: `${to} writes data of schema ${after}, and ${saidOf(good, schemas)}, where it would go back to`,
    isWayBack: true,
  }
}

/** What a switch does with the guest's data while the guest is off; the tag names the copy. */
export type DataStep =
  | { readonly kind: 'snapshot'; readonly tag: string }
  | { readonly kind: 'restore'; readonly tag: string }

/** Their guests' data is files of the host, which can be copied and put back. */
const WITH_SNAPSHOTS: ReadonlySet<DriverKind> = new Set(['dir', 'qemu', 'libvirt'])

function hasSnapshots({ driver }: Pick<Group, 'driver'>): boolean {
  return WITH_SNAPSHOTS.has(driver.kind)
}

/** Why a rollout must not lead a guest to its target; undefined when it may, with a copy of the data or without. */
export function barrierOf(
  document: GuestDocument,
  { to, irreversible }: Pick<RolloutDocument, 'to' | 'irreversible'>,
  group: Pick<Group, 'driver'>,
  schemas: DataSchemas = NOTHING_SAID,
): DataProblem | undefined {
  const problem = dataProblem(document, to, schemas)
  return problem?.isWayBack && (irreversible || hasSnapshots(group)) ? undefined : problem
}

/** The copy that a guest needs before a rollout leads it to its target, if it needs one. */
export function snapshotFor(
  document: GuestDocument,
  { id, to, irreversible }: Pick<RolloutDocument, 'id' | 'to' | 'irreversible'>,
  group: Pick<Group, 'driver'>,
  schemas: DataSchemas = NOTHING_SAID,
): GuestDocument['snapshot'] {
  if (irreversible || !hasSnapshots(group) || !dataProblem(document, to, schemas)?.isWayBack) return undefined
  return { tag: `${id}-${to}`, dataSchema: dataOf(document, schemas) }
}

/** What the switch that a guest was granted does with its data. */
export function dataStepOf({ outcome, snapshot }: GuestDocument): DataStep | undefined {
  return snapshot && { kind: outcome === 'returning' ? 'restore' : 'snapshot', tag: snapshot.tag }
}

/** The copy was put back: its data is as it was. */
export function restored({ snapshot, ...document }: GuestDocument): GuestDocument {
  return snapshot ? { ...document, dataSchema: snapshot.dataSchema } : document
}

/** Whether what a guest had before this rollout is still kept: with its end the copies go. */
function keepsCopy({ snapshot }: GuestDocument, { id, to, state }: RolloutDocument): boolean {
  return snapshot?.tag === `${id}-${to}` && state !== 'completed'
}

/**
 * '' when every guest that a rollout moved, or is moving, could read its data where it would go back to. Who is moving gets
 * its copy back by itself.
 * @param isGivenUp what guests wrote since they run the target may be lost: copies are put back
 */
export function whyNoWayBack(
  { members, rollout }: Progress,
  schemas: DataSchemas = NOTHING_SAID,
  isGivenUp = false,
): string {
  for (const member of members) {
    const { name, document } = member
    const isMoving = document.rollout === rollout.id && HOLDING.has(document.state)
    const back = isMoving ? document.good : isToReturn(member, rollout) ? document.previous : ''
    if (back === '') continue
    const isKept = keepsCopy(document, rollout)
    const data = dataOf(document, schemas)
    if (isReadable(data, back, schemas) || (isKept && (isMoving || isGivenUp))) continue
    const why = `${name}: its data has schema ${data}, ${saidOf(back, schemas)}`
    return isKept ? `${why}; a copy from before the switch is kept (rollback --restore-data)` : why
  }
  return ''
}
