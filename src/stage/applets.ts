/** The applets of a busybox binary, read out of its own tables; the binary is never run. */

interface Applet {
  readonly name: string
  /** Where `busybox --install` puts it: `bin`, `sbin`, `usr/bin`, `usr/sbin`, or '' for the root. */
  readonly folder: string
}

/** The values of bb_install_loc_t in order, one per half byte of the location table. */
const FOLDERS = ['', 'bin', 'sbin', 'usr/bin', 'usr/sbin'] as const

/** Known places by which the location table is recognised. */
const SIGNS: readonly (readonly [name: string, folder: string])[] = [
  ['ash', 'bin'],
  ['cat', 'bin'],
  ['sh', 'bin'],
  ['init', 'sbin'],
  ['ifconfig', 'sbin'],
  ['awk', 'usr/bin'],
  ['env', 'usr/bin'],
  ['chroot', 'usr/sbin'],
]

/** The location table stands near the names; measured 271 bytes before them, in four builds less than 4 KiB. */
const NEAR = 65_536

/**
 * All applets in the order of the table; none when the binary has no table of names.
 *
 * The names are one run of NUL-terminated words in ascending order that has `busybox` in it. The table of places is
 * left out of builds without the installer; then everything goes to `usr/bin`.
 */
export function appletsOf(binary: Uint8Array): Applet[] {
  const names = nameTable(binary)
  if (!names) return []
  const places = locationTable(binary, names.words, names.start)
  return names.words.map((name, at) => ({ name, folder: places?.[at] ?? 'usr/bin' }))
}

function nameTable(binary: Uint8Array): { words: string[]; start: number } | undefined {
  const bytes = Buffer.from(binary.buffer, binary.byteOffset, binary.length)
  let best: { words: string[]; start: number } | undefined
  for (let at = bytes.indexOf('\0busybox\0'); at >= 0; at = bytes.indexOf('\0busybox\0', at + 1)) {
    const words = ['busybox']
    let start = at + 1
    for (let word = wordBefore(bytes, start); word !== undefined; word = wordBefore(bytes, start)) {
      if (word >= (words[0] as string)) break
      words.unshift(word)
      start -= word.length + 1
    }
    let end = at + 9
    for (let word = wordAt(bytes, end); word !== undefined; word = wordAt(bytes, end)) {
      if (word <= (words.at(-1) as string)) break
      words.push(word)
      end += word.length + 1
    }
    if (words.length > Math.max(1, best?.words.length ?? 0)) best = { words, start }
  }
  return best
}

const WORD = /^(?:\[\[?|[a-z0-9][a-z0-9_.+-]{0,31})$/

function wordAt(bytes: Buffer, at: number): string | undefined {
  const end = bytes.indexOf(0, at)
  if (end < 0 || end - at > 32) return undefined
  const word = bytes.toString('latin1', at, end)
  return WORD.test(word) ? word : undefined
}

function wordBefore(bytes: Buffer, start: number): string | undefined {
  const from = bytes.lastIndexOf(0, start - 2)
  if (from < 0 || start - from > 34) return undefined
  const word = bytes.toString('latin1', from + 1, start - 1)
  return WORD.test(word) ? word : undefined
}

function locationTable(
  bytes: Uint8Array,
  words: readonly string[],
  near: number,
): readonly string[] | undefined {
  const signs = SIGNS.flatMap(([name, folder]) => {
    const at = words.indexOf(name)
    return at < 0 ? [] : [{ at, code: FOLDERS.indexOf(folder as (typeof FOLDERS)[number]) }]
  })
  const length = Math.ceil(words.length / 2)
  const code = (start: number, at: number): number =>
    ((bytes[start + (at >> 1)] ?? 0xff) >> (at & 1 ? 4 : 0)) & 15
  if (signs.length < 4) return undefined
  for (let distance = 0; distance < NEAR; distance++)
    for (const start of [near - distance, near + distance]) {
      if (start < 0 || start + length > bytes.length) continue
      if (!signs.every((sign) => code(start, sign.at) === sign.code)) continue
      const codes = words.map((_, at) => code(start, at))
      if (codes.every((each) => each < FOLDERS.length)) return codes.map((each) => FOLDERS[each] as string)
    }
  return undefined
}
