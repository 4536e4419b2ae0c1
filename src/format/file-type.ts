/** The type of a file in its mode: the bits of st_mode that S_IFMT covers (inode(7)). */

export const FILE_TYPE = {
  file: 0o100000,
  dir: 0o040000,
  symlink: 0o120000,
  char: 0o020000,
  block: 0o060000,
  fifo: 0o010000,
  socket: 0o140000,
} as const

const TYPES: ReadonlyMap<number, keyof typeof FILE_TYPE> = new Map(
  Object.entries(FILE_TYPE).map(([type, bits]) => [bits, type as keyof typeof FILE_TYPE]),
)

/** @returns undefined where the bits are none of the seven types */
export function fileTypeOf(mode: number): keyof typeof FILE_TYPE | undefined {
  return TYPES.get(mode & 0o170000)
}
