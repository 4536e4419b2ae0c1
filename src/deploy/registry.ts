/**
 * An OCI registry as the place of published generations (distribution specification 1.1):
 *
 *   tag stage5            an artifact whose layers are the signed metadata and documents, by their path as title;
 *                         moving this tag is what makes everything visible at once
 *   tag <line>-g<seq>     a generation: each file is one blob, read with ranges
 *   subject of that       deltas, each an artifact of its own; where the registry has no referrers API, the tag
 *                         sha256-<digest> lists them, as the specification says
 */
import { createReadStream } from 'node:fs'
import { type Digest, digester, digestOf, hexOf } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import { type Json, stableJson } from '../base/json.ts'
import type { PublishedGeneration } from '../fleet/channel.ts'
import {
  locationOf,
  openSender,
  redactUrl,
  redirectTarget,
  requestFailed,
  type Sender,
} from '../host/http.ts'
import type { Place, PlacedFile } from './place.ts'
import { type Login, LOGIN_HINT, openLogin } from './registry-login.ts'

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const INDEX = 'application/vnd.oci.image.index.v1+json'
const EMPTY = { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf('{}'), size: 2 } as const
const TITLE = 'org.opencontainers.image.title'
const TYPES = {
  metadata: 'application/vnd.stage5.metadata.v1',
  generation: 'application/vnd.stage5.generation.v1',
  delta: 'application/vnd.stage5.delta.v1',
} as const
const STATE = 'stage5'
const IDLE_MS = 60_000
/** From a blob to where it lies, as registries in front of a CDN answer. */
const MAX_REDIRECTS = 5

interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
  readonly annotations?: { readonly [name: string]: string }
  readonly artifactType?: string
}

interface Manifest {
  readonly layers?: readonly Descriptor[]
  readonly manifests?: readonly Descriptor[]
}

/**
 * @param address `oci://[USER:PASSWORD@]HOST[:PORT]/REPOSITORY`; loopback is spoken to without TLS
 * @throws S5_USAGE
 */
