/** The entry of a thread that links: the setting first, then buckets a message; what became of them in each answer. */
import { parentPort } from 'node:worker_threads'
import { linker, type Outcome, type Setting } from './dedupe-link.ts'
import { type Packed, unpack } from './dedupe-message.ts'

parentPort?.once('message', (setting: Setting) => {
  const link = linker(setting)
  parentPort?.on('message', (packed: Packed) => {
    const outcome: Outcome = link(unpack(packed))
    parentPort?.postMessage(outcome)
  })
})
