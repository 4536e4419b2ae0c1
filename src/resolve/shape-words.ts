/** The words of profiles: names, paths, atoms and the other small shapes that several keys share. */
import { describe, refined, type Shape, string } from '../base/shape.ts'

/** Text as the byte string (one character per byte) that trees use for names and contents. */
export function byteString(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/** Any text of one line. */
export function line(expected: string): Shape<string> {
  return string({ pattern: /^[^\n\r]+$/, expected })
}

export function text(expected: string): Shape<string> {
  return string({ expected, empty: true })
}

/** Name of a profile file, with a variant behind `@` where one is meant. */
export function profileName(): Shape<string> {
  return string({
    pattern: /^[a-z0-9][a-z0-9._-]*(@[a-z0-9][a-z0-9._-]*)?$/,
    expected: 'the name of a profile, such as base or base@debug',
  })
}

export function word(expected: string): Shape<string> {
  return string({ pattern: /^[a-z0-9][a-z0-9._-]*$/, expected })
}

/** IMAGE_ID as UAPI.2 allows it, without `_`, which separates id and version in file names. */
export function imageId(): Shape<string> {
  return string({ pattern: /^[a-z0-9][a-z0-9.-]*$/, expected: 'an id of the characters a-z 0-9 . -' })
}

export function imageVersion(): Shape<string> {
  return string({
    pattern: /^[A-Za-z0-9][A-Za-z0-9.~^-]*$/,
    expected: 'a version of the characters A-Z a-z 0-9 . ~ ^ -',
    plain: true,
  })
}

/** Absolute path in the guest as a byte string, without a trailing slash; `top` allows `/` itself. */
export function absolutePath(options: { top?: boolean } = {}): Shape<string> {
  const expected = 'an absolute path without . or .. components'
  return refined(string({ pattern: /^\/[^\n]*$/, expected }), (written, node, to) => {
    const path = withoutSlash(written)
    if (path === '/' && options.top) return path
    const parts = path.split('/').slice(1)
    if (parts.some((part) => part === '' || part === '.' || part === '..')) {
      to.report(node, `expected ${expected}, found ${JSON.stringify(written)}`)
      return undefined
    }
    return byteString(path)
  })
}

export function withoutSlash(path: string): string {
  return path.replace(/(?<=.)\/+$/, '')
}

/** Pattern over paths of the root, as a byte string. */
export function glob(): Shape<string> {
  return refined(line('a glob such as /usr/share/man or *.a'), (pattern) => byteString(pattern))
}

export function userName(): Shape<string> {
  return string({
    pattern: /^[a-z_][a-z0-9_-]{0,30}\$?$/,
    expected: 'a user or group name (a-z 0-9 _ -, at most 31 characters)',
  })
}

/** Owner of a file: a name, or a number written plainly. */
export function ownerName(): Shape<string> {
  return string({
    pattern: /^(?:[a-z_][a-z0-9_-]{0,30}\$?|[0-9]{1,9})$/,
    expected: 'a user or group, by name or number',
    plain: true,
  })
}

export function useFlag(): Shape<string> {
  return string({
    pattern: /^-?[A-Za-z0-9][A-Za-z0-9+_@-]*$|^-\*$/,
    expected: 'a USE flag such as ssl or -ldap',
  })
}

/** A word of ACCEPT_KEYWORDS. */
export function keyword(): Shape<string> {
  return string({
    pattern: /^-?(?:~?[A-Za-z0-9_][A-Za-z0-9_-]*|~?\*|\*\*)$/,
    expected: 'a keyword such as amd64, ~amd64 or **',
  })
}

/** A word of ACCEPT_LICENSE. */
export function license(): Shape<string> {
  return string({
    pattern: /^-?(?:@?[A-Za-z0-9_][A-Za-z0-9+_.-]*|\*)$/,
    expected: 'a licence such as MIT, @FREE, -@EULA or *',
  })
}

export function packageName(): Shape<string> {
  return string({
    pattern: /^[A-Za-z0-9][A-Za-z0-9+._-]*(\/[A-Za-z0-9][A-Za-z0-9+._-]*)?$/,
    expected: 'the name of a package',
  })
}

/** An atom in any scheme; whether it is a good one, its repository knows. */
export function atom(): Shape<string> {
  return string({
    pattern: /^(?:@|[<>=~]*\*?)[A-Za-z0-9*/][^\n]*$/,
    expected: 'a package, such as nginx, "libc6 (>= 2.36)" or "app/shop: ^2.1"',
  })
}

/**
 * The package that an atom is about, in any scheme.
 * @example
 * nameOfAtom('libc6 (>= 2.36)') // => 'libc6'
 * nameOfAtom('>=dev-libs/openssl-3.0:0/3') // => 'dev-libs/openssl'
 */
export function nameOfAtom(text: string): string {
  const found = /^([<>=~]*)([A-Za-z0-9][A-Za-z0-9+._/-]*)/.exec(text)
  const name = found?.[2] ?? text
  return found?.[1] ? name.replace(/-[0-9][^/]*$/, '') : name
}

/** The format number with which a YAML file may begin. */
export function formatNumber(): Shape<1> {
  const expected = 'stage5: 1, the format that this version reads'
  return {
    expected,
    schema: { const: 1 },
    decode: (node, to) =>
      node.kind === 'scalar' && node.value === 1
        ? 1
        : to.report(node, `expected ${expected}, found ${describe(node)}`),
  }
}
