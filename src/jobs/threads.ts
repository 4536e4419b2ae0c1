/** Worker threads for the jobs of messages.ts: started on first use, ended by dispose. */
import type { Worker } from 'node:worker_threads'
import type { Code } from '../base/codes.ts'
import { Stage5Error } from '../base/errors.ts'
import type { Json } from '../base/json.ts'
import { type Answer, openPool, type Pool } from '../host/pool.ts'
import { startThread } from '../host/thread.ts'

/** @param store of which each thread loads the index as it starts, see `Store.path` */
export function openThreads(threads: number, store?: string): Pool {
  const make = (): Worker => startThread('./worker', import.meta.url, { workerData: { store } })
  return openPool(make, threads, revive)
}

/** Errors lose their class on the way between threads. */
function revive({ error, stage5 }: Answer & { ok: false }): Error {
  if (!stage5) return error
  const data = stage5.data as { readonly [key: string]: Json | undefined }
  return new Stage5Error(stage5.code as Code, error.message, { hint: stage5.hint, cause: error, data })
}
