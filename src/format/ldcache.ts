/**
 * `/etc/ld.so.cache` in the format `glibc-ld.so.cache1.1`, which every glibc since 2.2 reads.
 *
 * Header (48 bytes): magic `glibc-ld.so.cache`, version `1.1`, number of entries, length of the strings, flags (2 for
 * little, 3 for big endian), offset of the extension area or 0. Entries of 24 bytes: flags, offset of the name, offset
 * of the path (both from the start of the file), one unused word, hwcap. Then the strings; then the extension area,
 * written when there are libraries in `glibc-hwcaps`: magic, number of sections, and of each section tag, flags, offset
 * and size. Section 1 holds the offsets of the names of those subdirectories, sorted.
 */
import type { Elf } from './elf.ts'

export interface LdCacheEntry {
  /** Name by which programs ask for it. */
  readonly name: string
  readonly path: string
  /** As `ldCacheFlags` gives them. */
  readonly flags: number
  /** Subdirectory of `glibc-hwcaps`, such as `x86-64-v3`. */
  readonly hwcaps?: string
}

const MAGIC = 'glibc-ld.so.cache1.1'
const HEADER = 48
const ENTRY = 24
const EXTENSION_MAGIC = 0xeaa42174
const TAG_HWCAPS = 1
/** DL_CACHE_HWCAP_EXTENSION, upper half: bit 62 marks an index into section 1. */
const HWCAP_EXTENSION = 0x40000000

/**
 * The kind of library as the loader of its architecture asks for it: 3 (libc6) and the required ABI in the second byte.
 * @returns undefined for machines that glibc does not know
 */
export function ldCacheFlags({ machine, bits, flags }: Elf): number | undefined {
  const libc6 = 3
  switch (machine) {
    case 3: // EM_386
    case 20: // EM_PPC
      return libc6
    case 62: // EM_X86_64; 32 bits is x32
      return libc6 | (bits === 64 ? 0x0300 : 0x0800)
    case 21: // EM_PPC64
      return libc6 | 0x0500
    case 22: // EM_S390
      return libc6 | (bits === 64 ? 0x0400 : 0)
    case 40: // EM_ARM; EF_ARM_ABI_FLOAT_HARD and _SOFT
      return libc6 | ((flags & 0x400) !== 0 ? 0x0900 : (flags & 0x200) !== 0 ? 0x0b00 : 0)
    case 183: // EM_AARCH64
      return libc6 | 0x0a00
    case 243: // EM_RISCV; EF_RISCV_FLOAT_ABI
      return libc6 | ((flags & 6) === 4 ? 0x1000 : (flags & 6) === 0 ? 0x0f00 : 0)
    case 258: // EM_LOONGARCH; the ABI modifier in the low bits
      return libc6 | ((flags & 7) === 3 ? 0x1200 : (flags & 7) === 1 ? 0x1100 : 0)
    default:
      return undefined
  }
}

/** Names as ldconfig orders them: runs of digits compare as numbers, and stand behind other characters. */
export function compareLibraryNames(left: string, right: string): number {
  let a = 0
  let b = 0
  while (a < left.length) {
    const one = left.charCodeAt(a)
    const two = right.charCodeAt(b)
    const oneDigit = isDigit(one)
    const twoDigit = isDigit(two)
    if (oneDigit && twoDigit) {
      let first = 0
      let second = 0
      while (isDigit(left.charCodeAt(a))) first = first * 10 + left.charCodeAt(a++) - 48
      while (isDigit(right.charCodeAt(b))) second = second * 10 + right.charCodeAt(b++) - 48
      if (first !== second) return first - second
    } else if (oneDigit) return 1
    else if (twoDigit) return -1
    else if (one !== two) return one - (Number.isNaN(two) ? 0 : two)
    else {
      a++
      b++
    }
  }
  return b < right.length ? -right.charCodeAt(b) : 0
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57
}

/**
 * The cache file. Entries are sorted here as the loader's binary search demands: names descending, then flags
 * descending, then those of `glibc-hwcaps` before others; equal ones keep their order, and the loader takes the first.
 */
export function writeLdCache(entries: readonly LdCacheEntry[], littleEndian = true): Uint8Array {
  const sorted = entries.toSorted(compareEntries)
  const subdirectories = [
    ...new Set(entries.flatMap(({ hwcaps }) => (hwcaps === undefined ? [] : [hwcaps]))),
  ].sort()
  const strings = stringTable(HEADER + ENTRY * sorted.length)
  const rows = sorted.map(({ name, path, flags, hwcaps }) => ({
    flags,
    path: strings.add(path),
    name: path.endsWith(`/${name}`) ? strings.add(path) + path.length - name.length : strings.add(name),
    hwcaps: hwcaps === undefined ? -1 : subdirectories.indexOf(hwcaps),
  }))
  const subdirectoryNames = subdirectories.map((name) => strings.add(name))
  const text = strings.bytes()
  const extension = Math.ceil((HEADER + ENTRY * rows.length + text.length) / 4) * 4
  const hwcapsAt = extension + 8 + 16
  const out = Buffer.alloc(subdirectories.length > 0 ? hwcapsAt + 4 * subdirectories.length : strings.end())
  const put = (value: number, at: number): void =>
    void (littleEndian ? out.writeUInt32LE(value, at) : out.writeUInt32BE(value, at))
  out.write(MAGIC, 0, 'latin1')
  put(rows.length, 20)
  put(text.length, 24)
  out[28] = littleEndian ? 2 : 3
  put(subdirectories.length > 0 ? extension : 0, 32)
  for (const [index, row] of rows.entries()) {
    const at = HEADER + ENTRY * index
    put(row.flags, at)
    put(row.name, at + 4)
    put(row.path, at + 8)
    if (row.hwcaps < 0) continue
    put(row.hwcaps, at + (littleEndian ? 16 : 20))
    put(HWCAP_EXTENSION, at + (littleEndian ? 20 : 16))
  }
  text.copy(out, HEADER + ENTRY * rows.length)
  if (subdirectories.length > 0) {
    const words = [
      EXTENSION_MAGIC,
      1,
      TAG_HWCAPS,
      0,
      hwcapsAt,
      4 * subdirectories.length,
      ...subdirectoryNames,
    ]
    for (const [index, word] of words.entries()) put(word, extension + 4 * index)
  }
  return out
}

function compareEntries(left: LdCacheEntry, right: LdCacheEntry): number {
  const names = compareLibraryNames(right.name, left.name)
  if (names !== 0) return names
  if (left.flags !== right.flags) return right.flags - left.flags
  const [one, two] = [left.hwcaps, right.hwcaps]
  if (one === two) return 0
  if (one === undefined || two === undefined) return one === undefined ? 1 : -1
  return one < two ? -1 : 1
}

/** Strings ended by NUL, each once; `start` is the offset of the first in the file. */
function stringTable(start: number): { add(text: string): number; bytes(): Buffer; end(): number } {
  const known = new Map<string, number>()
  let end = start
  return {
    add: (text) => {
      const found = known.get(text)
      if (found !== undefined) return found
      known.set(text, end)
      end += text.length + 1
      return end - text.length - 1
    },
    bytes: () => Buffer.from([...known.keys()].map((text) => `${text}\0`).join(''), 'latin1'),
    end: () => end,
  }
}