export async function openRegistry(address: string, signal: AbortSignal): Promise<Place> {
  const found = /^oci:\/\/((?:[^/@]*@)?)([^/@]+)\/([a-z0-9]+(?:[._/-][a-z0-9]+)*)$/.exec(address)
  const [, user = '', host = '', repository = ''] = found ?? []
  if (!found)
    throw new Stage5Error(
      'S5_USAGE',
      `expected oci://HOST[:PORT]/REPOSITORY, found ${redactUrl(address.replace(/^oci:/, 'https:'))}`,
    )
  const scheme = /^(?:localhost|127\.[0-9.]+|\[::1\])(?::\d+)?$/.test(host) ? 'http' : 'https'
  const shown = `oci://${host}/${repository}`
  const base = `${scheme}://${host}/v2/${repository}`
  const sender = openSender({ idleTimeoutMs: IDLE_MS })
  const login = await openLogin(sender, { scheme, host, user: user.slice(0, -1) })
  const ask = asker(sender, login, new URL(base).host, shown)
  const known = await manifestOf(STATE)
  const documents = new Map(
    (known?.manifest.layers ?? []).map((layer) => [layer.annotations?.[TITLE] ?? '', layer]),
  )

  async function manifestOf(reference: string): Promise<{ manifest: Manifest; digest: Digest } | undefined> {
    const accept = `${MANIFEST}, ${INDEX}`
    const { status, body } = await ask(
      'GET',
      `${base}/manifests/${reference}`,
      { accept },
      undefined,
      [200, 404],
      signal,
    )
    if (status === 404) return undefined
    return { manifest: JSON.parse(Buffer.from(body).toString()) as Manifest, digest: digestOf(body) }
  }

  /** @returns bytes that travelled */
  async function putBlob(
    { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
    bytes: () => Uint8Array | AsyncIterable<Uint8Array>,
    stop: AbortSignal,
  ): Promise<number> {
    const there = await ask('HEAD', `${base}/blobs/${digest}`, {}, undefined, [200, 404], stop)
    if (there.status === 200) return 0
    const begun = await ask(
      'POST',
      `${base}/blobs/uploads/`,
      { 'content-length': '0' },
      undefined,
      [202],
      stop,
    )
    const to = new URL(begun.headers['location'] ?? '', `${base}/blobs/uploads/`)
    to.searchParams.set('digest', digest)
    const headers = { 'content-type': 'application/octet-stream', 'content-length': String(size) }
    await ask('PUT', to.href, headers, bytes, [201], stop)
    return size
  }

  async function putManifest(
    reference: string | undefined,
    mediaType: string,
    value: { readonly [key: string]: Json },
    stop: AbortSignal,
  ): Promise<{ readonly descriptor: Descriptor; readonly hasReferrers: boolean }> {
    const bytes = Buffer.from(stableJson({ schemaVersion: 2, mediaType, ...value }))
    const digest = digestOf(bytes)
    const headers = { 'content-type': mediaType }
    const put = await ask(
      'PUT',
      `${base}/manifests/${reference ?? digest}`,
      headers,
      () => bytes,
      [201],
      stop,
    )
    return {
      descriptor: { mediaType, digest, size: bytes.length },
      hasReferrers: put.headers['oci-subject'] !== undefined,
    }
  }

  async function putArtifact(
    reference: string | undefined,
    artifactType: string,
    layers: readonly Descriptor[],
    stop: AbortSignal,
    subject?: Descriptor,
  ): ReturnType<typeof putManifest> {
    await putBlob(EMPTY, () => Buffer.from('{}'), stop)
    const value = { artifactType, config: EMPTY, layers, ...(subject && { subject }) }
    return await putManifest(reference, MANIFEST, value as never, stop)
  }

  /** What the state tag meant when it was last read or moved here. */
  let state = known?.digest

  const commit = async (stop: AbortSignal): Promise<void> => {
    const layers = [...documents].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, layer]) => layer)
    // A tag has no compare-and-swap in the specification: this is as near as one comes.
    const found = (await manifestOf(STATE))?.digest
    if (found !== state)
      throw new Stage5Error(
        'S5_PUBLISH_REFUSED',
        `${shown}: somebody else published meanwhile: expected tag ${STATE} to be ${state ?? 'absent'}, found ${found ?? 'none'}`,
        { hint: 'say the same command again: what it brought is there already' },
      )
    const { descriptor } = await putArtifact(STATE, TYPES.metadata, layers, stop)
    state = descriptor.digest
  }

  return {
    name: shown,
    read: async (path) => {
      const layer = documents.get(path)
      if (!layer) return undefined
      const { body } = await ask('GET', `${base}/blobs/${layer.digest}`, {}, undefined, [200], signal)
      if (digestOf(body) === layer.digest) return body
      throw new Stage5Error(
        'S5_DIGEST_MISMATCH',
        `${shown}: ${path}: expected ${layer.digest}, found ${digestOf(body)}`,
      )
    },
    putFile: (file, stop) =>
      putBlob({ digest: `sha256:${file.sha256}`, size: file.size }, () => fileBytes(file), stop),
    put: async (path, bytes) => {
      const layer = { mediaType: 'application/octet-stream', digest: digestOf(bytes), size: bytes.length }
      await putBlob(layer, () => bytes, signal)
      documents.set(path, { ...layer, annotations: { [TITLE]: path } })
    },
    complete: async (generation, stop) => {
      const { descriptor } = await putArtifact(
        tagOf(generation),
        TYPES.generation,
        generation.files.map(layerOf),
        stop,
      )
      const referrers: Descriptor[] = []
      let hasReferrers = true
      for (const delta of generation.deltas) {
        const layers = [
          { ...layerOf(delta), annotations: { [TITLE]: delta.name, 'stage5.from': delta.from } },
        ]
        const put = await putArtifact(undefined, TYPES.delta, layers, stop, descriptor)
        referrers.push({ ...put.descriptor, artifactType: TYPES.delta })
        hasReferrers &&= put.hasReferrers
      }
      if (!hasReferrers)
        await putManifest(fallbackTag(descriptor.digest), INDEX, { manifests: referrers as never }, stop)
    },
    commit,
    collect: async (keep, gone, stop) => {
      const removed = [...documents.keys()].filter((path) => !keep.has(path)).sort()
      for (const path of removed) documents.delete(path)
      if (removed.length > 0) await commit(stop)
      for (const generation of gone) {
        const tagged = await manifestOf(tagOf(generation))
        if (!tagged) continue
        const listed = await manifestOf(fallbackTag(tagged.digest))
        const digests = [
          ...(listed?.manifest.manifests ?? []).map(({ digest }) => digest),
          ...(listed ? [listed.digest] : []),
          tagged.digest,
        ]
        // Not every registry lets its users delete: then it collects what has no tag by its own rules.
        for (const digest of digests)
          await ask('DELETE', `${base}/manifests/${digest}`, {}, undefined, [202, 404, 405], stop)
        removed.push(tagOf(generation))
      }
      return removed
    },
    [Symbol.asyncDispose]: () => sender.close(),
  }
}

