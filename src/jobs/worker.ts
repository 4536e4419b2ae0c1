/** The entry of a worker thread: one job a message, one answer each. What a job needs is read when the first of its kind comes. */
import { parentPort, workerData } from 'node:worker_threads'
import type { Digest } from '../base/digest.ts'
import { isStage5Error } from '../base/errors.ts'
import type { Answer, Job } from '../host/pool.ts'
import type { CompressInput, CompressOutput, DiskImageInput, IngestInput, MeasureInput } from './messages.ts'

/** Which contents the store has; opened once for each store that this thread is asked to write to. */
const readers = new Map<string, (content: Digest) => boolean>()

async function presentIn(store: string): Promise<(content: Digest) => boolean> {
  const { openReader } = await import('../store/store.ts')
  const has = readers.get(store) ?? openReader(store).has
  readers.set(store, has)
  return has
}

async function answer(job: Job): Promise<Answer> {
  try {
    switch (job.kind) {
      case 'ingest': {
        const input = job.input as IngestInput
        const { ingestHere } = await import('./ingest.ts')
        return { ok: true, value: await ingestHere(input, await presentIn(input.store)) }
      }
      case 'compress': {
        const { compressHere } = await import('./compress.ts')
        return { ok: true, value: await compressHere(job.input as CompressInput) }
      }
      case 'measure': {
        const { measureFile } = await import('../host/file-sink.ts')
        return { ok: true, value: await measureFile((job.input as MeasureInput).file) }
      }
      case 'disk-image': {
        const { writeDiskImage } = await import('./disk-image.ts')
        return { ok: true, value: await writeDiskImage(job.input as DiskImageInput) }
      }
      default:
        throw new RangeError(`unknown job ${job.kind}`)
    }
  } catch (error) {
    const plain = error instanceof Error ? error : new Error(String(error))
    if (!isStage5Error(error)) return { ok: false, error: plain }
    const { code, hint, data } = error
    return {
      ok: false,
      error: new Error(error.message),
      stage5: { code, data, ...(hint !== undefined && { hint }) },
    }
  }
}

/** What unpacking needs is here before the first job; its first question loads the index of the store. */
async function prepare(store: string): Promise<void> {
  const [has] = await Promise.all([presentIn(store), import('./ingest.ts')])
  has(`sha256:${'0'.repeat(64)}`)
}

const { store } = (workerData ?? {}) as { readonly store?: string }
// What fails here fails again in the job that needs it.
if (store !== undefined) prepare(store).catch(() => undefined)

parentPort?.on('message', (job: Job) => {
  void answer(job).then((value) => {
    const isLarge = value.ok && job.kind === 'compress'
    parentPort?.postMessage(value, isLarge ? [(value.value as CompressOutput).bytes.buffer] : [])
  })
})
