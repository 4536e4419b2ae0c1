/** node fe-writer.ts ADDRESS PREFIX: writes keys one after the other from several hands, and says each that was acknowledged. */
import { openEngine } from '../../src/engine/open.ts'

const [address = '', prefix = ''] = process.argv.slice(2)
const engine = await openEngine(address)
await Promise.all(
  Array.from({ length: 4 }, async (_, hand) => {
    for (let at = 0; ; at++) {
      const key = `${prefix}${hand}/${String(at).padStart(6, '0')}`
      const { revision } = await engine.transact([], [{ kind: 'put', key, value: `${at}` }])
      process.stdout.write(`${key} ${revision}\n`)
    }
  }),
)
