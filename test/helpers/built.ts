/** Outputs that guests of tests start from: each profile is built once in a process; a test that cannot have it is skipped. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { findTool } from '../../src/host/run.ts'
import { type Built, buildProfile, cannotBoot } from './guest.ts'

export interface Needs {
  readonly tools?: readonly string[]
  readonly files?: readonly string[]
}

/** Skips a test on a machine that boots no guests, or lacks what it needs. */
export function canBoot(t: TestContext, { tools = [], files = [] }: Needs = {}): boolean {
  const missing =
    tools.find((tool) => findTool(tool) === undefined) ?? files.find((file) => !existsSync(file))
  if (!cannotBoot && missing === undefined) return true
  t.skip(cannotBoot || `needs ${missing}`)
  return false
}

const outputs = new Map<string, ReturnType<typeof buildProfile>>()

/**
 * @param name of the profile, with its variant
 * @param text of the profile, where the project has no such file or another one
 * @returns undefined when the test was skipped
 */
export async function builtOnce(
  t: TestContext,
  project: string,
  name: string,
  text?: string,
  needs: Needs = {},
): Promise<Built | undefined> {
  if (!canBoot(t, needs)) return undefined
  if (text !== undefined) {
    mkdirSync(join(project, 'profiles'), { recursive: true })
    writeFileSync(join(project, `profiles/${name.replace(/@.*/, '')}.yaml`), text)
  }
  const key = JSON.stringify([project, name, text])
  const output = outputs.get(key) ?? buildProfile(project, name)
  outputs.set(key, output)
  const found = await output
  if ('file' in found) return found
  t.skip(found.skip)
  return undefined
}
