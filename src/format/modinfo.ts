/** What a kernel module says about itself: the `.modinfo` section, and the symbols that it exports. */
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
    exports: exportsOf(bytes, sections),
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

/** Names in `__ksymtab_strings`; before Linux 5.4 the section holds names of namespaces, too, which are empty then. */
function exportsOf(bytes: Uint8Array, sections: readonly ElfSection[]): readonly string[] {
  const strings = bytesOf(bytes, sections, '__ksymtab_strings')
  if (!strings) return []
  const names = new Set(
    textOf(strings)
      .split('\0')
      .filter((name) => name !== ''),
  )
  return [...names].sort()
}

function bytesOf(bytes: Uint8Array, sections: readonly ElfSection[], name: string): Uint8Array | undefined {
  const section = sections.find((one) => one.name === name)
  return section && sectionBytes(bytes, section)
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}