function tagOf({ line, seq }: Pick<PublishedGeneration, 'line' | 'seq'>): string {
  return `${line.replace(/[^A-Za-z0-9_.-]/g, '-')}-g${seq}`
}

/** Where clients look for referrers of a registry without that API. */
function fallbackTag(digest: Digest): string {
  return `sha256-${hexOf(digest)}`
}

function layerOf({ name, role, size, sha256 }: PublishedGeneration['files'][number]): Descriptor {
  const annotations = { [TITLE]: name, 'stage5.role': role }
  return { mediaType: 'application/octet-stream', digest: `sha256:${sha256}`, size, annotations }
}

/** The registry checks the digest, too; this names the file that is not what its manifest says. */
async function* fileBytes({ from, sha256 }: PlacedFile): AsyncGenerator<Uint8Array> {
  const sum = digester()
  for await (const part of createReadStream(from, { highWaterMark: 2 ** 20 }) as AsyncIterable<Buffer>) {
    sum.update(part)
    yield part
  }
  const actual = hexOf(sum.digest())
  if (actual !== sha256)
    throw new Stage5Error(
      'S5_DIGEST_MISMATCH',
      `${from}: expected ${sha256} of its manifest, found ${actual}`,
    )
}

type Ask = (
  method: Parameters<Sender['send']>[0],
  url: string,
  headers: { readonly [name: string]: string },
  body: (() => Parameters<Sender['send']>[3]) | undefined,
  expected: readonly number[],
  signal: AbortSignal,
) => ReturnType<Sender['send']>

/** @param home the registry's own host and port: nobody else gets its credentials */
function asker(sender: Sender, login: Login, home: string, shown: string): Ask {
  return async (method, url, headers, body, expected, signal) => {
    const where = new URL(url).pathname
    const once = async (at: URL): ReturnType<Sender['send']> => {
      const authorization = at.host === home ? login.header() : undefined
      const all = { ...headers, ...(authorization !== undefined && { authorization }) }
      return await sender.send(method, at.href, all, body?.(), signal)
    }
    const ask = async (): ReturnType<Sender['send']> => {
      let at = new URL(url)
      let answer = await once(at)
      for (let hops = 0; hops < MAX_REDIRECTS && method === 'GET'; hops++) {
        const location = locationOf(answer.status, answer.headers)
        if (location === undefined) break
        at = redirectTarget(at, location)
        answer = await once(at)
      }
      return answer
    }
    const answer = await ask()
      .then(async (first) => {
        const mayTryAgain =
          first.status === 401 && (await login.renew(first.headers['www-authenticate'], signal))
        return mayTryAgain ? await ask() : first
      })
      .catch(requestFailed(`${shown}: ${method} ${where}`, signal))
    if (expected.includes(answer.status)) return answer
    const said = Buffer.from(answer.body).toString().trim().slice(0, 200)
    throw new Stage5Error(
      'S5_FETCH_FAILED',
      `${shown}: ${method} ${where}: expected status ${expected.join(' or ')}, found ${answer.status}${said === '' ? '' : `: ${said}`}`,
      {
        hint: answer.status === 401 || answer.status === 403 ? LOGIN_HINT : undefined,
        data: { status: answer.status },
      },
    )
  }
}
