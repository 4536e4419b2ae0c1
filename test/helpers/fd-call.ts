/** One call of a driver in a process of its own: `fd-call.ts MODULE FOLDER CALL ARGUMENTS [LAST]`. */
import type { GuestDriver } from '../../src/deploy/driver.ts'

const [module = '', folder = '', call = '', words = '[]', last] = process.argv.slice(2)
const bench = (await import(module)) as { openBench: (folder: string) => { driver: GuestDriver } }
const { driver } = bench.openBench(folder)
const todo = driver[call as 'prepare'] as (...given: unknown[]) => Promise<void>
process.stdout.write('begin\n')
await todo(
  ...(JSON.parse(words) as unknown[]),
  new AbortController().signal,
  ...(last === undefined ? [] : [JSON.parse(last) as unknown]),
)
