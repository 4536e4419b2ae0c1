/** Threads of our own code. They share the compile cache of the process: without it each strips and compiles its modules anew. */
import module from 'node:module'
import { dirname } from 'node:path'
import { Worker, type WorkerOptions } from 'node:worker_threads'

/**
 * @param name of a module beside the caller, without its ending, such as `./worker`
 * @param caller its `import.meta.url`: `.ts` in a checkout, `.js` in a published package
 */
export function startThread(name: string, caller: string, options?: WorkerOptions): Worker {
  const script = new URL(`${name}${caller.endsWith('.ts') ? '.ts' : '.js'}`, caller)
  return new Worker(script, { ...options, env: environment() })
}

/** Node adds the name of its version to the folder that it is told. */
function environment(): NodeJS.ProcessEnv {
  const folder = module.getCompileCacheDir()
  return folder === undefined ? process.env : { ...process.env, NODE_COMPILE_CACHE: dirname(folder) }
}
