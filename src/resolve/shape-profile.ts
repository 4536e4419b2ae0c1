/** The table of profiles: every key with its shape, its way of stacking, its default and its description. */
import {
  annotated,
  boolean,
  bytes,
  type Decoder,
  duration,
  list,
  object,
  objectSchema,
  oneOf,
  optional,
  refined,
  required,
  type Schema,
  type Shape,
  shortOrLong,
  type Source,
  string,
} from '../base/shape.ts'
import type { BootTest, DataSchema, KernelSpec, Profile } from './profile.ts'
import { dataArea, flagName, groupEntry, placeOf, request, service, user } from './shape-entries.ts'
import { type FileDraft, fileEntry } from './shape-files.ts'
import { gentooFields } from './shape-gentoo.ts'
import { initFields } from './shape-init.ts'
import { image } from './shape-images.ts'
import { dataSchema } from './shape-data-schema.ts'
import { guestTest } from './shape-tests.ts'
import { budget, config, DEFAULT_ROOT, ramRootOf, rootFields, rootKind } from './shape-memory.ts'
import { applyFields, type Field, group, scalar, stack, stackedMap, startOf } from './shape-layers.ts'
import {
  absolutePath,
  atom,
  glob,
  imageId,
  imageVersion,
  line,
  nameOfAtom,
  packageName,
  profileName,
  text,
  useFlag,
  withoutSlash,
  word,
  byteString,
} from './shape-words.ts'

/** A profile on the way: scripts as a map, files not yet read. */
export interface ProfileDraft extends Omit<Profile, 'name' | 'files' | 'scripts' | 'dataSchema'> {
  readonly dataSchema: DataSchema | undefined
  readonly files: readonly FileDraft[]
  readonly scripts: ReadonlyMap<string, string>
}

/** Keys that say how documents hang together; the loader reads them. */
export const STRUCTURE = ['stage5', 'parents', 'variants'] as const

const packageNames = stack(packageName(), { nameOf: String }, 'Packages whose Recommends hold.')

const recommends: Field<boolean | readonly string[]> = {
  schema: annotated(
    { anyOf: [boolean().schema, packageNames.schema] },
    'Debian Recommends: of every package (true), of none (false), or of these packages.',
    false,
  ),
  start: false,
  apply(before, node, to) {
    if (node.kind === 'list') return packageNames.apply(Array.isArray(before) ? before : [], node, to)
    if (node.kind === 'scalar' && node.value === null) return false
    return boolean().decode(node, to) ?? before
  },
}

const kernelFields = {
  modules: stack(
    string({ pattern: /^[A-Za-z0-9_-]+$/, expected: 'the name of a kernel module' }),
    { nameOf: (name) => name.replaceAll('-', '_'), removal: (name) => name.replaceAll('-', '_') },
    'Modules beside those that booting needs; what they depend on follows.',
  ),
  cmdline: stack(
    string({ pattern: /^[^\s]+$/, expected: 'one word of the kernel command line' }),
    { nameOf: String },
    'Words appended to the kernel command line.',
  ),
}

const NO_KERNEL: KernelSpec = { wanted: false, modules: [], cmdline: [] }

const kernel: Field<KernelSpec> = {
  schema: annotated(
    { anyOf: [{ const: 'none' }, objectSchema(kernelFields, [])] },
    'The kernel of the output: none, or a map (which may be empty) with modules and command line.',
    'none',
  ),
  start: NO_KERNEL,
  apply(before, node, to) {
    if (node.kind === 'scalar' && (node.value === null || node.value === 'none')) return NO_KERNEL
    const { modules, cmdline } = applyFields(
      kernelFields,
      { modules: before.modules, cmdline: before.cmdline },
      node,
      'none or a map with modules and cmdline',
      to,
    )
    return { wanted: true, modules, cmdline }
  },
}

const MIB = 1_048_576

const bootFields = {
  ready: scalar(line('one line of text'), 'stage5: ready', 'Console text that means the guest is up.'),
  memory: scalar(refined(bytes(), wholeMiB), 128, 'Memory of the test guest, such as 256M; default 128M.'),
  timeout: scalar(duration(), 60, 'How long the ready line may take, such as 60s.'),
}

