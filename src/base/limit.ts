/** Bounds on work in flight. Every fan-out in stage5 goes through one of these. */

/** Runs a task when a place is free; the shape of p-limit. */
export type Limit = <T>(task: () => Promise<T>) => Promise<T>

/** A map of running work: asking twice for one key while it is in flight runs it once. */
export function onceMap<K, V>(): (key: K, make: () => Promise<V>) => Promise<V> {
  const running = new Map<K, Promise<V>>()
  return (key, make) => {
    const found = running.get(key)
    if (found) return found
    const work = make().finally(() => running.delete(key))
    running.set(key, work)
    return work
  }
}
