/** The key `dataSchema:` of a profile: which formats of the guests' data its software reads, and which it leaves behind. */
import { integer, list, object, refined, required, type Shape } from '../base/shape.ts'
import type { DataSchema } from './profile.ts'

const number = integer(1, 1_000_000)

export const dataSchema: Shape<DataSchema> = refined(
  object('formats of data such as {reads: [5, 6], writes: 6}', {
    reads: required(list(number), 'Lowest and highest format of the data that the software reads.'),
    writes: required(number, 'Format that the data has once this has run.'),
  }),
  ({ reads: [low, high, ...more], writes }, node, to): DataSchema | undefined => {
    if (low === undefined || high === undefined || more.length > 0 || low > high)
      return to.report(node, 'expected reads: with the lowest and the highest number, such as [5, 6]')
    if (writes < low || writes > high)
      return to.report(node, `expected writes: from ${low} to ${high}, which is read, found ${writes}`)
    return { reads: [low, high], writes }
  },
)