const boot: Field<BootTest> = {
  schema: annotated(
    { anyOf: [rootKind.schema, objectSchema({ ...bootFields, ...rootFields }, [])] },
    'The boot test, and where the root of a guest lives; `boot: zram` is short for `boot: {root: zram}`.',
  ),
  start: { ready: 'stage5: ready', memory: 128, timeoutSeconds: 60 },
  apply(before, node, to) {
    if (node.kind === 'scalar' && node.value === null) return boot.start
    const { ready, memory, timeoutSeconds: timeout } = before
    const { kind, ...limits } = before.root ?? DEFAULT_ROOT
    const known = { ready, memory, timeout, root: kind, ...limits }
    const after =
      node.kind === 'scalar'
        ? { ...known, root: rootKind.decode(node, to) ?? kind }
        : applyFields(
            { ...bootFields, ...rootFields },
            known,
            node,
            'overlay, zram, tmpfs or a map with ready, memory, timeout, root, size, inodes and compressor',
            to,
          )
    const { size, inodes, compressor } = after
    return {
      ready: after.ready,
      memory: after.memory,
      timeoutSeconds: after.timeout,
      ...ramRootOf({ kind: after.root, size, inodes, compressor }),
    }
  },
}

/** Every key of a profile that has a value; `null` goes back to the default. */
const FIELDS: { readonly [K in keyof ProfileDraft]: Field<ProfileDraft[K]> } = {
  id: scalar(imageId(), '', 'IMAGE_ID; default: the name, with @ written -. Not inherited.'),
  version: scalar(imageVersion(), '', 'IMAGE_VERSION; default: made from the lock.'),
  description: scalar(text('a sentence'), '', 'What these guests are for. Not inherited.'),
  arch: scalar(
    oneOf('amd64', 'arm64', 'armhf', 'i386', 'ppc64el', 'riscv64', 's390x'),
    'amd64',
    "Architecture, in Debian's words.",
  ),
  repositories: stack(
    word('the name of a file in repos/'),
    { nameOf: String },
    'Files of repos/, without .yaml; the first is preferred.',
  ),
  packages: stack(
    request(),
    { nameOf: ({ atom }) => nameOfAtom(atom), removal: nameOfAtom, textOf: ({ atom }) => atom },
    'Packages wanted: `nginx`, `"libc6 (>= 2.36)"`, `app/shop: ^2.1` or {atom, use}; -nginx removes.',
  ),
  use: stack(
    useFlag(),
    { nameOf: flagName, negative: true },
    'USE flags that bind for every package: `ssl`, `-ldap`; a flag that is not named is free.',
  ),
  mask: stack(
    refined(atom(), (text, node, to) => ({ atom: text, where: placeOf(node, to) })),
    { nameOf: (item) => item.atom },
    'Packages that may not be chosen.',
  ),
  provided: stack(
    object('an entry such as {name: perl, reason: never run}', {
      name: required(packageName(), 'Package taken as present.'),
      version: optional(
        string({ plain: true, expected: 'a version' }),
        '',
        'Version it counts as; default: any.',
      ),
      reason: required(line('a reason'), 'Why the guests can do without it.'),
    }),
    { nameOf: ({ name }) => name },
    'Packages taken as present although none brings them.',
  ),
  recommends,
  ...gentooFields,
  strip: group(
    'a map with classes, keep and drop',
    {
      classes: stack(
        word('the name of a strip class'),
        { nameOf: String },
        'Classes of stages/strip.yaml that are removed.',
      ),
      keep: stack(glob(), { nameOf: String, removal: byteString }, 'Globs that no class may remove.'),
      drop: stack(glob(), { nameOf: String, removal: byteString }, 'Globs that are removed besides.'),
    },
    'What is taken out of the root.',
  ),
  allow: stack(
    object('an entry such as {path: /usr/lib/x.so, reason: never loaded}', {
      path: required(glob(), 'Glob over the path that has the finding.'),
      reason: required(line('a reason'), 'Why it does no harm.'),
    }),
    { nameOf: ({ path }) => path, removal: byteString },
    'Findings of the check after stripping that are accepted.',
  ),
  scripts: stackedMap(
    packageName(),
    line('a reason'),
    'Maintainer scripts that are acknowledged: package name to reason.',
  ),
  collisions: stack(
    object('an entry such as {path: /usr/bin/x, owner: pkg}', {
      path: required(absolutePath(), 'Path that several packages bring.'),
      owner: required(packageName(), 'Package whose file stays.'),
    }),
    { nameOf: ({ path }) => path, removal: (path) => byteString(withoutSlash(path)) },
    'Decisions between packages that bring one path.',
  ),
  users: stack(user(), { nameOf: ({ name }) => name }, 'Users beside those of the packages.'),
  groups: stack(groupEntry(), { nameOf: ({ name }) => name }, 'Groups beside those of the packages.'),
  files: stack(
    fileEntry(),
    { nameOf: ({ spec }) => spec.path, removal: (path) => byteString(withoutSlash(path)) },
    'Files, directories, symlinks and devices to add; they replace those of packages.',
  ),
  services: stack(service(), { nameOf: ({ name }) => name }, 'Services of the busybox init, in order.'),
  ...initFields,
  hostname: scalar(
    string({ pattern: /^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$/, expected: 'a host name' }),
    '',
    'Host name; default: the id.',
  ),
  timezone: scalar(
    string({
      pattern: /^[A-Za-z0-9_+-]+(\/[A-Za-z0-9_+-]+)*$/,
      expected: 'a time zone such as Europe/Berlin',
    }),
    'UTC',
    'Time zone of the guests.',
  ),
  network: scalar(
    oneOf('none', 'dhcp'),
    'none',
    'dhcp: the first ethernet is configured at boot; none: loopback only.',
  ),
  kernel,
  data: stack(dataArea(), { nameOf: ({ name }) => name }, 'Writable data areas, each an ext4 disk.'),
  dataSchema: scalar<DataSchema | undefined>(
    dataSchema,
    undefined,
    'Formats of the data that the software reads and writes: a guest is never led to what cannot read its data.',
  ),
  images: stack(
    image(),
    { nameOf: ({ format }) => format },
    'Images to write: a format, or {format, options}.',
  ),
  boot,
  memory: scalar(
    refined(bytes(), wholeMiB),
    0,
    'Memory that guests have, such as 128M: what does not fit is refused with the arithmetic.',
  ),
  budget,
  config,
  tests: stack(guestTest(), { nameOf: ({ name }) => name }, 'Boot tests that `stage5 test` runs.'),
  pipeline: scalar(
    word('the name of a file in stages/'),
    'default',
    'Pipeline: a file of stages/, without .yaml.',
  ),
}

