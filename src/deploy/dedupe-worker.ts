/** The entry of a thread that compares files: a list of sets a message, the classes of each in the answer. */
import { parentPort } from 'node:worker_threads'
import { comparer, type Likely } from './dedupe-compare.ts'

const { classes } = comparer()

parentPort?.on('message', (sets: readonly Likely[]) => {
  // A path that is bytes arrives as an array that Node does not know for a path.
  const whole = sets.map(({ size, places }) => ({
    size,
    places: places.map((place) => (typeof place === 'string' ? place : Buffer.from(place))),
  }))
  parentPort?.postMessage(whole.map(classes))
})
