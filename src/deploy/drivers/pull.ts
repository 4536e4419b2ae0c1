/**
 * The driver `pull`: guests follow a channel by themselves, and nothing on this side moves them. What is known of them is
 * what they said last (`POST /reports/NAME`, kept by `stage5 serve --reports DIR`), and the health checks of their group.
 */
import { readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { objectOf } from '../../base/json.ts'
import { now } from '../../host/clock.ts'
import type { Group } from '../../resolve/group.ts'
import type { PullOptions } from '../../resolve/shape-driver.ts'
import type { GuestDriver, Observed } from '../driver.ts'
import { checkHealth } from '../health.ts'

const USUAL = '.stage5/reports'

const UNKNOWN: Omit<Observed, 'detail'> = {
  ...{ power: 'unknown', bootId: '', digest: '', pointer: 'good' },
  ...{ triesLeft: 0, token: 0, health: 'inconclusive' },
}

export function pullDriver(group: Group, { reports, silence }: PullOptions, project: string): GuestDriver {
  const folder = resolve(project, reports === '' ? USUAL : reports)
  const refused = async (): Promise<never> => {
    throw new Stage5Error(
      'S5_DRIVER_NONE',
      `the guests of ${group.name} update themselves (driver: pull): nothing here can switch them`,
      { hint: `stage5 channel ${group.line} --to PLACE says where they go`, data: { group: group.name } },
    )
  }
  return {
    kind: 'pull',
    prepare: refused,
    switchTo: refused,
    commit: refused,
    rollback: refused,
    stop: refused,
    collect: async () => {},
    status: async (guest, signal) => {
      const path = join(folder, `${guest.name}.json`)
      const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error
        return undefined
      })
      if (text === undefined)
        return { ...UNKNOWN, detail: 'updates itself (driver: pull), and has not reported' }
      const said = readReport(text, guest.name)
      if (typeof said === 'string') return { ...UNKNOWN, detail: `its report is ${said}` }
      const seconds = Math.floor((now() - (await stat(path)).mtimeMs) / 1000)
      if (seconds > silence)
        return { ...said, power: 'unknown', health: 'inconclusive', detail: `silent for ${seconds} s` }
      const { health, detail } = await checkHealth(group.health, guest.values, {}, signal)
      return { ...said, health, detail: detail || said.detail }
    },
  }
}

/** What a guest said, or what is wrong with it: anybody can send a report, so each word is looked at. */
function readReport(text: string, guest: string): Observed | string {
  const said = objectOf(text)
  if (typeof said === 'string') return said
  const { manifest, bootId, pointer, triesLeft, why } = said
  if (said['stage5'] !== 1 || said['guest'] !== guest) return `not one of format 1 about ${guest}`
  if (manifest !== '' && !/^sha256:[0-9a-f]{64}$/.test(String(manifest)))
    return 'without the digest of what runs'
  if (typeof bootId !== 'string' || !/^[0-9a-f-]{0,64}$/.test(bootId)) return 'without a boot id'
  if (pointer !== 'good' && pointer !== 'trial') return 'without a pointer'
  if (!Number.isSafeInteger(triesLeft)) return 'without a number of tries'
  return {
    ...{ power: 'on', bootId, digest: String(manifest), pointer, triesLeft: triesLeft as number, token: 0 },
    ...{ health: 'inconclusive', detail: typeof why === 'string' ? why.replace(/[^\x20-\x7e]/g, ' ') : '' },
  }
}
