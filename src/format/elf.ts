/** What a loader must know of an ELF file: what it is, what it needs and what it brings. Never what it does. */

/** Entry of the section header table. */
export interface ElfSection {
  readonly name: string
  /** sh_type: 1 PROGBITS, 2 SYMTAB, 3 STRTAB, 7 NOTE, 8 NOBITS. */
  readonly type: number
  readonly offset: number
  readonly size: number
  readonly link: number
}

/** One entry of a `.note.dlopen`: libraries that the file opens at run time when they are there. */
interface DlopenNote {
  readonly feature: string
  readonly priority: 'required' | 'recommended' | 'suggested'
  /** Any one of them will do; the first is preferred. */
  readonly sonames: readonly string[]
}

export interface Elf {
  readonly bits: 32 | 64
  readonly littleEndian: boolean
  /** e_machine: 3 i386, 40 ARM, 62 x86-64, 183 AArch64, 243 RISC-V. */
  readonly machine: number
  /** e_flags; holds the float ABI on ARM and RISC-V. */
  readonly flags: number
  readonly type: 'relocatable' | 'executable' | 'shared' | 'core' | 'other'
  /** PT_INTERP. */
  readonly interpreter: string | undefined
  /** Whether there is a dynamic section. */
  readonly dynamic: boolean
  readonly soname: string | undefined
  /** DT_NEEDED in order. */
  readonly needed: readonly string[]
  /** DT_RPATH and DT_RUNPATH, split at `:`, as written. */
  readonly rpath: readonly string[]
  readonly runpath: readonly string[]
  readonly dlopen: readonly DlopenNote[]
  /** Hex; undefined when there is none. */
  readonly buildId: string | undefined
  /** Those of the symbols asked for that are names in the dynamic symbol table, defined or not. */
  readonly mentions: readonly string[]
  /** Whether the headers point outside the bytes: a prefix, a damaged file, or one of debug data only. */
  readonly truncated: boolean
}

const MAX_SECTIONS = 65_535
const MAX_DYNAMIC = 8192
const MAX_STRING = 4096
const MAX_NOTE = 65_536
/** Notes looked at in one file; a build has fewer than 20. */
const MAX_NOTES = 1024

interface Reader {
  readonly bytes: Buffer
  readonly bits: 32 | 64
  readonly little: boolean
  u16(at: number): number
  u32(at: number): number
  /** Elf32_Word or Elf64_Xword; values above 2^53 come out beyond any file. */
  word(at: number): number
  truncated: boolean
}

/**
 * Reads the headers of an ELF file.
 *
 * Whatever the bytes hold, reading ends in time linear in their number: tables are bounded by what is there.
 * @param symbols names to look for; `mentions` tells which are there
 * @returns undefined when the bytes are no ELF file (or shorter than its header)
 * @see System V gABI, chapters 4 and 5; UAPI.10 for the `.note.dlopen` notes
 */
export function parseElf(bytes: Uint8Array, symbols: readonly string[] = []): Elf | undefined {
  const reader = readerOf(bytes)
  if (!reader) return undefined
  const segments = programHeaders(reader)
  const dynamicSegment = segments.find(({ type }) => type === 2)
  const dynamic = dynamicSegment ? readDynamic(reader, dynamicSegment, segments) : undefined
  const interpreter = segments.find(({ type }) => type === 3)
  const notes = segments.filter(({ type }) => type === 4)
  const places = segments.length > 0 ? notes : elfSections(bytes).filter(({ type }) => type === 7)
  const { dlopen, buildId } = readNotes(reader, places)
  const types = ['other', 'relocatable', 'executable', 'shared', 'core'] as const
  return {
    bits: reader.bits,
    littleEndian: reader.little,
    machine: reader.u16(18),
    flags: reader.u32(reader.bits === 64 ? 48 : 36),
    type: types[reader.u16(16)] ?? 'other',
    interpreter: interpreter && textAt(reader, interpreter.offset, interpreter.offset + interpreter.size),
    dynamic: dynamicSegment !== undefined,
    soname: dynamic?.soname,
    needed: dynamic?.needed ?? [],
    rpath: dynamic?.rpath ?? [],
    runpath: dynamic?.runpath ?? [],
    dlopen,
    buildId,
    mentions: symbols.filter((symbol) => dynamic?.strings.includes(`\0${symbol}\0`, 0, 'latin1')),
    truncated: reader.truncated,
  }
}

