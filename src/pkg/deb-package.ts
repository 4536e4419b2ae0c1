/** A stanza of a Debian `Packages` index to a Package. */
import { Stage5Error } from '../base/errors.ts'
import { NOTHING, parseDebRelations, parseProvides } from './deb-depends.ts'
import type { DepExpr, Package, PackageFile, Provide } from './package.ts'

/** What a stanza must offer; field names as in `PACKAGE_FIELDS`. */
interface Fields {
  get(field: string): string | undefined
}

/** The fields that are read: an index cache need keep no others. */
export const PACKAGE_FIELDS = [
  'Package',
  'Version',
  'Architecture',
  'Filename',
  'Size',
  'MD5sum',
  'SHA1',
  'SHA256',
  'SHA512',
  'Installed-Size',
  'Pre-Depends',
  'Depends',
  'Recommends',
  'Conflicts',
  'Breaks',
  'Provides',
  'Multi-Arch',
  'Essential',
  'Priority',
  'Description',
] as const

const PRIORITIES = ['required', 'important', 'standard', 'optional', 'extra']
const NO_PROVIDES: readonly Provide[] = []
const NO_FLAGS: readonly string[] = []

/**
 * One package of a Debian index.
 *
 * Dependencies are parsed when `needs` or `recommends` is first read: an index has 63,000 stanzas, a root some hundred.
 * Reading those two may throw S5_ATOM_SYNTAX.
 * @param origin the suite whose archive holds the file
 * @throws S5_INDEX_REFUSED with reason `bad-metadata`
 */
export function packageOfStanza(fields: Fields, repo: string, origin: string): Package {
  const name = required(fields, 'Package', /^[A-Za-z0-9][A-Za-z0-9+._-]*$/, repo)
  const version = required(fields, 'Version', /^[A-Za-z0-9.+~:-]+$/, repo)
  const arch = required(fields, 'Architecture', /^[a-z0-9-]+$/, repo)
  const preDepends = fields.get('Pre-Depends')
  const depends = fields.get('Depends')
  const conflicts = fields.get('Conflicts')
  const breaks = fields.get('Breaks')
  const recommended = fields.get('Recommends')
  const provided = fields.get('Provides')
  const restrictTo = arch === 'all' ? undefined : arch
  let needs: DepExpr | undefined
  let before: DepExpr | undefined
  let recommends: DepExpr | undefined
  const expression = (text: string | undefined, kind: 'need' | 'block'): DepExpr =>
    text === undefined ? NOTHING : parseDebRelations(text, kind, restrictTo)
  const firstNeeds = (): DepExpr => (before ??= expression(preDepends, 'need'))
  return {
    scheme: 'deb',
    name,
    version,
    arch,
    repo,
    slot: '0',
    subslot: '0',
    use: NO_FLAGS,
    iuse: NO_FLAGS,
    buildId: 0,
    buildTime: 0,
    provides: provided === undefined ? NO_PROVIDES : parseProvides(provided),
    get needs(): DepExpr {
      return (needs ??= allOf(
        firstNeeds(),
        expression(depends, 'need'),
        expression(conflicts, 'block'),
        expression(breaks, 'block'),
      ))
    },
    get before(): DepExpr {
      return firstNeeds()
    },
    get recommends(): DepExpr {
      return (recommends ??= expression(recommended, 'need'))
    },
    essential: fields.get('Essential') === 'yes',
    rank: rankOf(fields.get('Priority')),
    multiArch: multiArchOf(fields.get('Multi-Arch')),
    installedSize: sizeOf(fields.get('Installed-Size') ?? '0', 'Installed-Size', name, repo) * 1024,
    summary: firstLine(fields.get('Description') ?? ''),
    file: {
      path: required(fields, 'Filename', /^[^\0\s]+$/, repo),
      origin,
      size: sizeOf(required(fields, 'Size', /^[0-9]+$/, repo), 'Size', name, repo),
      sums: sumsOf(fields),
    },
  }
}

function required(fields: Fields, field: string, pattern: RegExp, repo: string): string {
  const value = fields.get(field)
  if (value === undefined || !pattern.test(value)) {
    const found = value === undefined ? 'none' : JSON.stringify(value.slice(0, 80))
    throw malformed(repo, `${fields.get('Package') ?? 'a stanza'}: expected a ${field}, found ${found}`)
  }
  return value
}

function sizeOf(text: string, field: string, name: string, repo: string): number {
  const size = /^[0-9]{1,15}$/.test(text) ? Number(text) : -1
  if (size < 0)
    throw malformed(repo, `${name}: ${field} is not a number: ${JSON.stringify(text.slice(0, 80))}`)
  return size
}

function malformed(repo: string, message: string): Stage5Error {
  return new Stage5Error('S5_INDEX_REFUSED', `${repo}: bad-metadata: ${message}`, {
    data: { reason: 'bad-metadata', repository: repo },
  })
}

function sumsOf(fields: Fields): PackageFile['sums'] {
  const sums: { -readonly [algorithm in keyof PackageFile['sums']]: string } = {}
  const sha256 = fields.get('SHA256')
  const sha512 = fields.get('SHA512')
  if (sha256 !== undefined) sums.sha256 = sha256
  if (sha512 !== undefined) sums.sha512 = sha512
  if (sha256 !== undefined || sha512 !== undefined) return sums
  const sha1 = fields.get('SHA1')
  const md5 = fields.get('MD5sum')
  if (sha1 !== undefined) sums.sha1 = sha1
  if (md5 !== undefined) sums.md5 = md5
  return sums
}

function rankOf(priority: string | undefined): number {
  const rank = PRIORITIES.indexOf(priority ?? 'optional')
  return rank < 0 ? PRIORITIES.length : rank
}

function multiArchOf(text: string | undefined): Package['multiArch'] {
  return text === 'same' || text === 'foreign' || text === 'allowed' ? text : 'no'
}

function firstLine(text: string): string {
  const end = text.indexOf('\n')
  return end < 0 ? text : text.slice(0, end)
}

function allOf(...parts: readonly DepExpr[]): DepExpr {
  const all = parts.flatMap((part) => ('all' in part ? part.all : [part]))
  return all.length === 0 ? NOTHING : { all }
}
