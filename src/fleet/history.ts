/**
 * A recorded history of a fleet's store, one JSON value a line, so that a checker can prove what happened.
 *
 * ```
 * {"history":1,"storeId":"…","revision":"7","state":[{"key":"…","value":"…","created":"3"}]}   first line
 * {"groups":[{"name":"web","guests":["web-1"],"budget":1}]}                                    configuration, when it changes
 * {"revision":"8","changes":[{"key":"…","value":"…"},{"key":"…"}]}                             each revision; no value: deleted
 * ```
 */
import { stableJson } from '../base/json.ts'
import type { Group } from '../resolve/group.ts'
import { budgetOf } from './waves.ts'

export interface HistoryGroup {
  readonly name: string
  readonly guests: readonly string[]
  readonly budget: number
}

export interface HistoryStart {
  readonly history: 1
  readonly storeId: string
  readonly revision: string
  readonly state: readonly { readonly key: string; readonly value: string; readonly created: string }[]
}

export interface HistoryChange {
  readonly revision: string
  readonly changes: readonly { readonly key: string; readonly value?: string }[]
}

export type HistoryLine = HistoryStart | HistoryChange | { readonly groups: readonly HistoryGroup[] }

export function printHistoryLine(line: HistoryLine): string {
  return `${stableJson(line as never)}\n`
}

export function groupsLine(groups: Iterable<Group>): HistoryLine {
  return {
    groups: [...groups].map((group) => ({
      name: group.name,
      guests: group.guests.map(({ name }) => name),
      budget: budgetOf(group),
    })),
  }
}
