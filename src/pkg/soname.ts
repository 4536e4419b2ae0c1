/** PROVIDES and REQUIRES of Gentoo binaries: shared libraries by ABI. */

/** Name under which an atom demands a library: `x86_64: libc.so.6`. */
export type SonameKey = string

/**
 * Libraries by ABI, such as `x86_64: libc.so.6 libm.so.6 x86_32: libc.so.6`, as keys in reading order.
 *
 * Words before the first ABI are ignored, as Portage does.
 * @example
 * parseSonames('x86_64: libc.so.6') // => ['x86_64: libc.so.6']
 */
export function parseSonames(text: string): SonameKey[] {
  const keys = new Set<SonameKey>()
  let abi = ''
  for (const word of text.split(/\s+/)) {
    if (word.endsWith(':')) abi = word.slice(0, -1)
    else if (word !== '' && abi !== '') keys.add(sonameKey(abi, word))
  }
  return [...keys]
}

function sonameKey(abi: string, soname: string): SonameKey {
  return `${abi}: ${soname}`
}

export function isSonameKey(name: string): boolean {
  return name.includes(': ')
}
