/** lock → packages: every package fetched, checked, unpacked into the store; what was unpacked before is only read. */
import { type Digest, digestOf } from '../base/digest.ts'
import { labelOf } from '../pkg/package.ts'
import type { Locked, Lock } from '../resolve/lock.ts'
import type { Unpacked } from '../tree/unpacked.ts'
import { ingest, openIngest } from '../jobs/ingest.ts'
import type { World } from './world.ts'

/** Raise when unpacking the same file gives another tree than before. */
const READER_VERSION = 1

/** In the order of the lock. */
export async function unpackAll(world: World, lock: Lock): Promise<readonly Unpacked[]> {
  const store = await world.store()
  const known = await Promise.all(lock.packages.map((pkg) => store.unpacked(recordKey(pkg))))
  const missing = lock.packages.filter((_, at) => known[at] === undefined)
  if (missing.length === 0) return known as readonly Unpacked[]

  const bytes = missing.reduce((sum, pkg) => sum + pkg.file.size, 0)
  await using threads = openIngest(bytes, world.threads)
  await using transaction = store.begin()
  const made = new Map<Locked, Unpacked>()
  await Promise.all(
    missing.map((pkg) =>
      world.limit(async () => {
        world.signal.throwIfAborted()
        const repository = await world.repository(pkg.repo)
        const file = await repository.fetch(pkg, world.signal)
        const kind = pkg.scheme === 'deb' ? 'deb' : 'native'
        const name = labelOf(pkg)
        const job = {
          kind,
          file,
          label: name,
          expect: { name: pkg.name, version: pkg.version, arch: pkg.arch },
        } as const
        const unpacked = await ingest(threads, transaction, store, job, world.signal)
        made.set(pkg, unpacked)
        const { length } = unpacked.tree.names
        world.report({
          kind: 'package.unpacked',
          name,
          entries: length,
          bytes: pkg.file.size,
          fromCache: false,
        })
      }),
    ),
  )
  await transaction.commit()
  for (const [pkg, unpacked] of made) await store.setUnpacked(recordKey(pkg), unpacked)
  return lock.packages.map((pkg, at) => known[at] ?? (made.get(pkg) as Unpacked))
}

function recordKey(pkg: Locked): Digest {
  return digestOf(`unpacked ${READER_VERSION} ${labelOf(pkg)} ${pkg.scheme} ${pkg.sha256}`)
}
