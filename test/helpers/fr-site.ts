/** Simulated guests behind a socket: they live on when the controllers that drive them are killed. */
import { createServer, connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { GuestDriver } from '../../src/deploy/driver.ts'
import type { DataStep } from '../../src/fleet/data-schema.ts'
import type { Observation } from '../../src/fleet/view.ts'
import type { Truth } from './fr-truth.ts'

interface Call {
  readonly id: number
  readonly kind: 'prepare' | 'switch' | 'commit' | 'rollback' | 'status'
  readonly guest: string
  readonly generation: string
  readonly token: number
  readonly data?: DataStep
}

/** Serves the truth at a path; each call is done at once, and answered. */
export async function serveTruth(truth: Truth, path: string): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    createInterface({ input: socket })
      .on('error', () => undefined)
      .on('line', (line) => {
        const call = JSON.parse(line) as Call
        let answer: object
        try {
          answer = { id: call.id, value: answerOf(truth, call) ?? null }
        } catch (error) {
          answer = { id: call.id, error: (error as Error).message }
        }
        if (!socket.destroyed) socket.write(`${JSON.stringify(answer)}\n`)
      })
  })
  await new Promise<void>((done) => server.listen(path, done))
  return {
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((done) => server.close(done))
    },
  }
}

function answerOf(truth: Truth, { kind, guest, generation, token, data }: Call): Observation | undefined {
  if (kind === 'status') return truth.status(guest)
  if (kind === 'prepare') truth.prepare(guest, generation)
  else if (kind === 'switch') truth.switchTo(guest, generation, token, data)
  else if (kind === 'commit') truth.commit(guest, generation, token)
  else truth.rollback(guest, generation, token)
  return undefined
}

/** A driver of the guests behind `path`. */
export async function driveSite(path: string): Promise<GuestDriver & Disposable> {
  const socket = connect(path)
  await new Promise<void>((done, failed) => socket.once('connect', done).once('error', failed))
  const pending = new Map<number, PromiseWithResolvers<unknown>>()
  let last = 0
  createInterface({ input: socket }).on('line', (line) => {
    const { id, value, error } = JSON.parse(line) as { id: number; value?: unknown; error?: string }
    const waiting = pending.get(id)
    pending.delete(id)
    if (error === undefined) waiting?.resolve(value)
    else waiting?.reject(new Error(error))
  })
  const ask = (
    kind: Call['kind'],
    guest: string,
    generation = '',
    token = 0,
    data?: DataStep,
  ): Promise<unknown> => {
    const waiting = Promise.withResolvers<unknown>()
    pending.set(++last, waiting)
    socket.write(`${JSON.stringify({ id: last, kind, guest, generation, token, data })}\n`)
    return waiting.promise
  }
  return {
    kind: 'simulated',
    prepare: async ({ name }, generation) => void (await ask('prepare', name, generation.name)),
    switchTo: async ({ name }, generation, token, _, __, data) =>
      void (await ask('switch', name, generation.name, token, data)),
    commit: async ({ name }, generation, token) => void (await ask('commit', name, generation.name, token)),
    rollback: async ({ name }, good, token) => void (await ask('rollback', name, good?.name ?? '', token)),
    status: async ({ name }) => (await ask('status', name)) as Observation,
    stop: async () => undefined,
    collect: async () => undefined,
    [Symbol.dispose]: () => socket.destroy(),
  }
}
