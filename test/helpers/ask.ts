/** Questions about Gentoo packages from short literals: `{ 'a/x-1#2': { RDEPEND: 'l/b' } }`. */
import { resolveUniverse } from '../../src/resolve/universe-answer.ts'

export type Stanza = { readonly [key: string]: string }
export type Stanzas = { readonly [title: string]: Stanza }

/** What an answer says, as tests look at it. */
export interface Told {
  readonly ok: boolean
  /** `category/package-version#build`, in install order. */
  readonly order: readonly string[]
  /** Sorted. */
  readonly chosen: readonly string[]
  readonly kind: string
  readonly message: string
  readonly builds: readonly string[]
  readonly data: { readonly [key: string]: unknown }
}

/** Stanzas with KEYWORDS amd64, EAPI 8 and slot 0 unless they say otherwise. */
export function stanzas(packages: Stanzas): Stanza[] {
  return Object.entries(packages).map(([title, stanza]) => {
    const [CPV = '', BUILD_ID] = title.replace(/ .*$/, '').split('#')
    return { CPV, KEYWORDS: 'amd64', ...(BUILD_ID !== undefined && { BUILD_ID }), ...stanza }
  })
}

export function universeJson(
  atoms: string,
  packages: Stanzas | readonly Stanza[],
  config: { readonly [key: string]: unknown } = {},
  request: { readonly [key: string]: unknown } = {},
): { readonly [key: string]: unknown } {
  const list = Array.isArray(packages) ? packages : stanzas(packages as Stanzas)
  return {
    format: 'stage5-universe/1',
    name: 'test',
    binhosts: [{ name: 'main', packages: list }],
    config: { arch: 'amd64', ...config },
    request: { atoms: atoms.split(' ').filter((atom) => atom !== ''), ...request },
  }
}

/** The answer to a question; a question that cannot be read has the kind `invalid`. */
export function ask(...question: Parameters<typeof universeJson>): Told {
  return told(universeJson(...question))
}

export function told(question: unknown): Told {
  const data = resolveUniverse(question) as { readonly [key: string]: unknown }
  const error = (data['error'] ?? {}) as { kind?: string; message?: string; builds?: string[] }
  const order = (data['order'] ?? []) as string[]
  return {
    ok: data['ok'] === true,
    order,
    chosen: order.toSorted(),
    kind: error.kind ?? '',
    message: error.message ?? '',
    builds: error.builds ?? [],
    data,
  }
}
