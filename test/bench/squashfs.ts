/**
 * Emission beside mksquashfs on the same directory in the same run: seconds, peak memory, bytes.
 *
 * Each run of ours is a process of its own, so that its peak memory is its own; the directory is listed before the clock
 * starts, as a composed root knows its digests. `node test/bench/squashfs.ts [DIRECTORY]` prints a table.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { Digest } from '../../src/base/digest.ts'
import { type Packed, type PartBlocks, squashfsEmitter } from '../../src/emit/squashfs.ts'
import { compressBlock } from '../../src/format/squashfs/codec.ts'
import type { Tree } from '../../src/tree/tree.ts'
import { zlibBlocks } from '../emit/squashfs-world.ts'
import {
  contentsOfDisk,
  type DiskEntry,
  fileSink,
  listDisk,
  pathsOfDisk,
  treeOfDisk,
} from '../oracle/squashfs-disk.ts'
import type { Reply, Request } from './squashfs-worker.ts'

export interface Measured {
  readonly name: string
  readonly level: number
  readonly seconds: number
  /** Of all threads, user and system: what a loaded machine does not blur. */
  readonly processorSeconds: number
  /** Peak resident memory. */
  readonly bytesOfMemory: number
  readonly bytes: number
}

type Way = 'threads' | 'pool' | 'warm'

/** @param owners label by path relative to the directory; without it the first component of the path is the owner */
export async function benchSquashfs(
  directory: string,
  options: {
    readonly levels?: readonly number[]
    readonly processors?: number
    readonly owners?: { readonly [path: string]: string }
  } = {},
): Promise<readonly Measured[]> {
  const { levels = [3, 15], processors = 2, owners } = options
  const scratch = mkdtempSync(`${tmpdir()}/stage5-bench-`)
  const measured: Measured[] = []
  try {
    const list = `${scratch}/list.json`
    writeFileSync(list, JSON.stringify({ listed: listDisk(directory), owners }))
    for (const level of levels) {
      measured.push(measureTheirs(directory, `${scratch}/theirs`, level, processors))
      for (const way of ['threads', 'pool', 'warm'] as const)
        measured.push(measureOurs({ directory, list, image: `${scratch}/ours`, level, processors, way }))
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
  return measured
}

function measureTheirs(directory: string, image: string, level: number, processors: number): Measured {
  const options = `-comp zstd -Xcompression-level ${level} -processors ${processors} -no-exports -tailends`
  const began = performance.now()
  const { stderr, status } = spawnSync(
    '/usr/bin/time',
    [
      '-f',
      '%M %U %S',
      'mksquashfs',
      directory,
      image,
      ...options.split(' '),
      '-noappend',
      '-quiet',
      '-no-progress',
    ],
    { encoding: 'utf8' },
  )
  if (status !== 0) throw new Error(`mksquashfs: ${stderr}`)
  const seconds = (performance.now() - began) / 1000
  const [memory = 0, user = 0, system = 0] = (stderr.trim().split('\n').at(-1) ?? '').split(' ').map(Number)
  const bytesOfMemory = memory * 1024
  return {
    name: 'mksquashfs',
    level,
    seconds,
    processorSeconds: user + system,
    bytesOfMemory,
    bytes: statSync(image).size,
  }
}

interface Task {
  readonly directory: string
  readonly list: string
  readonly image: string
  readonly level: number
  readonly processors: number
  readonly way: Way
}

function measureOurs(task: Task): Measured {
  const self = fileURLToPath(import.meta.url)
  const text = execFileSync(process.execPath, ['--expose-gc', self, '--task', JSON.stringify(task)], {
    encoding: 'utf8',
    env: { ...process.env, NODE_COMPILE_CACHE: `${tmpdir()}/stage5-bench-compile-cache` },
  })
  return JSON.parse(text) as Measured
}

async function runTask({ directory, list, image, level, processors, way }: Task): Promise<Measured> {
  const { tree, paths } = loadList(directory, list)
  globalThis.gc?.()
  const contents = contentsOfDisk(paths)
  const known = way === 'warm' ? new Map<string, Uint8Array>() : undefined
  const once = async (): Promise<void> => {
    await using threads = way === 'threads' ? threadBlocks(paths, processors) : undefined
    await using sink = await fileSink(image)
    const blocks = threads ?? zlibBlocks(processors + 1, known)
    const signal = new AbortController().signal
    await squashfsEmitter.emit(tree, { mtime: 0, level }, { contents, blocks, sink, signal })
  }
  if (way === 'warm') await once()
  const began = performance.now()
  const usage = process.cpuUsage()
  await once()
  const seconds = (performance.now() - began) / 1000
  const { user, system } = process.cpuUsage(usage)
  const processorSeconds = (user + system) / 1e6
  const bytesOfMemory = process.resourceUsage().maxRSS * 1024
  return {
    name: `stage5 ${way}`,
    level,
    seconds,
    processorSeconds,
    bytesOfMemory,
    bytes: statSync(image).size,
  }
}

/** What a store would know: the tree, and where each content is. The list itself is garbage afterwards. */
function loadList(
  directory: string,
  list: string,
): { readonly tree: Tree; readonly paths: ReadonlyMap<Digest, string> } {
  const { listed, owners } = JSON.parse(readFileSync(list, 'utf8')) as {
    readonly listed: readonly DiskEntry[]
    readonly owners?: { readonly [path: string]: string }
  }
  const tree = treeOfDisk(listed, owners && ((path) => owners[path] ?? 'none_0'))
  return { tree, paths: pathsOfDisk(directory, listed) }
}

/** Blocks packed by worker threads that read the files themselves. */
function threadBlocks(paths: ReadonlyMap<Digest, string>, width: number): PartBlocks & AsyncDisposable {
  const answers = new Map<number, PromiseWithResolvers<Packed>>()
  const waiting: Request[] = []
  const threads = Array.from({ length: width }, () => {
    const worker = new Worker(new URL('squashfs-worker.ts', import.meta.url))
    worker.on('message', ({ id, ...packed }: Reply) => {
      const next = waiting.shift()
      if (next) worker.postMessage(next)
      else thread.busy--
      answers.get(id)?.resolve(packed)
      answers.delete(id)
    })
    const thread = { worker, busy: 0 }
    return thread
  })
  let asked = 0
  return {
    compress: async (codec, level, _key, read) => compressBlock(codec, level, await read()),
    compressParts: (codec, level, _key, parts) => {
      const answer = Promise.withResolvers<Packed>()
      const id = asked++
      const length = parts.reduce((sum, part) => sum + part.length, 0)
      const flat = parts.flatMap(({ content, offset, length }) => [
        paths.get(content) as string,
        offset,
        length,
      ])
      const request: Request = { id, codec, level, length, parts: flat }
      answers.set(id, answer)
      const free = threads.find(({ busy }) => busy < 3)
      if (free) {
        free.busy++
        free.worker.postMessage(request)
      } else waiting.push(request)
      return answer.promise
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(threads.map(({ worker }) => worker.terminate()))
    },
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , first = '/usr/share', task] = process.argv
  if (first === '--task') console.log(JSON.stringify(await runTask(JSON.parse(task ?? '') as Task)))
  else
    for (const line of await benchSquashfs(first, task ? { levels: [Number(task)] } : {})) {
      const { name, level, seconds, processorSeconds, bytesOfMemory, bytes } = line
      const times = `${seconds.toFixed(2)} s, ${processorSeconds.toFixed(2)} s of processor time`
      console.log(`${name} ${level}: ${times}, ${Math.round(bytesOfMemory / 2 ** 20)} MiB, ${bytes} bytes`)
    }
}
