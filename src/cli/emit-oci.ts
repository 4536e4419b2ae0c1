/** OCI image layouts: the root in layers by package, and a disk for KubeVirt. */
import { createReadStream } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { type Digest, digester, digestOf, hexOf } from '../base/digest.ts'
import { layersOf } from '../emit/oci-layers.ts'
import { tarOf } from '../emit/tar.ts'
import { OCI_LAYOUT, type OciImage, type OciLayer, ociConfig, ociIndex, ociManifest } from '../format/oci.ts'
import { tarHeader, tarPadding, tarTrailer } from '../format/tar-write.ts'
import { treeDigest } from '../tree/text.ts'
import type { Job } from './emit-job.ts'
import type { OutputFile } from './output.ts'
import { timed } from './timed.ts'

/** A layout under construction. */
interface Layout {
  /** Name of the folder. */
  readonly name: string
  blob(bytes: Uint8Array | string): Promise<{ digest: Digest; size: number }>
}

/** `<stem>.oci`. */
export async function emitOci(job: Job): Promise<void> {
  const name = `${job.stem}.oci`
  await timed(job.world, name, async () => {
    const layout = await openLayout(job, name)
    const layers: OciLayer[] = []
    for (const { owners, tree } of layersOf(job.composed.root.tree)) {
      const parts: Uint8Array[] = []
      for await (const bytes of tarOf(tree, { contents: job.store, signal: job.world.signal }))
        parts.push(bytes)
      const archive = Buffer.concat(parts)
      const packed = await promisify(gzip)(archive, { level: 6, memLevel: 9 })
      packed[9] = 255 // RFC 1952, OS: unknown, so that the platform of the build does not show
      const comment = owners.length > 3 ? `${owners.length} packages` : owners.join(' ')
      layers.push({ type: 'tar+gzip', ...(await layout.blob(packed)), diffId: digestOf(archive), comment })
    }
    await finish(job, layout, layers)
  })
}

/** User and group that KubeVirt runs QEMU as. */
const QEMU = 107

/**
 * `<stem>.containerdisk.oci`: one layer with `/disk/disk.img`.
 * @param disk a qcow2 file of the output
 */
export async function emitContainerDisk(job: Job, { name: disk, size }: OutputFile): Promise<void> {
  const name = `${job.stem}.containerdisk.oci`
  const { output, date } = job
  const head = (path: string, type: 'dir' | 'file', mode: number, bytes: number): Uint8Array => {
    const none = { linkname: '', major: 0, minor: 0, xattrs: [] }
    return tarHeader({ path, type, mode, uid: QEMU, gid: QEMU, mtime: date, size: bytes, ...none })
  }
  const front = Buffer.concat([head('disk/', 'dir', 0o755, 0), head('disk/disk.img', 'file', 0o440, size)])
  const back = [tarPadding(size)]
  back.push(tarTrailer(front.length + size + tarPadding(size).length))
  const archive = async function* (): AsyncGenerator<Uint8Array> {
    yield front
    yield* createReadStream(join(output.directory, disk), { highWaterMark: 1 << 20 })
    yield* back
  }
  await timed(job.world, name, async () => {
    const layout = await openLayout(job, name)
    const sum = digester()
    for await (const bytes of archive()) sum.update(bytes)
    const digest = sum.digest()
    const written = await output.add(blobName(name, digest), 'oci', async (sink) => {
      for await (const bytes of archive()) await sink.write(bytes)
    })
    await finish(job, layout, [{ type: 'tar', digest, size: written.size, diffId: digest, comment: disk }])
  })
}

async function openLayout({ output }: Job, name: string): Promise<Layout> {
  await mkdir(join(output.directory, name, 'blobs/sha256'), { recursive: true })
  return {
    name,
    blob: async (content) => {
      const bytes = typeof content === 'string' ? Buffer.from(content) : content
      const digest = digestOf(bytes)
      const known = output.files.find((file) => file.name === blobName(name, digest))
      return known ?? (await output.addBytes(blobName(name, digest), 'oci', bytes))
    },
  }
}

function blobName(layout: string, digest: Digest): string {
  return `${layout}/blobs/sha256/${hexOf(digest)}`
}

async function finish(
  { output, profile, composed, date }: Job,
  layout: Layout,
  layers: readonly OciLayer[],
): Promise<void> {
  const image: OciImage = {
    arch: profile.arch,
    name: profile.id,
    version: composed.facts.version,
    revision: treeDigest(composed.root.tree),
    date,
    layers,
  }
  const config = await layout.blob(ociConfig(image))
  const manifest = await layout.blob(ociManifest(image, config))
  await output.addBytes(`${layout.name}/index.json`, 'oci', ociIndex(image, manifest))
  await output.addBytes(`${layout.name}/oci-layout`, 'oci', OCI_LAYOUT)
}
