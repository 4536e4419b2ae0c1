/** lock → packages: every package fetched, checked, unpacked into the store; what was unpacked before is only read. */
import { type Digest, digestOf } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import { labelOf } from '../pkg/package.ts'
import type { Locked, Lock } from '../resolve/lock.ts'
import { trustDigest, type Trust } from '../repo/package-trust.ts'
import type { Unpacked } from '../tree/unpacked.ts'
import { ingest, openIngest } from '../jobs/ingest.ts'
import type { World } from './world.ts'

/** Raise when unpacking the same file gives another tree than before. */
const READER_VERSION = 1
const KINDS = { deb: 'deb', semver: 'native', ebuild: 'gentoo' } as const

/** In the order of the lock. */
export async function unpackAll(world: World, lock: Lock): Promise<readonly Unpacked[]> {
  const store = await world.store()
  const trust = await trustOf(world, lock)
  const known = await Promise.all(
    lock.packages.map(async (pkg) => {
      const found = await store.unpacked(recordKey(pkg))
      return found && isTrusted(found, trust.get(pkg)) ? found : undefined
    }),
  )
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
        const name = labelOf(pkg)
        const { version, arch, slot, use, buildId } = pkg
        const needed = trust.get(pkg)
        const job = {
          kind: KINDS[pkg.scheme],
          file,
          label: name,
          expect: { name: pkg.name, version, arch, slot, use, buildId },
          ...(needed && { trust: needed.trust }),
        }
        const unpacked = await ingest(threads, transaction, store, job, world.signal)
        made.set(pkg, needed ? judgedBy(unpacked, needed) : unpacked)
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
  // All of them in one transaction: each waits for the disk, and leaves a segment that every start has to read.
  await Promise.all([...made].map(([pkg, unpacked]) => store.setUnpacked(recordKey(pkg), unpacked)))
  return lock.packages.map((pkg, at) => known[at] ?? (made.get(pkg) as Unpacked))
}

/**
 * Whose signatures the packages of the lock need.
 * @throws S5_LOCK_STALE when the policy of a repository is another one than the lock was made with
 */
async function trustOf(world: World, lock: Lock): Promise<ReadonlyMap<Locked, Judge>> {
  const found = new Map<Locked, Judge>()
  for (const { name, signatures } of lock.repositories) {
    if (signatures === undefined) continue
    const repository = await world.repository(name)
    const policy = await repository.policy?.()
    if (policy !== signatures)
      throw new Stage5Error(
        'S5_LOCK_STALE',
        `the lock was made with signatures: ${signatures} of ${name}, now they are: ${policy ?? 'none'}`,
        { hint: `stage5 lock ${lock.profile}` },
      )
    for (const pkg of lock.packages) {
      const trust = pkg.repo === name ? await repository.trust?.(pkg) : undefined
      if (trust) found.set(pkg, { trust, digest: await trustDigest(trust) })
    }
  }
  return found
}

interface Judge {
  readonly trust: Trust
  readonly digest: Digest
}

/** Member of a record that says by what its signatures were judged; no member of a package has a slash. */
const JUDGED = 'stage5/judged'

function judgedBy(unpacked: Unpacked, { digest }: Judge): Unpacked {
  return { ...unpacked, control: { ...unpacked.control, [JUDGED]: digest } }
}

function isTrusted({ control }: Unpacked, judge: Judge | undefined): boolean {
  return !judge || judge.trust.signatures === 'off' || control[JUDGED] === judge.digest
}

/** Under which the store keeps what a package was unpacked to. */
export function recordKey(pkg: Locked): Digest {
  return digestOf(`unpacked ${READER_VERSION} ${labelOf(pkg)} ${pkg.scheme} ${pkg.sha256}`)
}
