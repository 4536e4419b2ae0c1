/** Packages and wishes from short literals, for tests of the resolver. */
import { parseAtom, schemeOfName } from '../../src/pkg/atom.ts'
import { parseDebRelations } from '../../src/pkg/deb-depends.ts'
import type { DepExpr, Index, Package } from '../../src/pkg/package.ts'
import type { ResolveInput } from '../../src/resolve/choose.ts'
import type { Request, Where } from '../../src/resolve/profile.ts'

/** `name version`, with whatever else matters. */
export function build(text: string, rest: Partial<Package> = {}): Package {
  const [name = '', version = '1'] = text.split(' ')
  const pkg: Package = {
    scheme: name.includes('/') ? 'semver' : 'deb',
    name,
    version,
    arch: 'amd64',
    repo: 'main',
    slot: '0',
    subslot: rest.slot ?? '0',
    use: [],
    iuse: [],
    buildId: 0,
    buildTime: 0,
    provides: [],
    needs: { all: [] },
    recommends: { all: [] },
    essential: false,
    multiArch: 'no',
    installedSize: 1024,
    summary: '',
    file: {
      path: `pool/${name}_${version}_${rest.buildId ?? 0}`,
      origin: '',
      size: 1,
      sums: { sha256: shaOf(text, rest) },
    },
  }
  return { ...pkg, ...rest }
}

function shaOf(
  text: string,
  { buildId = 0, slot = '0', use = [], repo = '', arch = '' }: Partial<Package>,
): string {
  const seed = `${text} ${buildId} ${slot} ${use.join(' ')} ${repo} ${arch}`
  let sum = 7
  for (const letter of seed) sum = (sum * 31 + letter.charCodeAt(0)) >>> 0
  return sum.toString(16).padStart(8, '0').repeat(8)
}

/** A Debian package: `deb('a 1', 'b, c | d', {conflicts: 'e'})`. */
export function deb(
  text: string,
  depends = '',
  fields: {
    conflicts?: string
    provides?: string
    before?: string
    recommends?: string
  } & Partial<Package> = {},
): Package {
  const {
    conflicts = '',
    provides = '',
    before = '',
    recommends = '',
    ...rest
  } = fields as { [key: string]: string }
  const first = parseDebRelations(before, 'need')
  const needs = [first, parseDebRelations(depends, 'need'), parseDebRelations(conflicts, 'block')]
  return build(text, {
    needs: { all: needs.flatMap((part): readonly DepExpr[] => ('all' in part ? part.all : [part])) },
    before: first,
    recommends: parseDebRelations(recommends, 'need'),
    provides: provides
      .split(', ')
      .filter((word) => word !== '')
      .map((word) => {
        const [name = '', version] = word.split('=')
        return version === undefined ? { name } : { name, version }
      }),
    ...(rest as Partial<Package>),
  })
}

/** Needs of a native package from atoms. */
export function needs(...atoms: readonly string[]): DepExpr {
  return { all: atoms.map((text) => ({ need: parseAtom(text, schemeOfName(text)) })) }
}

export function indexOf(packages: readonly Package[], repo = 'main'): Index {
  return { repo, kind: 'debian', snapshot: `snapshot of ${repo}`, date: 0, packages }
}

export function placed(line: number): Where {
  return { file: 'profiles/test.yaml', line, column: 5 }
}

/** A profile that asks for these atoms; a pair adds flags. */
export function wish(
  requests: readonly (string | readonly [string, ...string[]])[],
  rest: Partial<ResolveInput> = {},
): ResolveInput {
  const packages = requests.map((request, index): Request => {
    const [atom, ...use] = typeof request === 'string' ? [request] : request
    return { atom: atom as string, use, where: placed(index + 3) }
  })
  return {
    name: 'test',
    arch: 'amd64',
    repositories: ['main'],
    packages,
    use: [],
    mask: [],
    provided: [],
    recommends: false,
    ...rest,
  }
}
