/** Marks a branch that the types say cannot be reached; reaching it is a bug in stage5, not in the input. */
export function never(value: never): never {
  throw new RangeError(`unreachable: ${JSON.stringify(value)}`)
}
