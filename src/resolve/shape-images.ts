/** The images of a profile: formats, and the options that each of them takes. */
import {
  boolean,
  bytes,
  describe,
  integer,
  object,
  oneOf,
  optional,
  refined,
  required,
  type Shape,
  shortOrLong,
  string,
} from '../base/shape.ts'
import type { ImageSpec } from './profile.ts'
import { word } from './shape-words.ts'

const SQUASHFS = ['codec', 'level', 'blockSize', 'exports', 'xattrs']
const DISK = ['esp', 'root', 'firmware']
const EXTENSION = ['type', 'name', 'os', 'osVersion', 'osLevel', 'over', ...SQUASHFS]

/** Which options a format takes. A format that is not here is refused by `build`, which knows what this version writes. */
const OPTIONS: { readonly [format: string]: readonly string[] } = {
  squashfs: ['base', ...SQUASHFS],
  erofs: ['base'],
  verity: [],
  dir: [],
  tar: [],
  oci: [],
  kernel: [],
  initrd: [],
  netboot: [],
  uki: [],
  disk: DISK,
  qcow2: DISK,
  vhd: DISK,
  containerdisk: DISK,
  sysext: EXTENSION,
  confext: EXTENSION,
}

/** Formats of one and the same disk: what one of them says of it holds for all. */
export const DISK_FORMATS: readonly string[] = ['disk', 'qcow2', 'vhd', 'containerdisk']

const fields = {
  codec: optional(oneOf('zstd', 'gzip'), undefined, 'squashfs: compressor.'),
  level: optional(integer(1, 22), undefined, 'squashfs: level of the compressor.'),
  blockSize: optional(bytes(), undefined, 'squashfs: bytes of a block, such as 128K.'),
  exports: optional(boolean(), undefined, 'squashfs: whether NFS export tables are written.'),
  xattrs: optional(boolean(), undefined, 'squashfs: whether extended attributes are written.'),
  base: optional(
    boolean(),
    undefined,
    'squashfs or erofs: whether this one is the base of the guests, when both are written; default: squashfs is.',
  ),
  esp: optional(bytes(), undefined, 'Disk: size of the EFI system partition; default: room for two kernels.'),
  root: optional(
    bytes(),
    undefined,
    'Disk: size of each of the two root partitions; default: one and a quarter of the base.',
  ),
  firmware: optional(oneOf('both', 'uefi', 'bios'), undefined, 'Disk: what starts it; default: both.'),
  type: optional(
    oneOf('squashfs', 'erofs'),
    undefined,
    'sysext, confext: file system of the image; default: squashfs.',
  ),
  name: optional(
    word('a name of a-z 0-9 . _ -'),
    undefined,
    'sysext, confext: name of the extension and of its file on the host, without .raw; default: the id.',
  ),
  os: optional(
    string({ pattern: /^(?:_any|[a-z0-9._-]+)$/, expected: 'an ID of os-release, or _any' }),
    undefined,
    'sysext, confext: ID of the hosts; default: that of the root.',
  ),
  osVersion: optional(
    string({ pattern: /^[a-z0-9._-]+$/, plain: true, expected: 'a VERSION_ID of os-release' }),
    undefined,
    'sysext, confext: VERSION_ID of the hosts; default: that of the root.',
  ),
  osLevel: optional(
    string({ pattern: /^[a-z0-9._-]+$/, plain: true, expected: 'a level such as 1.0' }),
    undefined,
    'sysext, confext: SYSEXT_LEVEL or CONFEXT_LEVEL of the hosts, instead of a VERSION_ID.',
  ),
  over: optional(
    word('the id of a build in out/'),
    undefined,
    'sysext, confext: id of the newest build that this extends; what that has already is left out.',
  ),
}

export function image(): Shape<ImageSpec> {
  const format = word('a format such as squashfs')
  const long = object('an image such as {format: squashfs, level: 15}', {
    format: required(format, 'Format of the image.'),
    ...fields,
  })
  return shortOrLong(
    refined(format, (name) => ({ format: name, options: {} })),
    refined(long, ({ format: name, ...options }, node, to) => {
      const given = Object.entries(options).filter(([, value]) => value !== undefined)
      const known = OPTIONS[name]
      const members = node.kind === 'map' ? node.members : []
      const strange = members.filter(({ key }) => key !== 'format' && known && !known.includes(key))
      for (const { key, at } of strange) to.report(at, notFor(name, key))
      const ofGzip = members.find(({ key }) => key === 'level')
      if (ofGzip && options.codec === 'gzip' && (options.level ?? 0) > 9)
        to.report(ofGzip.value, `expected a level from 1 to 9 for gzip, found ${describe(ofGzip.value)}`)
      if (options.os === '_any' && (options.osVersion ?? options.osLevel) !== undefined)
        to.report(node, 'an extension for any ID has no version: leave osVersion and osLevel out')
      return strange.length > 0 ? undefined : { format: name, options: Object.fromEntries(given) }
    }),
  )
}

function notFor(format: string, key: string): string {
  const takes = OPTIONS[format] ?? []
  const others = Object.keys(OPTIONS).filter((each) => OPTIONS[each]?.includes(key))
  return (
    `the format ${format} has no option ${JSON.stringify(key)}: ` +
    `${takes.length === 0 ? 'it takes none' : `it takes ${takes.join(', ')}`}; ` +
    `${key} belongs to ${others.join(', ')}`
  )
}

/** What is wrong with these images together. */
export function imageProblems(images: readonly ImageSpec[]): readonly string[] {
  const problems: string[] = []
  const bases = images.filter(({ options }) => options['base'] === true).map(({ format }) => format)
  if (bases.length > 1)
    problems.push(`expected one image with base: true, found ${bases.join(' and ')}: guests have one base`)
  const disks = images.filter(({ format }) => DISK_FORMATS.includes(format))
  for (const key of DISK) {
    const said = disks.filter(({ options }) => options[key] !== undefined)
    const [first, ...rest] = said
    const other = rest.find(({ options }) => options[key] !== first?.options[key])
    if (first && other)
      problems.push(
        `${first.format} and ${other.format} are formats of one disk: expected one ${key} for both, ` +
          `found ${JSON.stringify(first.options[key])} and ${JSON.stringify(other.options[key])}`,
      )
  }
  return problems
}