function wholeMiB(size: number, node: Source, to: Decoder): number | undefined {
  if (size % MIB === 0) return size / MIB
  return to.report(node, `expected whole mebibytes such as 256M, found ${size} bytes`)
}

/** What a profile says that says nothing. */
export function emptyDraft(): ProfileDraft {
  return startOf(FIELDS) as ProfileDraft
}

/** One more document (or variant) on top of what is known. `nested` keys are those that the loader reads itself. */
export function applyProfile(
  before: ProfileDraft,
  node: Source,
  to: Decoder,
  nested: readonly string[],
): ProfileDraft {
  return applyFields(FIELDS, before, node, 'a map of profile keys', to, nested) as ProfileDraft
}

export function parentNames(): Shape<readonly string[]> {
  return shortOrLong(
    refined(profileName(), (name) => [name]),
    list(profileName()),
  )
}

/** JSON Schema of `profiles/*.yaml`. */
export function profileSchema(): Schema {
  const parents = annotated(
    parentNames().schema,
    'Profiles to start from, left to right; later ones win, this file wins over all.',
  )
  const variant = objectSchema({ parents: { schema: parents }, ...FIELDS }, [])
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'stage5 profile',
    ...objectSchema(
      {
        stage5: { schema: { description: 'Format of this file.', const: 1 } },
        parents: { schema: parents },
        ...FIELDS,
        variants: {
          schema: {
            description: 'Named variants: the same keys, applied last. Built as PROFILE@VARIANT.',
            type: 'object',
            propertyNames: word('').schema,
            additionalProperties: { $ref: '#/definitions/variant' },
          },
        },
      },
      [],
    ),
    definitions: { variant },
  }
}
