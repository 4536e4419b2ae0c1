/**
 * Small file systems of our own, filled up and cut off. Runs as root in a mount namespace:
 *
 *   unshare -m node mounted.ts full tmpfs|ext4 POSITIONS
 *   unshare -m node mounted.ts cut ROUNDS real|MUTANT
 *
 * Prints one line of JSON: `{ tried, wrong: [...] }`.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isStage5Error } from '../../src/base/errors.ts'
import { type Disk, realDisk } from '../../src/host/disk.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { openStore } from '../../src/store/store.ts'
import { MUTANTS } from '../helpers/faults.ts'
import { ingest, keyOfPackage, problemsOf, wrongWith } from './workload.ts'

/** EXT4_IOC_SHUTDOWN with NOLOGFLUSH: what is not on the disk yet never gets there. */
const SHUTDOWN =
  'import fcntl, os, struct, sys; fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack("I", 2))'

using directory = temporaryDirectory()
const disk = join(directory.path, 'disk')
const mount = join(directory.path, 'mount')
const wrong: string[] = []
let tried = 0
mkdirSync(mount)
const [mode, ...rest] = process.argv.slice(2)
if (mode === 'full') await fill(rest[0] as string, Number(rest[1]))
else await cut(Number(rest[0]), rest[1] === 'real' ? realDisk : MUTANTS[rest[1] as keyof typeof MUTANTS])
console.log(JSON.stringify({ tried, wrong }))

function sh(...argv: string[]): void {
  execFileSync(argv[0] as string, argv.slice(1), { stdio: ['ignore', 'ignore', 'inherit'] })
}

function makeExt4(): void {
  rmSync(disk, { force: true })
  sh('truncate', '-s', '24M', disk)
  sh('mkfs.ext4', '-q', '-F', '-m', '0', disk)
}

/** Leaves a little more space each time, so that the disk becomes full in another place. */
async function fill(type: string, positions: number): Promise<void> {
  for (; tried < positions; tried++) {
    if (type === 'tmpfs') sh('mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', mount)
    else {
      makeExt4()
      sh('mount', '-o', 'loop', disk, mount)
    }
    try {
      await fillOnce(100_000 + tried * 13_000)
    } finally {
      sh('umount', mount)
    }
  }
}

async function fillOnce(left: number): Promise<void> {
  const acknowledged: string[] = []
  const path = join(mount, 'store')
  const filler = join(mount, 'fill')
  {
    await using store = await openStore(path)
    const { bavail, bsize } = statfsSync(mount)
    writeFileSync(filler, Buffer.alloc(bavail * bsize - left, 1))
    try {
      for (let at = 0; at < 1_000; at++) {
        await ingest(store, `p${at}`)
        acknowledged.push(`p${at}`)
      }
      wrong.push(`${left}: the disk never became full`)
    } catch (error) {
      if (!isStage5Error(error, 'S5_DISK_FULL')) wrong.push(`${left}: ${(error as Error).message}`)
    }
  }
  await check(path, acknowledged, `${left} left, full`)
  rmSync(filler)
  await using store = await openStore(path)
  await ingest(store, 'next')
  await check(path, [...acknowledged, 'next'], `${left} left, after`)
}

async function check(path: string, acknowledged: readonly string[], when: string): Promise<void> {
  await using store = await openStore(path)
  for (const seed of acknowledged) {
    const what = await wrongWith(store, seed)
    if (what) wrong.push(`${when}: ${what}`)
  }
  for (const problem of await problemsOf(store)) wrong.push(`${when}: ${problem}`)
}

/** Power goes right after an acknowledgement, before anything is written back by itself. */
async function cut(rounds: number, on: Disk): Promise<void> {
  makeExt4()
  const path = join(mount, 'store')
  const acknowledged: string[] = []
  for (; tried < rounds && wrong.length === 0; tried++) {
    sh('mount', '-o', 'loop', disk, mount)
    const seed = `p${tried}`
    try {
      await using store = await openStore(path, { disk: on })
      await ingest(store, seed)
      acknowledged.push(seed)
      if (tried % 3 === 2) {
        const tree = (await store.unpacked(keyOfPackage(seed)))?.tree
        if (tree) await store.setRef(seed, await store.saveTree(tree))
      }
      sh('python3', '-c', SHUTDOWN, mount)
    } finally {
      sh('umount', mount)
    }
    sh('mount', '-o', 'loop', disk, mount)
    try {
      await check(path, acknowledged, `cut ${tried}`)
      await using store = await openStore(path)
      const refs = await store.refs()
      for (let at = 2; at <= tried; at += 3)
        if (!refs.has(`p${at}`)) wrong.push(`cut ${tried}: ref p${at} is lost`)
    } catch (error) {
      wrong.push(`cut ${tried}: ${(error as Error).message}`)
    } finally {
      sh('umount', mount)
    }
  }
}
