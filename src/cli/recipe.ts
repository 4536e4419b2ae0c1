/** A recipe: the profile with everything that its YAML files say about how to compose it. */
import { Stage5Error } from '../base/errors.ts'
import type { Json } from '../base/json.ts'
import { nearest } from '../base/near.ts'
import { loadPipeline, loadProfile, loadStripClasses } from '../resolve/load-profile.ts'
import type { Profile } from '../resolve/profile.ts'
import { STAGES } from '../stage/registry.ts'
import type { Stage } from '../stage/stage.ts'
import type { World } from './world.ts'

export interface Recipe {
  readonly profile: Profile
  readonly stages: readonly Stage[]
  readonly stripClasses: { readonly [name: string]: Json }
}

export async function loadRecipe(world: World, name: string): Promise<Recipe> {
  const { profile } = await loadProfile(name, world.read, world.list)
  const names = await loadPipeline(profile.pipeline, world)
  const stages = names.map((stage) => {
    const found = STAGES.get(stage)
    if (found) return found
    const near = nearest(stage, STAGES.keys(), 1)[0]
    throw new Stage5Error(
      'S5_STAGE_INVALID',
      `stages/${profile.pipeline}.yaml: unknown stage ${stage}${near ? `, did you mean ${near}` : ''}`,
    )
  })
  return { profile, stages, stripClasses: await loadStripClasses(world) }
}
