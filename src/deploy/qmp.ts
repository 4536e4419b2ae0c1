/**
 * QEMU's monitor: one connection, a few commands, each answered before the next.
 * @see QEMU Machine Protocol Specification
 */
import { closeSync, openSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { basename, dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { Stage5Error } from '../base/errors.ts'

interface QmpCommand {
  readonly execute: string
  readonly arguments?: Readonly<Record<string, unknown>>
}

/** Longer silence means a QEMU that does not work any more. */
const ANSWER_MS = 10_000

/**
 * A socket by its path of any length: the address of a Unix socket has room for 107 bytes, so the folder is named by a
 * descriptor.
 */
export function connectUnix(path: string): Socket {
  const folder = openSync(dirname(path), 'r')
  const socket = createConnection(`/proc/self/fd/${folder}/${basename(path)}`)
  const close = (): void => closeSync(folder)
  socket.once('connect', close)
  socket.once('error', close)
  return socket
}

/**
 * @returns what each command returned
 * @throws S5_TOOL_FAILED when QEMU cannot be reached, refuses a command or falls silent
 */
export async function qmp(path: string, commands: readonly QmpCommand[]): Promise<unknown[]> {
  const socket = connectUnix(path)
  const failed = (what: string, cause?: unknown): Stage5Error =>
    new Stage5Error('S5_TOOL_FAILED', `QEMU at ${path}: ${what}`, { cause, data: { path } })
  const timer = setTimeout(() => socket.destroy(failed(`no answer within ${ANSWER_MS} ms`)), ANSWER_MS)
  try {
    const results: unknown[] = []
    const waiting = [{ execute: 'qmp_capabilities' }, ...commands]
    for await (const line of createInterface({ input: socket })) {
      const said = JSON.parse(line) as { QMP?: unknown; return?: unknown; error?: { desc?: string } }
      if (said.error) throw failed(said.error.desc ?? line)
      if ('return' in said) {
        results.push(said.return)
        timer.refresh()
      } else if (!('QMP' in said)) continue
      const next = waiting.shift()
      if (!next) return results.slice(1)
      socket.write(`${JSON.stringify(next)}\n`)
    }
    throw failed('it closed the connection')
  } catch (error) {
    if (error instanceof Stage5Error) throw error
    throw failed(error instanceof Error ? error.message : String(error), error)
  } finally {
    clearTimeout(timer)
    socket.destroy()
  }
}
