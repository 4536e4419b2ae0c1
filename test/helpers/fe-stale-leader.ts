/**
 * A leader that is stopped between its read and its write: the point at which a missing fence shows.
 *
 * node fe-stale-leader.ts ADDRESS LEADER-KEY TARGET-KEY fenced|unfenced
 */
import { openEngine } from '../../src/engine/open.ts'

const [address = '', leader = '', target = '', how = ''] = process.argv.slice(2)
await using engine = await openEngine(address)
const { key, epoch } = await engine.lead(leader, 2, new AbortController().signal)
const before = (await engine.list(target)).values[0]
console.log(`read ${before?.value}`)
process.kill(process.pid, 'SIGSTOP')
const fence = { key, target: 'create', equal: epoch } as const
const { ok } = await engine.transact(how === 'fenced' ? [fence] : [], [
  { kind: 'put', key: target, value: 'stale' },
])
console.log(ok ? 'applied' : 'refused')
