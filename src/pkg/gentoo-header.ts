/** What the header of a Gentoo `Packages` index says to all its entries. */

export interface GentooHeader {
  /** Seconds since 1970 when the index was made. */
  readonly timestamp: number
  /** Gentoo's name of the architecture, such as `amd64`; '' when the header has none. */
  readonly arch: string
  /** Default of entries without CHOST. */
  readonly chost: string
  /** Name of the ebuild repository of entries without REPO: `gentoo`. */
  readonly repo: string
  readonly acceptKeywords: readonly string[]
  readonly acceptLicense: readonly string[]
  /**
   * What IUSE_EFFECTIVE holds beside a package's own IUSE, for EAPI 5 and later, sorted. Of several binhosts of one
   * repository: of all their headers together.
   */
  readonly iuseEffective: readonly string[]
  /** `USE_EXPAND_HIDDEN` as prefixes (`elibc_`), sorted: known to packages of EAPI 0 to 4. */
  readonly hiddenPrefixes: readonly string[]
  /** All fields as written. */
  readonly fields: ReadonlyMap<string, string>
}

/** Reads the fields of a header; what is not there is empty. */
export function gentooHeaderOf(fields: ReadonlyMap<string, string>): GentooHeader {
  return {
    timestamp: Number(fields.get('TIMESTAMP') ?? 0),
    arch: fields.get('ARCH') ?? '',
    chost: fields.get('CHOST') ?? '',
    repo: fields.get('REPO') ?? '',
    acceptKeywords: words(fields, 'ACCEPT_KEYWORDS'),
    acceptLicense: words(fields, 'ACCEPT_LICENSE'),
    iuseEffective: implicitFlags(fields),
    hiddenPrefixes: sorted(words(fields, 'USE_EXPAND_HIDDEN').map((name) => `${name.toLowerCase()}_`)),
    fields,
  }
}

/**
 * The flags of IUSE_EFFECTIVE that no IUSE lists.
 * @see PMS 8, section 11.1.1 "USE and IUSE handling"
 */
function implicitFlags(fields: ReadonlyMap<string, string>): string[] {
  const expand = new Set(words(fields, 'USE_EXPAND'))
  const unprefixed = new Set(words(fields, 'USE_EXPAND_UNPREFIXED'))
  const flags = words(fields, 'USE_EXPAND_IMPLICIT').flatMap((variable) => {
    const values = words(fields, `USE_EXPAND_VALUES_${variable}`)
    return [
      ...(unprefixed.has(variable) ? values : []),
      ...(expand.has(variable) ? values.map((value) => `${variable.toLowerCase()}_${value}`) : []),
    ]
  })
  return sorted([...words(fields, 'IUSE_IMPLICIT'), ...flags])
}

/** The header that entries of several binhosts of one repository are read with: its own, but all their implicit flags. */
export function withFlagsOf(header: GentooHeader, others: readonly GentooHeader[]): GentooHeader {
  return { ...header, iuseEffective: sorted([header, ...others].flatMap((one) => one.iuseEffective)) }
}

function words(fields: ReadonlyMap<string, string>, key: string): string[] {
  return (fields.get(key) ?? '').split(/\s+/).filter((word) => word !== '')
}

function sorted(values: readonly string[]): string[] {
  return [...new Set(values)].sort((left, right) => (left < right ? -1 : left > right ? 1 : 0))
}
