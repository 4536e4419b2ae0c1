/** Names and directories that nobody else has, gone when their owner lets go. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

let boot: string | undefined

/** This start of the machine, as 8 hex digits: what carries another one was left behind by a crash. */
export function bootId(): string {
  if (boot === undefined) {
    try {
      boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').slice(0, 8)
    } catch {
      boot = '00000000'
    }
  }
  return boot
}

/** `BOOT-PID-RANDOM`. */
export function uniqueName(): string {
  return `${bootId()}-${process.pid}-${randomBytes(6).toString('hex')}`
}

export interface TemporaryDirectory extends Disposable {
  readonly path: string
}

/**
 * A new directory with mode 0700; disposing removes it with everything inside.
 * @param parent default: the system's temporary directory
 */
export function temporaryDirectory(parent: string = tmpdir()): TemporaryDirectory {
  const path = join(parent, `stage5-${uniqueName()}`)
  mkdirSync(path, { mode: 0o700 })
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}
