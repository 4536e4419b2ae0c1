/** The outputs of the qemu bench, built once for a test file. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { buildToys, openBench } from './fd-bench-qemu.ts'
import type { Bench } from './fd-contract.ts'
import { cannotBoot, freePort } from './guest.ts'

const folder = temporaryDirectory()
process.on('exit', () => folder[Symbol.dispose]())
let built: Promise<string | undefined> | undefined

/** The folder of the bench; undefined when the test was skipped. */
export async function toys(t: TestContext): Promise<string | undefined> {
  built ??= cannotBoot ? Promise.resolve(cannotBoot) : freePort().then((port) => buildToys(folder.path, port))
  const skip = await built
  if (skip === undefined) return folder.path
  t.skip(skip)
  return undefined
}

/** A bench whose guest has never been started. */
export async function openToys(t: TestContext): Promise<Bench | undefined> {
  const path = await toys(t)
  if (path === undefined) return undefined
  return {
    ...openBench(path),
    [Symbol.asyncDispose]: async () => rmSync(join(path, '.stage5'), { recursive: true, force: true }),
  }
}
