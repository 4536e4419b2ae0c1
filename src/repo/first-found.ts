/** Several places for one file. */
import { isStage5Error } from '../base/errors.ts'

/** Tries addresses in turn; only a server's "not there" leads to the next. */
export async function firstFound<T>(
  addresses: readonly string[],
  attempt: (address: string) => Promise<T>,
): Promise<T> {
  for (const [index, address] of addresses.entries())
    try {
      return await attempt(address)
    } catch (error) {
      const isAbsent = isStage5Error(error, 'S5_FETCH_FAILED') && error.data['status'] === 404
      if (!isAbsent || index === addresses.length - 1) throw error
    }
  throw new RangeError('no address to try')
}
