/**
 * The JSON documents of an OCI image layout.
 * @see OCI Image Format Specification 1.0: image-layout.md, manifest.md, config.md, annotations.md
 */
import type { Digest } from '../base/digest.ts'
import { type Json, stableJson } from '../base/json.ts'

type LayerType = 'tar' | 'tar+gzip'

export interface OciLayer {
  readonly type: LayerType
  /** Of the blob as stored. */
  readonly digest: Digest
  readonly size: number
  /** Of the archive without compression. */
  readonly diffId: Digest
  /** What is in it, for `history`. */
  readonly comment: string
}

export interface OciImage {
  /** In Debian's words. */
  readonly arch: string
  readonly name: string
  readonly version: string
  /** Digest of the root, or what else names the source. */
  readonly revision: string
  /** Seconds since 1970. */
  readonly date: number
  readonly layers: readonly OciLayer[]
}

export const OCI_LAYOUT = '{"imageLayoutVersion":"1.0.0"}'

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const CONFIG = 'application/vnd.oci.image.config.v1+json'

export function ociConfig({ arch, date, layers }: OciImage): string {
  const created = new Date(date * 1000).toISOString().replace('.000Z', 'Z')
  return stableJson({
    architecture: arch,
    os: 'linux',
    created,
    config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'] },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map(({ comment }) => ({ created, created_by: 'stage5', comment })),
  })
}

/** A blob by what its descriptor says. */
interface Blob {
  readonly digest: Digest
  readonly size: number
}

export function ociManifest(image: OciImage, config: Blob): string {
  return stableJson({
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: { mediaType: CONFIG, digest: config.digest, size: config.size },
    layers: image.layers.map(({ type, digest, size }) => ({
      mediaType: `application/vnd.oci.image.layer.v1.${type}`,
      digest,
      size,
    })),
    annotations: annotations(image),
  })
}

/** @param manifest of the only image of the layout, which is tagged with its version */
export function ociIndex(image: OciImage, manifest: Blob): string {
  return stableJson({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [
      {
        mediaType: MANIFEST,
        digest: manifest.digest,
        size: manifest.size,
        platform: { architecture: image.arch, os: 'linux' },
        annotations: { 'org.opencontainers.image.ref.name': image.version },
      },
    ],
  })
}

function annotations({ name, version, revision, date }: OciImage): { readonly [key: string]: Json } {
  return {
    'org.opencontainers.image.title': name,
    'org.opencontainers.image.version': version,
    'org.opencontainers.image.revision': revision,
    'org.opencontainers.image.created': new Date(date * 1000).toISOString().replace('.000Z', 'Z'),
  }
}
