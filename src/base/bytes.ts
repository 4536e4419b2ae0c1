/** Little-endian structs over bytes, described once as tables of fields that writers, readers and dumps share. */

/** Width of a field. `u64` holds whole numbers up to 2^53 - 1, and -1 for all bits set, the usual "absent". */
type FieldKind = 'u8' | 'u16' | 'i16' | 'u32' | 'i32' | 'u64'

/** Name, offset from the start of the struct in bytes, width. */
type Field<F extends string = string> = readonly [name: F, offset: number, kind: FieldKind]

/** Fields in the order of their offsets. */
export type Struct<F extends string = string> = readonly Field<F>[]

const WIDTH = { u8: 1, u16: 2, i16: 2, u32: 4, i32: 4, u64: 8 } as const

/** Bytes from the start of the struct to the end of its last field. */
export function sizeOf(struct: Struct): number {
  const last = struct.at(-1)
  return last ? last[1] + WIDTH[last[2]] : 0
}

/** A `Buffer` over the same memory: the fast accessors of Node. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** @throws RangeError when the field lies outside `bytes`, or a `u64` is too large for a number */
export function readField(bytes: Buffer, at: number, kind: FieldKind): number {
  switch (kind) {
    case 'u8':
      return bytes.readUInt8(at)
    case 'u16':
      return bytes.readUInt16LE(at)
    case 'i16':
      return bytes.readInt16LE(at)
    case 'u32':
      return bytes.readUInt32LE(at)
    case 'i32':
      return bytes.readInt32LE(at)
    case 'u64': {
      const low = bytes.readUInt32LE(at)
      const high = bytes.readUInt32LE(at + 4)
      if (low === 0xffffffff && high === 0xffffffff) return -1
      if (high >= 0x200000) throw new RangeError(`u64 at ${at} is above 2^53`)
      return high * 0x100000000 + low
    }
  }
}

/** @throws RangeError when the value does not fit the field or the field does not fit the bytes */
export function writeField(bytes: Buffer, at: number, kind: FieldKind, value: number): void {
  switch (kind) {
    case 'u8':
      bytes.writeUInt8(value, at)
      return
    case 'u16':
      bytes.writeUInt16LE(value, at)
      return
    case 'i16':
      bytes.writeInt16LE(value, at)
      return
    case 'u32':
      bytes.writeUInt32LE(value, at)
      return
    case 'i32':
      bytes.writeInt32LE(value, at)
      return
    case 'u64':
      if (value !== -1 && (value < 0 || !Number.isSafeInteger(value)))
        throw new RangeError(`${value} is not a u64`)
      bytes.writeUInt32LE(value === -1 ? 0xffffffff : value % 0x100000000, at)
      bytes.writeUInt32LE(value === -1 ? 0xffffffff : Math.floor(value / 0x100000000), at + 4)
      return
  }
}

/** @throws RangeError as `readField` */
export function readStruct<F extends string>(
  struct: Struct<F>,
  bytes: Buffer,
  at: number,
): { readonly [field in F]: number } {
  const values: { [field: string]: number } = {}
  for (const [name, offset, kind] of struct) values[name] = readField(bytes, at + offset, kind)
  return values as { [field in F]: number }
}

/** @throws RangeError as `writeField` */
export function writeStruct<F extends string>(
  struct: Struct<F>,
  values: { readonly [field in F]: number },
  bytes: Buffer,
  at: number,
): void {
  for (const [name, offset, kind] of struct) writeField(bytes, at + offset, kind, values[name])
}

/** The smallest multiple of `unit` that is not below `length`. */
export function alignUp(length: number, unit: number): number {
  return Math.ceil(length / unit) * unit
}
