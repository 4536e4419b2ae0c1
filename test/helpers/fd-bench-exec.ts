/** A guest of the driver exec: `fd-hook.ts` is the command. */
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { openDriver } from '../../src/deploy/drivers/open.ts'
import type { Group } from '../../src/resolve/group.ts'
import { driverGuest } from '../../src/resolve/template.ts'
import type { Bench } from './fd-contract.ts'
import { group } from './fd-group.ts'
import { makeOutput } from './fd-output.ts'

export function execGroup(
  folder: string,
  more: { command?: readonly string[]; timeout?: number } = {},
): Group {
  const command = [process.execPath, join(import.meta.dirname, 'fd-hook.ts'), folder]
  return group({ kind: 'exec', options: { root: '', command, timeout: 60, ...more } })
}

export function openBench(given: string): Omit<Bench, keyof AsyncDisposable> {
  const folder = realpathSync(given)
  const toys = execGroup(folder)
  const driver = openDriver(toys, {
    directory: folder,
    checkout: () => Promise.reject(new Error('exec checks nothing out')),
  })
  const [first, second, broken] = ['1', '2', '3'].map((version) =>
    makeOutput(folder, Number(version), { version }),
  ) as [Bench['first'], Bench['first'], Bench['first']]
  const starts = join(folder, 'starts')
  return {
    driver,
    guest: driverGuest(toys, toys.guests[0] as Group['guests'][number]),
    first,
    second,
    broken,
    module: import.meta.filename,
    folder,
    starts: async () => (existsSync(starts) ? readFileSync(starts, 'utf8').trim().split('\n') : []),
  }
}
