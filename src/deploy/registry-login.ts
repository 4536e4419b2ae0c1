/**
 * How a registry lets a client in: user and password (RFC 7617), or a token that its own service gives for them, asked for
 * when it is refused (CNCF distribution, "Token Authentication Specification").
 *
 * User and password come from the address, else from what `docker login`, `podman login` or `skopeo login` wrote down.
 */
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { objectOf } from '../base/json.ts'
import { redactUrl, requestFailed, type Sender } from '../host/http.ts'

export interface Login {
  /** The `Authorization` of the next request; undefined for none. */
  header(): string | undefined
  /**
   * Asks for a token when the `WWW-Authenticate` of a refusal wants one.
   * @returns whether the request is worth another try
   * @throws S5_FETCH_FAILED
   */
  renew(challenge: string | undefined, signal: AbortSignal): Promise<boolean>
}

/** @param user `USER:PASSWORD` of the address, percent-encoded; '' for none. @throws S5_USAGE */
export async function openLogin(
  sender: Sender,
  { scheme, host, user }: { readonly scheme: string; readonly host: string; readonly user: string },
): Promise<Login> {
  const pair = user === '' ? await keptPair(host) : Buffer.from(decoded(user)).toString('base64')
  const basic = pair === undefined ? undefined : `Basic ${pair}`
  let header = basic
  return {
    header: () => header,
    renew: async (challenge, signal) => {
      const wanted = bearerOf(challenge)
      if (!wanted) return false
      const realm = URL.canParse(wanted.realm) ? new URL(wanted.realm) : undefined
      // Who asks for a password over TLS does not get it sent elsewhere without.
      if (!realm || (realm.protocol !== 'https:' && realm.protocol !== `${scheme}:`))
        throw new Stage5Error(
          'S5_FETCH_FAILED',
          `oci://${host}: expected tokens to come from an ${scheme} address, found ${redactUrl(wanted.realm)}`,
        )
      for (const [name, value] of Object.entries(wanted.query)) realm.searchParams.set(name, value)
      header = `Bearer ${await tokenFrom(sender, realm, basic, signal)}`
      return true
    },
  }
}

function decoded(user: string): string {
  try {
    return decodeURIComponent(user)
  } catch {
    throw new Stage5Error('S5_USAGE', 'user and password of an address are percent-encoded: %25 is a %')
  }
}

interface Challenge {
  readonly realm: string
  readonly query: { readonly [name: string]: string }
}

/** `Bearer realm="…",service="…",scope="…"` (RFC 6750 section 3) */
function bearerOf(challenge = ''): Challenge | undefined {
  const [, parameters] = /^Bearer\s+(.*)$/is.exec(challenge) ?? []
  if (parameters === undefined) return undefined
  const found = new Map(
    [...parameters.matchAll(/([a-z]+)="([^"]*)"/gi)].map(([, name = '', value = '']) => [
      name.toLowerCase(),
      value,
    ]),
  )
  const realm = found.get('realm')
  if (realm === undefined) return undefined
  const query = ['service', 'scope'].flatMap((name) => {
    const value = found.get(name)
    return value === undefined ? [] : [[name, value] as const]
  })
  return { realm, query: Object.fromEntries(query) }
}

async function tokenFrom(
  sender: Sender,
  realm: URL,
  basic: string | undefined,
  signal: AbortSignal,
): Promise<string> {
  const where = `${realm.origin}${realm.pathname}`
  const headers = basic === undefined ? {} : { authorization: basic }
  const { status, body } = await sender
    .send('GET', realm.href, headers, undefined, signal)
    .catch(requestFailed(`${where}: no token`, signal))
  const answer = status === 200 ? objectOf(Buffer.from(body).toString()) : `status ${status}`
  const token = typeof answer === 'string' ? undefined : (answer['token'] ?? answer['access_token'])
  if (typeof token === 'string' && token !== '') return token
  throw new Stage5Error(
    'S5_FETCH_FAILED',
    `${where}: expected a token, found ${typeof answer === 'string' ? answer : 'an answer without one'}`,
    { hint: LOGIN_HINT, data: { status } },
  )
}

export const LOGIN_HINT =
  'docker login HOST (or podman, skopeo), or name user and password: oci://USER:PASSWORD@HOST/REPOSITORY'

/** What a login wrote down for a registry, in base64. @see containers-auth.json(5); docker login, "config.json" */
async function keptPair(host: string): Promise<string | undefined> {
  const { REGISTRY_AUTH_FILE, DOCKER_CONFIG, XDG_RUNTIME_DIR } = process.env
  const places = REGISTRY_AUTH_FILE
    ? [REGISTRY_AUTH_FILE]
    : [
        ...(XDG_RUNTIME_DIR ? [join(XDG_RUNTIME_DIR, 'containers/auth.json')] : []),
        join(DOCKER_CONFIG || join(homedir(), '.docker'), 'config.json'),
      ]
  for (const place of places) {
    const text = await readFile(place, 'utf8').catch(() => undefined)
    if (text === undefined) continue
    const kept = objectOf(text)
    if (typeof kept === 'string')
      throw new Stage5Error('S5_USAGE', `${place}: expected logins of registries, found ${kept}`, {
        data: { path: place },
      })
    const auths = kept['auths'] as { readonly [host: string]: { readonly auth?: unknown } } | undefined
    const auth = (auths?.[host] ?? auths?.[`https://${host}`])?.auth
    if (typeof auth === 'string' && auth !== '') return auth
  }
  return undefined
}
