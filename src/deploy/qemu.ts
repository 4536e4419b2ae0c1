/** Guests under QEMU: the argument vector as a pure function, and a running guest with its console. */
import { spawn } from 'node:child_process'
import { Stage5Error } from '../base/errors.ts'
import { findTool } from '../host/run.ts'
import { installHint } from '../host/tools.ts'
import { type Console, consoleFeed } from './console.ts'

export type GuestArch = 'amd64' | 'arm64'

export interface GuestSpec {
  readonly arch: GuestArch
  /** Absent: the guest starts from `disk` or `netboot`. */
  readonly kernel?: string
  /** Absent: none. */
  readonly initrd?: string
  /** Image of the base: attached read-only with serial `base`, so that any number of guests may share it. */
  readonly base?: string
  /** Its hash tree: attached read-only with serial `verity`. */
  readonly verity?: string
  /** A disk that starts by itself, attached writable. */
  readonly disk?: { readonly file: string; readonly format: 'raw' | 'qcow2' | 'vpc' }
  /** Firmware image instead of SeaBIOS, such as that of OVMF. */
  readonly firmware?: string
  /** Start by iPXE over QEMU's own TFTP: a folder and the script in it. */
  readonly netboot?: { readonly folder: string; readonly script: string }
  /** Images of data disks, attached writable in this order. */
  readonly data: readonly string[]
  /** Words of the kernel command line: the console is added unless one is named, `panic=-1` in front, and `no_timer_check` under TCG. */
  readonly cmdline: readonly string[]
  readonly memoryMiB: number
  /** Ports of 127.0.0.1 that lead to TCP ports of the guest. */
  readonly forwards: readonly { readonly host: number; readonly guest: number }[]
  /** A network card even without forwards. */
  readonly network: boolean
  readonly accel: 'kvm' | 'tcg'
  /** Arguments that say where the serial console leads, instead of our own stdin and stdout. */
  readonly serial?: readonly string[]
  /** Further arguments of QEMU, last. */
  readonly extra: readonly string[]
}

interface Machine {
  readonly program: string
  readonly machine: string
  readonly console: string
  /** What TCG plays. */
  readonly cpu: string
}

/** Signing pointers as the architecture says it costs TCG more than all else (QEMU, cpu-features.rst). */
const ARM = 'max,pauth-impdef=on'

/** Under TCG `pc`, `q35` and `microvm` reach the ready line of `minimal` equally fast (4.1 to 4.5 s); `pc` always does. */
const MACHINES: { readonly [arch in GuestArch]: Machine } = {
  amd64: { program: 'qemu-system-x86_64', machine: 'pc', console: 'ttyS0', cpu: 'max' },
  arm64: { program: 'qemu-system-aarch64', machine: 'virt', console: 'ttyAMA0', cpu: ARM },
}

/** The program of QEMU that runs guests of this architecture. */
export function qemuProgram(arch: GuestArch): string {
  return MACHINES[arch].program
}

/** Program and arguments that run this guest; `interactive` gives it the terminal (Ctrl-A X ends it). */
export function qemuArguments(spec: GuestSpec, interactive = false): string[] {
  const { program, machine, console, cpu } = MACHINES[spec.arch]
  const disk = (name: string, filename: string, readOnly: boolean) => {
    const file = { driver: 'file', filename, 'read-only': readOnly }
    const node = { driver: 'raw', 'node-name': name, 'read-only': readOnly, file }
    return ['-blockdev', JSON.stringify(node), '-device', `virtio-blk-pci,drive=${name},serial=${name}`]
  }
  const forwards = spec.forwards.map(
    ({ host, guest }) => `,hostfwd=tcp:127.0.0.1:${port(host)}-:${port(guest)}`,
  )
  const own = spec.cmdline.some((word) => word.startsWith('console=')) ? [] : [`console=${console}`]
  // On a busy host an emulated timer comes too late for the kernel's test of it, which ends in a panic.
  const late = spec.accel === 'tcg' && spec.arch === 'amd64' ? ['no_timer_check'] : []
  const words = [...own, 'panic=-1', ...late, ...spec.cmdline]
  return [
    program,
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
    ...['-machine', machine, '-accel', spec.accel, '-cpu', spec.accel === 'kvm' ? 'host' : cpu],
    ...['-m', `${spec.memoryMiB}`],
    ...(spec.serial ?? ['-serial', interactive ? 'mon:stdio' : 'stdio']),
    ...(spec.kernel === undefined ? [] : ['-kernel', spec.kernel]),
    ...(spec.initrd === undefined ? [] : ['-initrd', spec.initrd]),
    ...(spec.kernel === undefined ? [] : ['-append', words.join(' ')]),
    ...(spec.firmware === undefined ? [] : ['-bios', spec.firmware]),
    ...(spec.disk === undefined ? [] : bootDisk(spec.disk)),
    ...(spec.base === undefined ? [] : disk('base', spec.base, true)),
    ...(spec.verity === undefined ? [] : disk('verity', spec.verity, true)),
    ...spec.data.flatMap((file, at) => disk(`data${at}`, file, false)),
    ...(spec.network || spec.netboot || forwards.length > 0 ? card(spec, forwards) : []),
    ...spec.extra,
  ]
}

function bootDisk({ file: filename, format }: { file: string; format: string }): string[] {
  const node = { driver: format, 'node-name': 'disk', file: { driver: 'file', filename } }
  return ['-blockdev', JSON.stringify(node), '-device', 'virtio-blk-pci,drive=disk,serial=disk,bootindex=0']
}

