/** The store that a project's fleet is kept in, by its id: seen once, another is refused (R7). */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Engine } from '../engine/engine.ts'
import { openEngine } from '../engine/open.ts'
import { mustBeStore } from '../engine/store-id.ts'
import { shownPath, type World } from './world.ts'

/** Opens the engine and holds it against `storeId`, and against the id that `.stage5/fleet.id` remembers. @throws S5_ENGINE_OTHER */
export async function openPinnedEngine(world: World, address: string, storeId?: string): Promise<Engine> {
  const file = join(world.directory, '.stage5/fleet.id')
  const engine = await openEngine(address, { directory: world.directory, storeId })
  try {
    const seen = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined
      throw error
    })
    if (storeId === undefined)
      mustBeStore(
        address,
        seen?.trim(),
        engine.storeId,
        `check --engine; if the fleet was moved deliberately, delete ${shownPath(file)}`,
      )
    if (seen?.trim() !== engine.storeId) {
      await mkdir(dirname(file), { recursive: true })
      await writeFile(file, `${engine.storeId}\n`)
    }
    return engine
  } catch (error) {
    await engine[Symbol.asyncDispose]()
    throw error
  }
}
