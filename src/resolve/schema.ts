/** The JSON Schemas that editors complete by, generated from the tables that parse. */
import type { Schema } from '../base/shape.ts'
import { repositorySchema } from './load-repository.ts'
import { pipelineSchema, stripSchema } from './load-stages.ts'
import { groupSchema } from './shape-group.ts'
import { profileSchema } from './shape-profile.ts'

/** Schemas by their path in the project. */
export function schemas(): { readonly [path: string]: Schema } {
  return {
    'profiles/group.schema.json': groupSchema(),
    'profiles/profile.schema.json': profileSchema(),
    'repos/repository.schema.json': repositorySchema(),
    'stages/pipeline.schema.json': pipelineSchema(),
    'stages/strip.schema.json': stripSchema(),
  }
}