/** The section header table; empty when it lies outside the bytes or the bytes are no ELF file. */
export function elfSections(bytes: Uint8Array): readonly ElfSection[] {
  const reader = readerOf(bytes)
  if (!reader) return []
  const wide = reader.bits === 64
  const start = reader.word(wide ? 40 : 32)
  const size = reader.u16(wide ? 58 : 46)
  if (start === 0 || size < (wide ? 64 : 40) || start + size > bytes.length) return []
  const at = (index: number): Omit<ElfSection, 'name'> & { readonly nameAt: number } => {
    const base = start + index * size
    return {
      nameAt: reader.u32(base),
      type: reader.u32(base + 4),
      offset: reader.word(base + (wide ? 24 : 16)),
      size: reader.word(base + (wide ? 32 : 20)),
      link: reader.u32(base + (wide ? 40 : 24)),
    }
  }
  // e_shnum 0 and e_shstrndx 0xffff: the true values are in section 0 (gABI, "Section Header Table")
  const count = reader.u16(wide ? 60 : 48) || at(0).size
  const namesIndex = reader.u16(wide ? 62 : 50)
  const fitting = Math.min(count, MAX_SECTIONS, Math.floor((bytes.length - start) / size))
  const raw = Array.from({ length: fitting }, (_, index) => at(index))
  const names = raw[namesIndex === 0xffff ? (raw[0]?.link ?? 0) : namesIndex]
  const end = names ? names.offset + names.size : 0
  return raw.map(({ nameAt, ...section }) => ({
    name: (names && textAt(reader, names.offset + nameAt, end)) ?? '',
    ...section,
  }))
}

/** The bytes of a section: undefined when it has none, or when they are not all there. */
export function sectionBytes(bytes: Uint8Array, section: ElfSection): Uint8Array | undefined {
  if (section.type === 8 || section.offset + section.size > bytes.length) return undefined
  return bytes.subarray(section.offset, section.offset + section.size)
}

/** Whether the bytes begin as every ELF file does. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46
}

function readerOf(bytes: Uint8Array): Reader | undefined {
  const wide = bytes[4] === 2
  const little = bytes[5] === 1
  if (!isElf(bytes) || bytes.length < (wide ? 64 : 52)) return undefined
  if ((bytes[4] !== 1 && !wide) || (bytes[5] !== 2 && !little)) return undefined
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const u32 = (at: number): number => {
    if (at + 4 > buffer.length) return 0
    return little ? buffer.readUInt32LE(at) : buffer.readUInt32BE(at)
  }
  return {
    bytes: buffer,
    bits: wide ? 64 : 32,
    little,
    truncated: false,
    u32,
    u16: (at) => (at + 2 > buffer.length ? 0 : little ? buffer.readUInt16LE(at) : buffer.readUInt16BE(at)),
    word: (at) => {
      if (!wide) return u32(at)
      return little ? u32(at) + u32(at + 4) * 2 ** 32 : u32(at) * 2 ** 32 + u32(at + 4)
    },
  }
}

interface Segment {
  /** p_type: 1 LOAD, 2 DYNAMIC, 3 INTERP, 4 NOTE. */
  readonly type: number
  readonly offset: number
  readonly address: number
  readonly size: number
}

function programHeaders(reader: Reader): readonly Segment[] {
  const wide = reader.bits === 64
  const start = reader.word(wide ? 32 : 28)
  const size = reader.u16(wide ? 54 : 42)
  const count = reader.u16(wide ? 56 : 44)
  if (count === 0 || size < (wide ? 56 : 32)) return []
  const fitting = Math.max(0, Math.min(count, Math.floor((reader.bytes.length - start) / size)))
  if (fitting < count) reader.truncated = true
  return Array.from({ length: fitting }, (_, index) => {
    const base = start + index * size
    return {
      type: reader.u32(base),
      offset: reader.word(base + (wide ? 8 : 4)),
      address: reader.word(base + (wide ? 16 : 8)),
      size: reader.word(base + (wide ? 32 : 16)),
    }
  })
}

interface Dynamic {
  readonly strings: Buffer
  readonly soname: string | undefined
  readonly needed: readonly string[]
  readonly rpath: readonly string[]
  readonly runpath: readonly string[]
}

