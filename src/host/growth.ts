/** How far a file has grown, for a thread that reads it behind the one that writes it. */

/** Bytes that are in the file, or `GIVEN_UP`; shared by the threads. */
export type Growth = BigInt64Array<SharedArrayBuffer>

const GIVEN_UP = -1n

export function openGrowth(): Growth {
  return new BigInt64Array(new SharedArrayBuffer(8))
}

/** @param size bytes that are in the file by now */
export function grow(growth: Growth, size: number): void {
  Atomics.store(growth, 0, BigInt(size))
  Atomics.notify(growth, 0)
}

/** Nothing more will come: who waits, or will, is told. */
export function giveUp(growth: Growth): void {
  Atomics.store(growth, 0, GIVEN_UP)
  Atomics.notify(growth, 0)
}

/**
 * Stops this thread until the file has so many bytes.
 * @throws Error when the writer gave up
 */
export function waitForGrowth(growth: Growth, size: number): void {
  for (;;) {
    const grown = Atomics.load(growth, 0)
    if (grown === GIVEN_UP) throw new Error('a file that is read while it is written was given up')
    if (grown >= BigInt(size)) return
    Atomics.wait(growth, 0, grown)
  }
}
