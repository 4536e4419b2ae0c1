/** No time in the root is later than the date of the build. */
import { mapInodes } from '../tree/map.ts'
import { withTree } from './generated.ts'
import type { Stage } from './stage.ts'

export const clamp: Stage = {
  name: 'clamp',
  version: 1,
  pick: ({ date }) => ({ date }),
  run: async (input, params) => {
    const { date } = params as { readonly date: number }
    return withTree(
      input,
      mapInodes(input.tree, (inode) => (inode.mtime > date ? { ...inode, mtime: date } : inode)),
    )
  },
}