function readDynamic(reader: Reader, segment: Segment, segments: readonly Segment[]): Dynamic | undefined {
  const step = reader.bits / 4
  const entries = new Map<number, number[]>()
  const end = Math.min(segment.offset + segment.size, reader.bytes.length)
  if (end < segment.offset + segment.size) reader.truncated = true
  for (let at = segment.offset, seen = 0; at + step <= end && seen < MAX_DYNAMIC; at += step, seen++) {
    const tag = reader.word(at)
    if (tag === 0) break
    const known = entries.get(tag)
    const value = reader.word(at + step / 2)
    if (known) known.push(value)
    else entries.set(tag, [value])
  }
  const one = (tag: number): number | undefined => entries.get(tag)?.[0]
  const start = fileOffset(segments, one(5) ?? -1)
  if (start === undefined) {
    if (entries.size > 0) reader.truncated = true
    return undefined
  }
  const stop = start + (one(10) ?? 0)
  if (stop > reader.bytes.length) reader.truncated = true
  const text = (offset: number): string | undefined => textAt(reader, start + offset, stop)
  const path = (tag: number): readonly string[] => {
    const offset = one(tag)
    return offset === undefined ? [] : (text(offset) ?? '').split(':').filter((part) => part !== '')
  }
  const soname = one(14)
  return {
    strings: reader.bytes.subarray(start, stop),
    soname: soname === undefined ? undefined : text(soname),
    needed: (entries.get(1) ?? []).map(text).filter((name) => name !== undefined && name !== '') as string[],
    rpath: path(15),
    runpath: path(29),
  }
}

function fileOffset(segments: readonly Segment[], address: number): number | undefined {
  for (const { type, offset, address: start, size } of segments)
    if (type === 1 && address >= start && address < start + size) return address - start + offset
  return undefined
}

/** The NUL-terminated byte string at `at`, which must end before `end`. */
function textAt(reader: Reader, at: number, end: number): string | undefined {
  const limit = Math.min(end, reader.bytes.length, at + MAX_STRING)
  if (at < 0 || at >= limit) {
    if (at < end) reader.truncated = true
    return undefined
  }
  const stop = reader.bytes.subarray(at, limit).indexOf(0)
  if (stop >= 0) return reader.bytes.toString('latin1', at, at + stop)
  reader.truncated = true
  return undefined
}

function readNotes(
  reader: Reader,
  places: readonly { readonly offset: number; readonly size: number }[],
): { dlopen: readonly DlopenNote[]; buildId: string | undefined } {
  const dlopen: DlopenNote[] = []
  let buildId: string | undefined
  let seen = 0
  for (const { offset, size } of places) {
    const end = Math.min(offset + size, reader.bytes.length)
    if (end < offset + size) reader.truncated = true
    for (let at = offset; at + 12 <= end && seen < MAX_NOTES; seen++) {
      const nameSize = reader.u32(at)
      const bodySize = reader.u32(at + 4)
      const type = reader.u32(at + 8)
      const body = at + 12 + Math.ceil(nameSize / 4) * 4
      if (body + bodySize > end) break
      const owner = reader.bytes.toString('latin1', at + 12, at + 12 + Math.min(nameSize, 4))
      const bytes = reader.bytes.subarray(body, body + bodySize)
      if (owner === 'GNU\0' && type === 3 && bodySize <= 64) buildId ??= bytes.toString('hex')
      if (owner === 'FDO\0' && type === 0x407c0c0a && bodySize <= MAX_NOTE) dlopen.push(...dlopenNotes(bytes))
      at = body + Math.ceil(bodySize / 4) * 4
    }
  }
  return { dlopen, buildId }
}

function dlopenNotes(bytes: Buffer): DlopenNote[] {
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8').replace(/\0+$/, ''))
  } catch {
    return []
  }
  if (!Array.isArray(value)) return []
  return value.flatMap((item: unknown) => {
    if (item === null || typeof item !== 'object') return []
    const { feature, priority, soname } = item as { [key: string]: unknown }
    const sonames = Array.isArray(soname) ? soname.filter((name) => typeof name === 'string') : []
    if (sonames.length === 0) return []
    const known = priority === 'required' || priority === 'suggested' ? priority : 'recommended'
    return [{ feature: typeof feature === 'string' ? feature : '', priority: known, sonames }]
  })
}
