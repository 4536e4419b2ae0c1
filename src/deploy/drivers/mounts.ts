/** Who lives on a guest's mounts. They are private to it: while nobody does, they are gone. */
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Stage5Error } from '../../base/errors.ts'
import { monotonicMs } from '../../host/clock.ts'
import { signalProcess } from '../../host/processes.ts'
import type { GuestFolder } from './folder.ts'

/** Name of a guest's overlays in the tables of mounts: no other guest of this machine has it. @param id its machine-id */
export function mountSource(id: string): string {
  return `stage5-${id}`
}

/**
 * Processes that have an overlay of this guest in their table of mounts.
 * @see proc(5), /proc/pid/mountinfo
 */
export function livingOn(folder: GuestFolder): readonly number[] {
  const id = folder.read('machine-id')
  if (id === '') return []
  const mark = ` - overlay ${mountSource(id)} `
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => tableOf(name).includes(mark))
    .map(Number)
}

/** '' of a process that has ended. */
function tableOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/mountinfo`, 'latin1')
  } catch {
    return ''
  }
}

/** Lines of a shell that end whoever still lives there, before the same upper layers are mounted again. */
export function endingLines(source: string): readonly string[] {
  return [
    `while left=$(grep -ls ${`' - overlay ${source} '`} /proc/[0-9]*/mountinfo || :) && [ -n "$left" ]; do`,
    '  for one in $left; do',
    '    one=${one#/proc/}',
    '    kill -KILL "${one%/*}" 2>/dev/null || :',
    '  done',
    '  sleep 0.1',
    'done',
  ]
}

const END_MS = 30_000
const STEP_MS = 50

/**
 * Ends whoever lives on the mounts of a guest that is off: what its program left behind is a part of it.
 * @throws S5_TOOL_FAILED
 */
export async function endLiving(folder: GuestFolder): Promise<void> {
  const until = monotonicMs() + END_MS
  for (;;) {
    const living = livingOn(folder)
    if (living.length === 0) return
    if (monotonicMs() >= until)
      throw new Stage5Error('S5_TOOL_FAILED', `${folder.name}: process ${living.join(', ')} does not end`, {
        data: { pids: living },
      })
    for (const pid of living) signalProcess(pid, 'SIGKILL')
    await sleep(STEP_MS)
  }
}
