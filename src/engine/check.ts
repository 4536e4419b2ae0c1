/** What every engine refuses before it asks its store: bugs of the caller, so that all engines say the same. */
import { Buffer } from 'node:buffer'
import type { Compare, Operation } from './engine.ts'

/** The least that etcd takes with its own settings; `--max-txn-ops`. */
export const MAX_OPERATIONS = 128

/** etcd takes requests of 1.5 MiB (`--max-request-bytes`); what is written around the values must fit too. */
const MAX_REQUEST_BYTES = 1_400_000

/** @throws RangeError */
export function checkTransaction(compares: readonly Compare[], operations: readonly Operation[]): void {
  const most = Math.max(compares.length, operations.length)
  if (most > MAX_OPERATIONS)
    throw new RangeError(`a transaction holds at most ${MAX_OPERATIONS} operations, found ${most}`)
  const keys = new Set<string>()
  let bytes = 0
  for (const operation of operations) {
    const { key } = operation
    checkKey(key)
    if (keys.has(key)) throw new RangeError(`${key} stands in one transaction twice`)
    keys.add(key)
    bytes += key.length + (operation.kind === 'put' ? Buffer.byteLength(operation.value) : 0)
  }
  for (const { key } of compares) checkKey(key)
  if (bytes > MAX_REQUEST_BYTES)
    throw new RangeError(`a transaction holds at most ${MAX_REQUEST_BYTES} bytes, found ${bytes}`)
}

function checkKey(key: string): void {
  if (key === '' || !key.isWellFormed()) throw new RangeError(`${JSON.stringify(key)} cannot be a key`)
}

/** @throws RangeError */
export function checkSeconds(seconds: number): void {
  if (!(seconds > 0 && Number.isFinite(seconds)))
    throw new RangeError(`expected seconds of a lease above 0, found ${seconds}`)
}

/**
 * The first key after all that begin with `prefix`, as bytes. UTF-8 has no byte 0xff, so the last one can be raised.
 * @returns undefined for the empty prefix: there is no end
 */
export function prefixEnd(prefix: string): Buffer | undefined {
  if (prefix === '') return undefined
  const end = Buffer.from(prefix, 'utf8')
  end[end.length - 1] = (end.at(-1) as number) + 1
  return end
}