function card({ netboot }: GuestSpec, forwards: readonly string[]): string[] {
  const served = netboot ? `,tftp=${netboot.folder.replaceAll(',', ',,')},bootfile=${netboot.script}` : ''
  const start = netboot ? ',bootindex=0' : ',romfile='
  return [
    ...['-netdev', `user,id=net${served}${forwards.join('')}`],
    ...['-device', `virtio-net-pci,netdev=net${start}`],
  ]
}

function port(number: number): number {
  if (!Number.isInteger(number) || number < 1 || number > 65_535)
    throw new RangeError(`expected a port from 1 to 65535, found ${number}`)
  return number
}

interface GuestExit {
  /** Exit code of QEMU; null when a signal ended it. */
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** What QEMU itself had to say, the last 8 KiB. */
  readonly stderr: string
}

/** A running guest; disposing of it ends it. */
export interface Guest extends Console, AsyncDisposable {
  readonly pid: number
  /** Types on the console. Not for interactive guests. */
  write(text: string): void
  /** Resolves when QEMU has ended; never rejects. */
  readonly exited: Promise<GuestExit>
  /** Pulls the plug: the guest cannot tell it from a power cut. */
  stop(): Promise<GuestExit>
}

interface GuestIo {
  readonly signal: AbortSignal
  /** Our own terminal is the guest's console; then `lines` and `waitFor` see nothing. */
  readonly interactive?: boolean
}

const GRACE_MS = 2_000
const KEPT_STDERR = 8_192

/**
 * Starts a guest. Aborting the signal ends it.
 * @throws S5_TOOL_MISSING, S5_TOOL_FAILED when QEMU cannot be started
 */
export async function bootGuest(spec: GuestSpec, io: GuestIo): Promise<Guest> {
  io.signal.throwIfAborted()
  const interactive = io.interactive === true
  const [tool, ...args] = qemuArguments(spec, interactive) as [string, ...string[]]
  const program = findTool(tool)
  if (program === undefined)
    throw new Stage5Error('S5_TOOL_MISSING', `${tool} is not installed`, {
      hint: installHint(tool),
      data: { tool },
    })
  const child = spawn(program, args, {
    argv0: tool,
    stdio: interactive ? 'inherit' : ['pipe', 'pipe', 'pipe'],
  })
  const feed = consoleFeed()
  let stderr = ''
  child.stdout?.on('data', (bytes: Buffer) => feed.push(bytes))
  child.stderr?.on('data', (bytes: Buffer) => {
    stderr = (stderr + bytes.toString('latin1')).slice(-KEPT_STDERR)
  })
  child.stdin?.on('error', () => {})
  const killNow = (): void => void child.kill('SIGKILL')
  process.on('exit', killNow)
  const { promise: exited, resolve } = Promise.withResolvers<GuestExit>()
  child.on('close', (code, signal) => {
    process.off('exit', killNow)
    io.signal.removeEventListener('abort', abort)
    feed.end()
    resolve({ code, signal, stderr })
  })
  const stop = async (): Promise<GuestExit> => {
    if (child.exitCode !== null || child.signalCode !== null) return await exited
    child.kill('SIGTERM')
    const killer = setTimeout(killNow, GRACE_MS)
    const exit = await exited
    clearTimeout(killer)
    return exit
  }
  const abort = (): void => void stop()
  io.signal.addEventListener('abort', abort, { once: true })
  await new Promise<void>((started, failed) => {
    child.once('spawn', started)
    child.once('error', (cause) => {
      process.off('exit', killNow)
      failed(new Stage5Error('S5_TOOL_FAILED', `${tool} could not be started: ${cause.message}`, { cause }))
    })
  })
  return {
    ...feed.console,
    pid: child.pid as number,
    write: (text) => void child.stdin?.write(text),
    exited,
    stop,
    [Symbol.asyncDispose]: async () => void (await stop()),
  }
}

/** Behind such a line no guest comes up. */
const FAILURE = /stage5: cannot boot: |Kernel panic - /

/**
 * Waits for the ready line of a guest.
 * @returns milliseconds since this call
 * @throws S5_NOT_BOOTED with the last console lines; the guest is left as it is
 */
export async function waitReady(guest: Guest, ready: string, timeoutMs: number): Promise<number> {
  const result = await guest.waitFor(ready, timeoutMs, FAILURE)
  if (result.found) return result.ms
  const said = guest.last(20)
  const reason = said.findLast((line) => FAILURE.test(line))?.trim()
  const { stderr } = result.why === 'exited' ? await guest.exited : { stderr: '' }
  const what =
    result.why === 'timeout'
      ? `no ${JSON.stringify(ready)} on the console within ${timeoutMs / 1000} s`
      : `the guest ${result.why === 'failed' ? 'gave up' : 'ended'} before ${JSON.stringify(ready)} was on the console`
  const tail = [...said, ...stderr.split('\n')].filter((line) => line.trim() !== '')
  const data = { why: result.why, reason, console: said, stderr }
  if (tail.length === 0)
    throw new Stage5Error('S5_NOT_BOOTED', `${what}; it said nothing at all`, {
      data,
      ...(result.why === 'exited' && {
        hint: 'a kernel that ends without a word often lacks memory: more --memory',
      }),
    })
  throw new Stage5Error(
    'S5_NOT_BOOTED',
    `${what}${reason === undefined ? '' : ` (${reason})`}; the last lines:\n  ${tail.join('\n  ')}`,
    { data },
  )
}
