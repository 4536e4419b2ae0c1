/** The boot tests of a profile, run on an output: each starts guests, waits, asks, and says what it saw. */
import { basename, join } from 'node:path'
import type { Digest } from '../base/digest.ts'
import { isStage5Error, Stage5Error } from '../base/errors.ts'
import { checkCommand, checkHttp, unusedPort } from '../deploy/guest-check.ts'
import { bootGuest, type Guest, type GuestSpec, waitReady } from '../deploy/qemu.ts'
import { monotonicMs } from '../host/clock.ts'
import { digestFile } from '../host/file-sink.ts'
import { temporaryDirectory } from '../host/temp.ts'
import type { BootWay, GuestTest, Profile } from '../resolve/profile.ts'
import { bootTest } from '../resolve/shape-tests.ts'
import type { TestResult } from './boot-record.ts'
import { specOf } from './guest-spec.ts'
import type { Manifest } from './manifest.ts'
import type { World } from './world.ts'

/** What the profile declares, or else that the ready line comes. */
export function testsOf(profile: Profile): readonly GuestTest[] {
  return profile.tests.length > 0 ? profile.tests : [bootTest({ name: 'ready' })]
}

interface Output {
  readonly directory: string
  readonly manifest: Manifest
}

/** One guest of one test. Its disks are new, and gone afterwards. @throws what is no answer: a missing image or tool */
export async function runTest(
  world: World,
  { directory, manifest }: Output,
  profile: Profile,
  test: GuestTest,
  { way, accel }: { readonly way: BootWay; readonly accel: 'kvm' | 'tcg' },
): Promise<TestResult> {
  using folder = temporaryDirectory()
  const ports = new Map<number, number>()
  for (const { port } of test.http) if (!ports.has(port)) ports.set(port, await unusedPort())
  const spec = await specOf(world, directory, manifest, {
    way,
    firmware: test.firmware,
    ...(test.memory > 0 && { memory: test.memory }),
    forwards: [...ports].map(([guest, host]) => ({ host, guest })),
    append: [],
    accel,
    folder: folder.path,
    fresh: true,
  })
  const began = monotonicMs()
  const seen = await ask(world, spec, profile, test, ports)
  const firmware = spec.firmware === undefined ? 'bios' : 'uefi'
  const { reason, readyMs, checks } = judged(test, seen)
  return {
    name: test.name,
    image: way,
    firmware: way === 'disk' || way === 'qcow2' || way === 'vhd' ? firmware : 'none',
    result: reason === undefined ? 'passed' : 'failed',
    ...(reason !== undefined && { reason }),
    checks,
    ...(readyMs !== undefined && { readyMs: Math.round(readyMs) }),
    ms: Math.round(monotonicMs() - began),
  }
}

interface Seen {
  readonly readyMs?: number
  readonly checks: number
  /** What was not as it should be. */
  readonly wrong?: string
}

async function ask(
  world: World,
  spec: GuestSpec,
  profile: Profile,
  test: GuestTest,
  ports: ReadonlyMap<number, number>,
): Promise<Seen> {
  const timeoutMs = (test.timeoutSeconds || profile.boot.timeoutSeconds) * 1000
  await using guest = await bootGuest(spec, { signal: world.signal })
  let readyMs: number
  try {
    readyMs = await waitReady(guest, test.ready || profile.boot.ready, timeoutMs)
  } catch (error) {
    world.signal.throwIfAborted()
    if (!isStage5Error(error, 'S5_NOT_BOOTED')) throw error
    const { reason } = error.data
    return { checks: 1, wrong: typeof reason === 'string' ? reason : error.message }
  }
  return { readyMs, ...(await questions(world, guest, test, ports, timeoutMs)) }
}

async function questions(
  world: World,
  guest: Guest,
  test: GuestTest,
  ports: ReadonlyMap<number, number>,
  timeoutMs: number,
): Promise<Seen> {
  let checks = 1
  for (const check of test.http) {
    checks++
    const wrong = await checkHttp(ports.get(check.port) as number, check, timeoutMs, world.signal)
    if (wrong !== undefined) return { checks, wrong }
  }
  for (const [nth, check] of test.console.entries()) {
    checks++
    const wrong = await checkCommand(guest, check, nth, timeoutMs)
    if (wrong !== undefined) return { checks, wrong }
  }
  return { checks }
}

/** A guest that must not come up has to fail for the reason that the profile expects. */
function judged(test: GuestTest, seen: Seen): { reason?: string; readyMs?: number; checks: number } {
  const { readyMs, checks, wrong } = seen
  const rest = { checks, ...(readyMs !== undefined && { readyMs }) }
  if (test.expect === 'pass') return { ...rest, ...(wrong !== undefined && { reason: wrong }) }
  if (wrong === undefined) return { ...rest, reason: 'the guest came up, and it must not' }
  if (wrong.includes(test.reason)) return rest
  return { ...rest, reason: `expected ${JSON.stringify(test.reason)} as the reason, found: ${wrong}` }
}

/**
 * Reads the files that the tests start guests from, and compares them with the manifest.
 * @throws S5_DIGEST_MISMATCH
 */
export async function bootedFiles(
  world: World,
  { directory, manifest }: Output,
  ways: ReadonlySet<BootWay>,
): Promise<{ name: string; digest: Digest }[]> {
  const { boot } = manifest
  const both = [boot.kernel, boot.initrd, boot.base, boot.verity]
  const wanted: { readonly [way in BootWay]: readonly (string | undefined)[] } = {
    kernel: both,
    initrd: [boot.kernel, boot.oneInitrd],
    netboot: [boot.netboot, boot.kernel, boot.initrd, boot.base],
    disk: [boot.disk],
    qcow2: [boot.qcow2],
    vhd: [boot.vhd],
  }
  const names = [...ways].flatMap((way) => wanted[way])
  const unique = new Set(
    [...names, ...boot.data.map(({ file }) => file)].filter((name) => name !== undefined),
  )
  const files: { name: string; digest: Digest }[] = []
  for (const name of [...unique].map((each) => basename(each)).sort()) {
    world.signal.throwIfAborted()
    const digest = await digestFile(join(directory, name))
    const expected = manifest.files.find((file) => file.name === name)?.digest
    if (digest !== expected)
      throw new Stage5Error(
        'S5_DIGEST_MISMATCH',
        `${name}: expected ${expected ?? 'a file that the manifest names'}, found ${digest}`,
        { hint: 'build the profile again: this output was changed after it was built' },
      )
    files.push({ name, digest })
  }
  return files
}
