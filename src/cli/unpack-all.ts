/** lock → packages: every package fetched, checked, unpacked into the store; what was unpacked before is only read. */
import { setImmediate } from 'node:timers/promises'
import { type Digest, digestOf } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import { labelOf } from '../pkg/package.ts'
import type { Locked, Lock } from '../resolve/lock.ts'
import { trustDigest, type Trust } from '../repo/package-trust.ts'
import type { Unpacked } from '../tree/unpacked.ts'
import type { Pool } from '../host/pool.ts'
import { ingest, openIngest } from '../jobs/ingest.ts'
import type { FoundPackage, Store, Transaction } from '../store/store.ts'
import type { World } from './world.ts'

/** Raise when unpacking the same file gives another tree than before. */
const READER_VERSION = 1
const KINDS = { deb: 'deb', semver: 'native', ebuild: 'gentoo' } as const

/** Packages whose files can be read, some before they are durable. */
export interface Unpacking {
  /** In the order of the lock. */
  readonly packages: readonly Unpacked[]
  /** Resolves when all is durable: before, nothing may be kept that says so. */
  readonly durable: Promise<void>
}

/** In the order of the lock, all of it durable. */
export async function unpackAll(world: World, lock: Lock): Promise<readonly Unpacked[]> {
  const { packages, durable } = await beginUnpack(world, lock)
  await durable
  return packages
}

/** What was unpacked before is read while threads unpack the rest; what follows can begin before that is durable. */
export async function beginUnpack(world: World, lock: Lock): Promise<Unpacking> {
  const store = await world.store()
  const trust = await trustOf(world, lock)
  const made = new Map<Locked, Unpacked>()
  const found = new Map<Locked, FoundPackage>()
  for (const pkg of lock.packages) {
    const one = store.findUnpacked(recordKey(pkg))
    if (one && isTrusted(one, trust.get(pkg))) found.set(pkg, one)
  }
  const missing = lock.packages.filter((pkg) => !found.has(pkg))
  const sizes = missing.map(({ file }) => file.size)
  await using threads = openIngest(sizes, world.threads, store)
  const lost: Locked[] = []
  const known = new Map<Locked, Unpacked>()
  let transaction: Transaction | undefined
  const into = (): Transaction => (transaction ??= store.begin())
  try {
    const begun = Promise.withResolvers<void>()
    const unpack = async (pkg: Locked): Promise<void> => {
      const needed = trust.get(pkg)
      const unpacked = await unpackOne(world, pkg, needed, { threads, into: into(), begun: begun.resolve })
      made.set(pkg, needed ? judgedBy(unpacked, needed) : unpacked)
    }
    const unpacking = Promise.all(missing.map((pkg) => world.limit(() => unpack(pkg))))
    // Reading trees holds this thread up: the others are given work first.
    await Promise.race([begun.promise, unpacking])
    for (const [pkg, { control, tree: read }] of found) {
      const tree = read()
      if (tree) known.set(pkg, { tree, control })
      else lost.push(pkg)
      if (missing.length > 0) await setImmediate()
    }
    await unpacking
    await Promise.all(lost.map((pkg) => world.limit(() => unpack(pkg))))
  } catch (error) {
    await transaction?.[Symbol.asyncDispose]()
    throw error
  }
  const durable = keep(store, transaction, made)
  // Whoever waits for it is told.
  durable.catch(() => undefined)
  return { packages: lock.packages.map((pkg) => (known.get(pkg) ?? made.get(pkg)) as Unpacked), durable }
}

async function keep(
  store: Store,
  transaction: Transaction | undefined,
  made: ReadonlyMap<Locked, Unpacked>,
): Promise<void> {
  await transaction?.commit()
  // All of them in one transaction: each waits for the disk, and leaves a segment that every start has to read.
  await Promise.all([...made].map(([pkg, unpacked]) => store.setUnpacked(recordKey(pkg), unpacked)))
}

interface Into {
  readonly threads: Pool | undefined
  readonly into: Transaction
  /** Called when the file is there and a thread has been told to unpack it. */
  readonly begun: () => void
}

async function unpackOne(
  world: World,
  pkg: Locked,
  needed: Judge | undefined,
  { threads, into, begun }: Into,
): Promise<Unpacked> {
  world.signal.throwIfAborted()
  const store = await world.store()
  const repository = await world.repository(pkg.repo)
  const file = await repository.fetch(pkg, world.signal)
  const { name, version, arch, slot, use, buildId } = pkg
  const job = {
    kind: KINDS[pkg.scheme],
    file,
    label: labelOf(pkg),
    expect: { name, version, arch, slot, use, buildId },
    ...(needed && { trust: needed.trust }),
  }
  const unpacking = ingest(threads, into, store, job, world.signal)
  begun()
  const unpacked = await unpacking
  world.report({
    kind: 'package.unpacked',
    name: job.label,
    entries: unpacked.tree.names.length,
    bytes: pkg.file.size,
    fromCache: false,
  })
  return unpacked
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

function isTrusted({ control }: FoundPackage, judge: Judge | undefined): boolean {
  return !judge || judge.trust.signatures === 'off' || control[JUDGED] === judge.digest
}

/** Under which the store keeps what a package was unpacked to. */
export function recordKey(pkg: Locked): Digest {
  return digestOf(`unpacked ${READER_VERSION} ${labelOf(pkg)} ${pkg.scheme} ${pkg.sha256}`)
}
