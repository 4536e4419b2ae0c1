/** What a kernel module says about itself: the `.modinfo` section, and the symbols that it exports. */
import { bufferOf } from '../base/bytes.ts'
import { type ElfSection, elfSections, sectionBytes } from './elf.ts'

export interface Modinfo {
  /** As `name=` says; '' where the field is missing (before Linux 4.13). */
  readonly name: string
  /** Modules whose symbols it uses, as modpost found them. */
  readonly depends: readonly string[]
  /** Patterns of devices and names that it serves, in the order of the section. */
  readonly aliases: readonly string[]
  /** Lines such as `pre: crc32c`, in the order of the section. */
  readonly softdeps: readonly string[]
  readonly firmware: readonly string[]
  readonly vermagic: string
  /** Exported symbols, sorted by bytes. */
  readonly exports: readonly string[]
  /** Symbols that it takes from the kernel and from other modules, in the order of its symbol table. */
  readonly imports: readonly string[]
}

/**
 * Reads a module that is not compressed.
 * @returns undefined when the bytes are no ELF file with a `.modinfo` section
 */
export function parseModinfo(bytes: Uint8Array): Modinfo | undefined {
  const sections = elfSections(bytes)
  const info = bytesOf(bytes, sections, '.modinfo')
  if (!info) return undefined
  const fields = parseModinfoFields(info)
  return {
    name: fields.get('name')?.[0] ?? '',
    depends: (fields.get('depends') ?? []).flatMap((list) => list.split(',')).filter((name) => name !== ''),
    aliases: fields.get('alias') ?? [],
    softdeps: fields.get('softdep') ?? [],
    firmware: fields.get('firmware') ?? [],
    vermagic: fields.get('vermagic')?.[0] ?? '',
    ...symbolsOf(bytes, sections),
  }
}

/** `key=value` strings that end with NUL bytes, by key: the section of a module. */
function parseModinfoFields(bytes: Uint8Array): ReadonlyMap<string, readonly string[]> {
  const fields = new Map<string, string[]>()
  for (const line of textOf(bytes).split('\0')) {
    const equals = line.indexOf('=')
    if (equals <= 0) continue
    const key = line.slice(0, equals)
    const known = fields.get(key)
    if (known) known.push(line.slice(equals + 1))
    else fields.set(key, [line.slice(equals + 1)])
  }
  return fields
}

/** A module's own lines in `modules.builtin.modinfo`. */
export interface BuiltinInfo {
  readonly name: string
  readonly aliases: readonly string[]
}

/** Reads `modules.builtin.modinfo`: strings `module.key=value`; modules in the order of their first line. */
export function parseBuiltinModinfo(bytes: Uint8Array): readonly BuiltinInfo[] {
  const modules = new Map<string, string[]>()
  for (const line of textOf(bytes).split('\0')) {
    const found = /^([^.=]+)\.([^=]+)=(.*)$/s.exec(line)
    if (!found) continue
    const [, name, key, value] = found as unknown as [string, string, string, string]
    const aliases = modules.get(name) ?? []
    modules.set(name, aliases)
    if (key === 'alias') aliases.push(value)
  }
  return [...modules].map(([name, aliases]) => ({ name, aliases }))
}

/**
 * Symbols of a relocatable object: those that it exports to other modules (`__ksymtab_NAME`), sorted by bytes, and
 * those that it does not define itself, in the order of its symbol table.
 */
function symbolsOf(
  bytes: Uint8Array,
  sections: readonly ElfSection[],
): { readonly exports: readonly string[]; readonly imports: readonly string[] } {
  const table = sections.find(({ type }) => type === 2)
  const symbols = table && sectionBytes(bytes, table)
  const strings = table && sections[table.link] && sectionBytes(bytes, sections[table.link] as ElfSection)
  if (!symbols || !strings) return { exports: [], imports: [] }
  const wide = bytes[4] === 2
  const little = bytes[5] === 1
  const step = wide ? 24 : 16
  const view = bufferOf(symbols)
  const names = bufferOf(strings)
  const exports = new Set<string>()
  const imports = new Set<string>()
  for (let at = step; at + step <= view.length; at += step) {
    const nameAt = little ? view.readUInt32LE(at) : view.readUInt32BE(at)
    // st_shndx; SHN_UNDEF is 0 in either byte order
    const undefinedHere = view.readUInt16LE(at + (wide ? 6 : 14)) === 0
    if (!undefinedHere && !startsWith(names, nameAt, EXPORT)) continue
    const end = names.indexOf(0, nameAt)
    if (end < 0 || end === nameAt || end - nameAt > MAX_NAME) continue
    const name = names.toString('latin1', nameAt, end)
    if (undefinedHere) imports.add(name)
    else exports.add(name.slice(EXPORT.length))
  }
  return { exports: [...exports].sort(), imports: [...imports] }
}

const EXPORT = Buffer.from('__ksymtab_')
const MAX_NAME = 512

function startsWith(bytes: Buffer, at: number, prefix: Buffer): boolean {
  return (
    at + prefix.length <= bytes.length &&
    bytes.compare(prefix, 0, prefix.length, at, at + prefix.length) === 0
  )
}

function bytesOf(bytes: Uint8Array, sections: readonly ElfSection[], name: string): Uint8Array | undefined {
  const section = sections.find((one) => one.name === name)
  return section && sectionBytes(bytes, section)
}

function textOf(bytes: Uint8Array): string {
  return bufferOf(bytes).toString('latin1')
}
