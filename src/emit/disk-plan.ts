/**
 * What a disk that starts by itself consists of: an EFI system partition, two slots for the root with their hash trees
 * (the second one empty until the first update), and the data areas.
 */
import { alignUp } from '../base/bytes.ts'
import { Stage5Error } from '../base/errors.ts'
import {
  ATTRIBUTE,
  type GptLayout,
  gptLayout,
  LABEL_MAX,
  MIB,
  type Partition,
  PARTITION_TYPES,
} from '../format/gpt.ts'
import { seededUuid } from './data-disk.ts'

export { type GptLayout, MIB }

/** Bytes of a root slot for each of the base, by default: all of them are hashed, stored and published, zeros too. */
const SLOT = 1.25

interface DiskContent {
  readonly arch: string
  /** `<id>_<version>`: label of the root (UAPI.2). */
  readonly stem: string
  /** Decides every GUID that the root hash does not decide. */
  readonly seed: string
  /** 64 hex digits. */
  readonly rootHash: string
  /** Bytes. */
  readonly esp: number
  readonly base: number
  /** Bytes of each root slot; default: `SLOT` times the base. */
  readonly slot?: number
  readonly data: readonly { readonly label: string; readonly size: number }[]
  /** Code for the MBR of disks that a BIOS can start. */
  readonly bootCode?: Uint8Array
}

/** Labels by which the initramfs finds base and hash tree. */
export function diskLabels(stem: string): { readonly root: string; readonly verity: string } {
  return { root: stem, verity: `${stem}_verity` }
}

/**
 * The partitions in order: ESP, root A, verity A, root B, verity B, data areas.
 * @throws S5_IMAGE_INPUT
 */
export function planDisk(content: DiskContent): GptLayout {
  const { arch, stem, seed, rootHash, esp, base, data, bootCode } = content
  if (arch !== 'amd64' && arch !== 'arm64')
    throw input(`expected the architecture amd64 or arm64, found ${arch}`)
  const types = PARTITION_TYPES[arch]
  const labels = diskLabels(stem)
  if (labels.verity.length > LABEL_MAX)
    throw input(
      `expected an id and version that make a label of at most ${LABEL_MAX}, found ${labels.verity}`,
    )
  const slot = alignUp(content.slot ?? SLOT * base, MIB)
  if (slot < base) throw input(`the base of ${base} bytes does not fit into root slots of ${slot}`)
  const tree = alignUp(slot / 64 + 65_536, MIB)
  const guid = (name: string): string => seededUuid(seed, `partition ${name}`)
  const fixed = [ATTRIBUTE.readOnly]
  const partitions: Partition[] = [
    {
      type: PARTITION_TYPES.esp,
      guid: guid('esp'),
      label: 'esp',
      size: esp,
      attributes: bootCode ? [ATTRIBUTE.legacyBoot] : [],
    },
    // UAPI.2: the partitions carry the first and the last 128 bits of the root hash.
    {
      type: types.root,
      guid: hashGuid(rootHash.slice(0, 32)),
      label: labels.root,
      size: slot,
      attributes: fixed,
    },
    {
      type: types.verity,
      guid: hashGuid(rootHash.slice(32)),
      label: labels.verity,
      size: tree,
      attributes: fixed,
    },
    { type: types.root, guid: guid('root b'), label: '_empty', size: slot, attributes: fixed },
    { type: types.verity, guid: guid('verity b'), label: '_empty', size: tree, attributes: fixed },
    ...data.map(({ label, size }) => ({
      type: PARTITION_TYPES.linux,
      guid: guid(`data ${label}`),
      label,
      size,
      attributes: [ATTRIBUTE.growFileSystem],
    })),
  ]
  return gptLayout(seededUuid(seed, 'disk'), partitions, bootCode)
}

function hashGuid(hex: string): string {
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

function input(message: string): Stage5Error {
  return new Stage5Error('S5_IMAGE_INPUT', `disk: ${message}`, { data: { format: 'disk' } })
}
