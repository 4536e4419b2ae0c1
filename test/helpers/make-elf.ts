/** Makes ELF files from a short literal: headers, dynamic section, notes and named sections, and no code. */

export interface ElfParts {
  readonly bits?: 32 | 64
  readonly little?: boolean
  readonly machine?: number
  /** e_type; 3 is a shared object. */
  readonly type?: number
  readonly flags?: number
  readonly interpreter?: string
  readonly soname?: string
  readonly needed?: readonly string[]
  readonly rpath?: string
  readonly runpath?: string
  /** Names for the dynamic string table. */
  readonly symbols?: readonly string[]
  readonly notes?: readonly { readonly owner: string; readonly type: number; readonly body: Uint8Array }[]
  readonly sections?: { readonly [name: string]: Uint8Array }
  /** Symbols of a kernel module. */
  readonly exports?: readonly string[]
  readonly imports?: readonly string[]
}

/** The file; all addresses equal offsets, in one PT_LOAD. */
export function makeElf(parts: ElfParts): Uint8Array {
  const wide = (parts.bits ?? 64) === 64
  const little = parts.little ?? true
  const word = wide ? 8 : 4
  const pieces: { readonly at: number; readonly bytes: Buffer }[] = []
  let end = wide ? 64 + 4 * 56 : 52 + 4 * 32
  const put = (bytes: Uint8Array): number => {
    end = Math.ceil(end / 8) * 8
    pieces.push({ at: end, bytes: Buffer.from(bytes) })
    end += bytes.length
    return end - bytes.length
  }
  const number = (value: number, size: number): Buffer => {
    const out = Buffer.alloc(size)
    for (let at = 0; at < size; at++) out[little ? at : size - 1 - at] = Math.floor(value / 256 ** at) % 256
    return out
  }
  const words = (...values: readonly number[]): Buffer =>
    Buffer.concat(values.map((value) => number(value, word)))

  const strings = ['']
  const string = (text: string): number => {
    const at = strings.join('\0').length + 1
    strings.push(text)
    return at
  }
  const dynamic: (readonly [tag: number, value: number])[] = []
  for (const name of parts.needed ?? []) dynamic.push([1, string(name)])
  if (parts.soname !== undefined) dynamic.push([14, string(parts.soname)])
  if (parts.rpath !== undefined) dynamic.push([15, string(parts.rpath)])
  if (parts.runpath !== undefined) dynamic.push([29, string(parts.runpath)])
  for (const name of parts.symbols ?? []) string(name)
  const segments: (readonly [type: number, offset: number, size: number])[] = []
  if (dynamic.length > 0 || strings.length > 1) {
    const table = Buffer.from(`${strings.join('\0')}\0`, 'latin1')
    dynamic.push([5, put(table)], [10, table.length], [0, 0])
    const bytes = Buffer.concat(dynamic.map(([tag, value]) => words(tag, value)))
    segments.push([2, put(bytes), bytes.length])
  }
  if (parts.interpreter !== undefined) {
    const text = Buffer.from(`${parts.interpreter}\0`, 'latin1')
    segments.push([3, put(text), text.length])
  }
  if (parts.notes) {
    const bytes = Buffer.concat(
      parts.notes.flatMap(({ owner, type, body }) => {
        const name = Buffer.from(`${owner}\0`, 'latin1')
        const head = [name.length, body.length, type].map((value) => number(value, 4))
        return [...head, padded(name), padded(Buffer.from(body))]
      }),
    )
    segments.push([4, put(bytes), bytes.length])
  }

  const sections = Object.entries(parts.sections ?? {}).map(([name, bytes]) => ({ name, bytes }))
  const symbols = [
    ...(parts.imports ?? []).map((name) => ({ name, section: 0 })),
    ...(parts.exports ?? []).map((name) => ({ name: `__ksymtab_${name}`, section: 1 })),
  ]
  if (symbols.length > 0) {
    let nameAt = 1
    const rows = symbols.map(({ name, section }) => {
      const [start, place] = [number(nameAt, 4), Buffer.concat([number(0x10, 2), number(section, 2)])]
      nameAt += name.length + 1
      return wide ? Buffer.concat([start, place, words(0, 0)]) : Buffer.concat([start, words(0, 0), place])
    })
    const table = Buffer.concat([Buffer.alloc(wide ? 24 : 16), ...rows])
    const strtab = Buffer.from(['', ...symbols.map(({ name }) => name), ''].join('\0'), 'latin1')
    sections.push({ name: '.symtab', bytes: table }, { name: '.strtab', bytes: strtab })
  }
  let sectionsAt = 0
  if (sections.length > 0) {
    const names = ['', ...sections.map(({ name }) => name), '.shstrtab']
    const table = Buffer.from(`${names.join('\0')}\0`, 'latin1')
    const rows = [...sections, { name: '.shstrtab', bytes: table }].map(({ name, bytes }) => {
      const nameAt = names.slice(0, names.indexOf(name)).join('\0').length + 1
      const kind = name === '.symtab' ? 2 : name.endsWith('strtab') ? 3 : 1
      const link = name === '.symtab' ? sections.length : 0
      const start = Buffer.concat([number(nameAt, 4), number(kind, 4), words(0, 0, put(bytes), bytes.length)])
      return Buffer.concat([start, number(link, 4), number(0, 4), words(1, 0)])
    })
    sectionsAt = put(Buffer.concat([Buffer.alloc(wide ? 64 : 40), ...rows]))
  }

  segments.unshift([1, 0, end])
  const headers = segments.map(([type, offset, size]) =>
    wide
      ? Buffer.concat([number(type, 4), number(4, 4), words(offset, offset, offset, size, size, 1)])
      : Buffer.concat([number(type, 4), words(offset, offset, offset, size, size), number(4, 4), words(1)]),
  )
  const head = Buffer.concat([
    Buffer.from([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, little ? 1 : 2, 1, 0]),
    Buffer.alloc(8),
    number(parts.type ?? 3, 2),
    number(parts.machine ?? 62, 2),
    number(1, 4),
    words(0, wide ? 64 : 52, sectionsAt),
    number(parts.flags ?? 0, 4),
    ...[wide ? 64 : 52, wide ? 56 : 32, segments.length, wide ? 64 : 40].map((value) => number(value, 2)),
    number(sections.length > 0 ? sections.length + 2 : 0, 2),
    number(sections.length > 0 ? sections.length + 1 : 0, 2),
  ])
  const out = Buffer.alloc(end)
  head.copy(out, 0)
  Buffer.concat(headers).copy(out, wide ? 64 : 52)
  for (const { at, bytes } of pieces) bytes.copy(out, at)
  return out
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)])
}
