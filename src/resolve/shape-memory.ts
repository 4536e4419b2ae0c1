/** Keys about memory and sizes: where the guest's root lives, what outputs may weigh, and which config is trusted. */
import { annotated, bytes, integer, objectSchema, oneOf, refined, type Shape, string } from '../base/shape.ts'
import type { ConfigSpec, RamRoot } from './profile.ts'
import { type Field, group, scalar, stack } from './shape-layers.ts'

/** What a budget may limit: an output by its format, and what boots together. */
const BUDGETS: { readonly [output: string]: string } = {
  base: 'Read-only image that guests run on.',
  kernel: 'Kernel image.',
  initrd: 'Initramfs.',
  total: 'Kernel, initramfs and base.',
  'one-initrd': 'Initramfs and base in one file.',
  disk: 'Raw disk.',
  qcow2: 'Disk as qcow2.',
  vhd: 'Disk as VHD.',
  tar: 'Root as tar.',
}

export const rootKind: Shape<RamRoot['kind']> = oneOf('overlay', 'zram', 'tmpfs')

/** Members of `boot:` beside the boot test. */
export const rootFields: {
  readonly root: Field<RamRoot['kind']>
  readonly size: Field<number>
  readonly inodes: Field<number>
  readonly compressor: Field<RamRoot['compressor']>
} = {
  root: scalar(
    rootKind,
    'overlay',
    'What guests write to: overlay (base read-only, changes in tmpfs), zram or tmpfs (the whole root in memory).',
  ),
  size: scalar(bytes(), 0, 'Most that the root (overlay: the changes) may take; default: see stage5 plan.'),
  inodes: scalar(integer(1, 0x7fffffff), 0, 'Overlay and tmpfs: most files that may be made.'),
  compressor: scalar(
    oneOf('lzo-rle', 'lzo', 'lz4', 'zstd'),
    'lzo-rle',
    'zram: how memory is compressed; zstd is the smallest, lzo-rle and lz4 are the fastest.',
  ),
}

export const DEFAULT_ROOT: RamRoot = { kind: 'overlay', size: 0, inodes: 0, compressor: 'lzo-rle' }

/** The default is left out, so that a profile that says nothing has nothing. */
export function ramRootOf(root: RamRoot): { readonly root?: RamRoot } {
  const { kind, size, inodes, compressor } = root
  return kind === 'overlay' && size === 0 && inodes === 0 && compressor === 'lzo-rle' ? {} : { root }
}

/** 32 bytes of Ed25519 in hexadecimal, read from PEM or from the base64 inside it (RFC 8410, 4). */
function publicKey(): Shape<string> {
  const expected = 'an Ed25519 public key as `stage5 key` writes it (PEM, or its base64)'
  return refined(string({ expected }), (text, node, to) => {
    const body = text.replace(/-----(?:BEGIN|END) PUBLIC KEY-----/g, '').replace(/\s+/g, '')
    const der = Buffer.from(body, 'base64').toString('hex')
    const found = /^302a300506032b6570032100([0-9a-f]{64})$/.exec(der)
    return found ? (found[1] as string) : to.report(node, `expected ${expected}`)
  })
}

export const config: Field<ConfigSpec> = group(
  'a map with keys, mode and urls',
  {
    keys: stack(
      publicKey(),
      { nameOf: String, negative: true },
      'Public keys whose config packages guests apply.',
    ),
    mode: scalar(
      oneOf('immutable', 'ephemeral', 'persistent'),
      'ephemeral' as const,
      'ephemeral: applied at every start; immutable: and the root is read-only after that; persistent: kept on the first data disk, applied even when the server is away.',
    ),
    urls: stack(
      string({ pattern: /^http:\/\/[^\s]+$/, expected: 'an address such as http://10.0.2.2/site.tar.gz' }),
      { nameOf: String },
      'Config packages, in order; stage5.config= on the kernel command line or in a seed replaces them.',
    ),
  },
  'Config packages: signed changes that a guest fetches over HTTP once its network is up.',
) as Field<ConfigSpec>

/** Sizes in bytes by name of an output. */
export const budget: Field<{ readonly [output: string]: number }> = {
  schema: annotated(
    objectSchema(
      Object.fromEntries(
        Object.entries(BUDGETS).map(([name, what]) => [name, { schema: annotated(bytes().schema, what) }]),
      ),
      [],
    ),
    'Most that outputs may weigh, such as {base: 20M, total: 40M}; total is kernel, initrd and base.',
  ),
  start: {},
  apply(before, node, to) {
    if (node.kind === 'scalar' && node.value === null) return {}
    if (node.kind !== 'map') {
      to.report(node, 'expected a map such as {base: 20M}')
      return before
    }
    const after: { [output: string]: number } = { ...before }
    for (const { key, value, at } of node.members) {
      if (!Object.hasOwn(BUDGETS, key)) {
        to.report(at, `unknown key ${JSON.stringify(key)}; known: ${Object.keys(BUDGETS).join(', ')}`)
        continue
      }
      if (value.kind === 'scalar' && value.value === null) delete after[key]
      else after[key] = bytes().decode(value, to) ?? (before[key] as number)
    }
    return after
  },
}
