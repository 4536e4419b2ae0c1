/** Which accelerator QEMU can really use here: KVM is believed only when a guest has run under it. */
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isStage5Error } from '../base/errors.ts'
import { run } from '../host/run.ts'
import { bootId, temporaryDirectory } from '../host/temp.ts'
import type { GuestArch } from './qemu.ts'

type Accel = 'kvm' | 'tcg'

/**
 * A boot sector in real mode: `mov dx, 0x501; mov al, 0x2a; out dx, al; hlt; jmp back`. The port belongs to
 * isa-debug-exit, which ends QEMU with exit code 2 x value + 1.
 */
const SECTOR: readonly number[] = [0xba, 0x01, 0x05, 0xb0, 0x2a, 0xee, 0xf4, 0xeb, 0xfd]
const EXIT_CODE = 2 * 0x2a + 1

/** The image of a disk that ends QEMU with `EXIT_CODE` as soon as it boots. */
export function probeSector(): Uint8Array {
  const sector = new Uint8Array(512)
  sector.set(SECTOR)
  sector.set([0x55, 0xaa], 510)
  return sector
}

interface AccelProbe {
  readonly arch: GuestArch
  /** The answer is kept here until the next reboot of this machine; absent: asked every time. */
  readonly cacheFile?: string
  readonly signal: AbortSignal
  /** How long the guest may take; a device that hangs costs this once. Default 3000. */
  readonly timeoutMs?: number
  /** The device that must be accessible. Default /dev/kvm. */
  readonly device?: string
}

/**
 * `kvm` if a 512-byte guest ran to its end under it within the time, otherwise `tcg`, which always works.
 *
 * /dev/kvm may be there, may be opened and may yet run no guest: nested machines and containers do that.
 * @throws only the reason of the signal
 */
export async function probeAccel(probe: AccelProbe): Promise<Accel> {
  const device = probe.device ?? '/dev/kvm'
  if (probe.arch !== 'amd64' || process.arch !== 'x64' || !accessible(device)) return 'tcg'
  const key = `${device} ${bootId()}`
  const known = probe.cacheFile === undefined ? undefined : remembered(probe.cacheFile, key)
  if (known) return known
  const accel = (await runsUnder('kvm', probe.timeoutMs ?? 3_000, probe.signal)) ? 'kvm' : 'tcg'
  if (probe.cacheFile !== undefined) remember(probe.cacheFile, key, accel)
  return accel
}

/** Whether the probe guest ends as it should under an accelerator. */
export async function runsUnder(accel: Accel, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
  using folder = temporaryDirectory()
  const image = join(folder.path, 'sector')
  writeFileSync(image, probeSector())
  const disk = { driver: 'file', 'node-name': 'probe', filename: image }
  try {
    await run(
      [
        'qemu-system-x86_64',
        ...['-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'pc', '-m', '16'],
        ...['-accel', accel, '-blockdev', JSON.stringify(disk), '-device', 'ide-hd,drive=probe'],
        ...['-device', 'isa-debug-exit,iobase=0x501,iosize=1'],
      ],
      { timeoutMs, signal, accept: [EXIT_CODE] },
    )
    return true
  } catch (error) {
    if (isStage5Error(error, 'S5_TOOL_FAILED', 'S5_TOOL_MISSING')) return false
    throw error
  }
}

function accessible(device: string): boolean {
  try {
    accessSync(device, constants.R_OK | constants.W_OK)
    return true
  } catch {
    return false
  }
}

function remembered(file: string, key: string): Accel | undefined {
  try {
    const [keptKey, accel] = readFileSync(file, 'latin1').split('\n')
    return keptKey === key && (accel === 'kvm' || accel === 'tcg') ? accel : undefined
  } catch {
    return undefined
  }
}

/** A cache that cannot be written costs the probe again next time, and nothing else. */
function remember(file: string, key: string, accel: Accel): void {
  try {
    writeFileSync(file, `${key}\n${accel}\n`)
  } catch {
    return
  }
}
