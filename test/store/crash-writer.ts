/**
 * A process that uses a store until it is killed, or for some rounds, and says what was acknowledged: one line each.
 *
 *   crash-writer.ts STORE SEED DISK [ROUNDS]
 */
import { writeSync } from 'node:fs'
import { realDisk } from '../../src/host/disk.ts'
import { openStore } from '../../src/store/store.ts'
import { MUTANTS } from '../helpers/faults.ts'
import { ingest, useEverything } from './workload.ts'

const [path, seed, disk, rounds] = process.argv.slice(2) as [
  string,
  string,
  keyof typeof MUTANTS | 'real',
  string?,
]

async function work(round: number): Promise<void> {
  await using store = await openStore(path, {
    disk: disk === 'real' ? realDisk : MUTANTS[disk],
    waitMs: 30_000,
  })
  if (round === 0) writeSync(1, 'ready\n')
  for (const part of ['a', 'b']) {
    const name = `${seed}-${round}${part}`
    await ingest(store, name)
    writeSync(1, `${name}\n`)
  }
  if (rounds === undefined) await useEverything(store, `${seed}-all`)
}

for (let round = 0; rounds === undefined || round < Number(rounds); round++) await work(round)
