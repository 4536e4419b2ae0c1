/** A pool of worker threads: started on first use, one job each at a time, ended by dispose. */
import type { Worker } from 'node:worker_threads'

export interface Job<I = unknown> {
  readonly kind: string
  readonly input: I
}

/** What a worker posts back for each job. Errors travel as plain values and become errors again here. */
export type Answer =
  | { readonly ok: true; readonly value: unknown }
  | {
      readonly ok: false
      readonly error: Error
      readonly stage5?: { code: string; hint?: string; data: unknown }
    }

export interface Pool extends AsyncDisposable {
  /**
   * Runs a job on a free thread.
   * @throws what the job threw, as `revive` makes it; the reason of `signal` when aborted (the thread is ended)
   */
  run(job: Job, signal: AbortSignal): Promise<unknown>
  /** Starts all threads, for jobs that will come soon. */
  warm(): void
}

interface Waiting {
  readonly job: Job
  readonly signal: AbortSignal
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

/**
 * @param make starts a thread that answers every message with one `Answer`
 * @param size most threads at once
 * @param revive makes an error out of an answer that is not ok
 */
export function openPool(
  make: () => Worker,
  size: number,
  revive: (answer: Answer & { ok: false }) => Error,
): Pool {
  const idle: Worker[] = []
  const all = new Set<Worker>()
  const queue: Waiting[] = []

  function pump(): void {
    while (queue.length > 0 && (idle.length > 0 || all.size < size)) {
      const next = queue.shift() as Waiting
      if (next.signal.aborted) next.reject(next.signal.reason)
      else give(idle.pop() ?? start(), next)
    }
  }

  function start(): Worker {
    const worker = make()
    worker.unref()
    all.add(worker)
    return worker
  }

  function give(worker: Worker, { job, signal, resolve, reject }: Waiting): void {
    const done = (): void => {
      worker.off('message', answered).off('error', died).off('exit', left)
      signal.removeEventListener('abort', abort)
      worker.unref()
    }
    const answered = (answer: Answer): void => {
      done()
      idle.push(worker)
      if (answer.ok) resolve(answer.value)
      else reject(revive(answer))
      pump()
    }
    const died = (error: unknown): void => {
      done()
      all.delete(worker)
      reject(error)
      pump()
    }
    const left = (code: number): void => died(new Error(`worker thread ended with code ${code}`))
    const abort = (): void => {
      done()
      all.delete(worker)
      void worker.terminate()
      reject(signal.reason)
      pump()
    }
    worker.on('message', answered).on('error', died).on('exit', left)
    signal.addEventListener('abort', abort, { once: true })
    worker.ref()
    worker.postMessage(job)
  }

  return {
    run: (job, signal) =>
      new Promise((resolve, reject) => {
        queue.push({ job, signal, resolve, reject })
        pump()
      }),
    warm: () => {
      while (all.size < size) idle.push(start())
    },
    [Symbol.asyncDispose]: async () => {
      for (const { reject } of queue.splice(0)) reject(new Error('the threads were ended'))
      await Promise.all([...all].map((worker) => worker.terminate()))
      all.clear()
      idle.length = 0
    },
  }
}
