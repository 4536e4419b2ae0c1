/** The YAML files of `stages/`: pipelines and strip classes. */
import {
  boolean,
  decodeDocument,
  list,
  object,
  oneOf,
  optional,
  record,
  required,
  type Schema,
  string,
} from '../base/shape.ts'
import { Stage5Error } from '../base/errors.ts'
import type { Json } from '../base/json.ts'
import { type Project, unknownName } from './project.ts'
import { formatNumber, glob, text, word } from './shape-words.ts'
import { readYaml } from './shape-yaml.ts'

const FORMAT = optional(formatNumber(), 1, 'Format of this file.')

const pipeline = object('a map with stages', {
  stage5: FORMAT,
  description: optional(text('a sentence'), '', 'What the pipeline is for.'),
  stages: required(list(word('the name of a stage'), String), 'Names of stages, in order.'),
})

const stripClass = object('a strip class such as {remove: [/usr/share/man], note: text}', {
  remove: optional(list(glob()), [], 'Globs of what goes.'),
  keep: optional(list(glob()), [], 'Globs of what stays although it matches.'),
  only: optional(oneOf('symlink', 'file', 'any'), undefined, 'Kind of names that go; default: any.'),
  symlinks: optional(boolean(), undefined, 'Whether symlinks go, too.'),
  computed: optional(word('the name of a computed class'), undefined, 'A rule that the program computes.'),
  note: optional(string({ expected: 'a note' }), undefined, 'The risk, and who may need it.'),
})

const stripClasses = object('a map with classes', {
  stage5: FORMAT,
  classes: required(record(word('the name of a strip class'), stripClass), 'Classes by name.'),
})

/**
 * The stages of `stages/NAME.yaml`, in order.
 * @throws S5_FILE_MISSING, S5_PROFILE_INVALID
 */
export async function loadPipeline(name: string, project: Project): Promise<readonly string[]> {
  const file = `stages/${name}.yaml`
  const bytes = await project.read(file)
  if (!bytes) throw await unknownName('S5_FILE_MISSING', 'pipeline', name, 'stages', project)
  const source = readYaml(bytes, file)
  return decodeDocument(file, (to) => pipeline.decode(source, to)?.stages ?? [])
}

/**
 * The classes of `stages/strip.yaml` as plain JSON; keys that a class leaves out are left out.
 * @throws S5_FILE_MISSING, S5_PROFILE_INVALID
 */
export async function loadStripClasses(project: Project): Promise<{ readonly [name: string]: Json }> {
  const file = 'stages/strip.yaml'
  const bytes = await project.read(file)
  if (!bytes)
    throw new Stage5Error('S5_FILE_MISSING', `expected the strip classes in ${file}, found no such file`)
  const source = readYaml(bytes, file)
  const classes = decodeDocument(file, (to) => stripClasses.decode(source, to)?.classes ?? new Map())
  return JSON.parse(JSON.stringify(Object.fromEntries(classes))) as { readonly [name: string]: Json }
}

/** JSON Schema of `stages/*.yaml` except the strip classes. */
export function pipelineSchema(): Schema {
  return { $schema: 'http://json-schema.org/draft-07/schema#', title: 'stage5 pipeline', ...pipeline.schema }
}

/** JSON Schema of `stages/strip.yaml`. */
export function stripSchema(): Schema {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'stage5 strip classes',
    ...stripClasses.schema,
  }
}
