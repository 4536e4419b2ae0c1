/** The id of a store, made once by whoever comes first (R7: two stores of one fleet must be told apart). */
import { randomUUID } from 'node:crypto'
import { Stage5Error } from '../base/errors.ts'
import { type Engine, STORE_ID_KEY } from './engine.ts'

export async function readOrMakeStoreId(engine: Pick<Engine, 'list' | 'transact'>): Promise<string> {
  for (;;) {
    const { values } = await engine.list(STORE_ID_KEY)
    const found = values.find(({ key }) => key === STORE_ID_KEY)
    if (found) return found.value
    await engine.transact(
      [{ key: STORE_ID_KEY, target: 'create', equal: 0n }],
      [{ kind: 'put', key: STORE_ID_KEY, value: randomUUID() }],
    )
  }
}

/** @throws S5_ENGINE_OTHER */
export function mustBeStore(where: string, expected: string | undefined, found: string, hint?: string): void {
  if (expected !== undefined && expected !== found)
    throw new Stage5Error('S5_ENGINE_OTHER', `${where}: expected store ${expected}, found ${found}`, {
      hint,
      data: { where, expected, actual: found },
    })
}
