/** A driver for guests whose host owns the trial pointer: what qemu, libvirt and dir have in common. */
import { rm, writeFile } from 'node:fs/promises'
import type { DriverGeneration, DriverGuest, GuestDriver, Observed, WhileOff } from '../driver.ts'
import { checkHealth, type HealthSources } from '../health.ts'
import type { HealthCheck } from '../../resolve/group.ts'
import {
  discard,
  type GuestFolder,
  guestFolder,
  obey,
  prepared,
  saveState,
  stateOf,
  tokenOf,
} from './folder.ts'
import type { DataStep } from '../../fleet/data-schema.ts'
import { awaitStart, endGuest, holdOff, type Started, startedOf, startKeeper } from './keeper.ts'
import { whyFallen } from './running.ts'
import {
  dropSnapshot,
  hasSnapshot,
  isAwaited,
  isGivenUp,
  mendExchange,
  mustHaveRoom,
  mustHaveSnapshot,
  ownData,
  takeSnapshot,
} from './snapshot.ts'

/** What differs between kinds of guests. */
export interface Backend {
  readonly kind: string
  /** Fills the folder of a prepared generation, `run` included; may be called again on half of it. */
  prepare(
    guest: DriverGuest,
    folder: GuestFolder,
    generation: DriverGeneration,
    directory: string,
    signal: AbortSignal,
  ): Promise<void>
  /** Asks the running guest to power down. */
  ask(guest: DriverGuest, folder: GuestFolder, started: Started): Promise<void>
  readonly stopMs: number
  /** Generation that really runs as it can be seen, or why it cannot be told. */
  evidence(
    guest: DriverGuest,
    folder: GuestFolder,
    started: Started,
    signal: AbortSignal,
  ): Promise<{ readonly running: string } | { readonly unknown: string }>
  health(guest: DriverGuest, folder: GuestFolder, started: Started): HealthSources
  /** Makes sure that nothing of it runs on, where the process that was ended only watched it. */
  ended?(guest: DriverGuest): Promise<void>
  /** Takes away what stands outside of the guest's folder. */
  forget?(guest: DriverGuest): Promise<void>
}

interface HostedOptions {
  /** Folder with a folder for each guest. */
  readonly root: string
  readonly checks: readonly HealthCheck[]
  readonly whileOff?: WhileOff | undefined
}

const START_MS = 60_000

export function hostedDriver(backend: Backend, { root, checks, whileOff }: HostedOptions): GuestDriver {
  const folderOf = (guest: DriverGuest): GuestFolder => guestFolder(root, guest.name)

  const halt = async (
    guest: DriverGuest,
    folder: GuestFolder,
    signal: AbortSignal,
    started = startedOf(folder),
  ): Promise<void> => {
    if (!started) return
    await endGuest(folder, started, () => backend.ask(guest, folder, started), backend.stopMs, signal)
  }

  /** Makes what the pointers say run, under the current token. */
  const settle = async (
    guest: DriverGuest,
    folder: GuestFolder,
    generation: string,
    token: number,
    signal: AbortSignal,
  ): Promise<void> => {
    const isWanted = (started: Started): boolean =>
      started.generation === generation && started.token === token
    const now = startedOf(folder)
    if (now && isWanted(now)) return
    await rm(folder.file('stopped'), { force: true })
    if (now) await halt(guest, folder, signal, now)
    await startKeeper(folder)
    await awaitStart(
      folder,
      (started) => isWanted(started) || folder.pointer('trial') === '',
      START_MS,
      signal,
    )
  }

  /** Calls `begin` when `work` is done; the guest is off during both, and starts by itself. */
  const whileHeld = async (
    work: () => Promise<void>,
    guest: DriverGuest,
    signal: AbortSignal,
    token: number,
    begin: () => Promise<void>,
  ): Promise<void> => {
    const folder = folderOf(guest)
    const end = async (): Promise<void> => {
      await halt(guest, folder, signal)
      await backend.ended?.(guest)
    }
    const held = await holdOff(folder, end, signal)
    try {
      await work()
      await begin()
    } catch (error) {
      const state = stateOf(folder)
      if (!signal.aborted) await saveState(folder, { ...state, closed: Math.max(state.closed, token) })
      throw error
    } finally {
      held.go()
    }
  }

  const bring = async (
    guest: DriverGuest,
    generation: DriverGeneration,
    signal: AbortSignal,
  ): Promise<void> => {
    const folder = folderOf(guest)
    await mendExchange(folder)
    await prepared(folder, generation.name, generation.manifest, (directory) =>
      backend.prepare(guest, folder, generation, directory, signal),
    )
  }

  /** What is done to a guest that is off before it is led to a generation; undefined when nothing is. */
  const workFor = (
    guest: DriverGuest,
    generation: DriverGeneration,
    data: DataStep | undefined,
    signal: AbortSignal,
  ): (() => Promise<void>) | undefined => {
    const folder = folderOf(guest)
    const from = folder.pointer('good')
    if (from === '') return undefined
    // Its keeper puts that back, before it starts it.
    if (data?.kind === 'restore') {
      mustHaveSnapshot(folder, data.tag, generation.name)
      return undefined
    }
    if (!whileOff && !data && !hasSnapshot(folder)) return undefined
    return async () => {
      await ownData(folder, from, signal)
      await dropSnapshot(folder)
      if (data) await takeSnapshot(folder, { tag: data.tag, from, to: generation.name }, signal)
      await whileOff?.(guest, generation, signal)
    }
  }

  return {
    kind: backend.kind,
    prepare: async (guest, generation, signal, data) => {
      const folder = folderOf(guest)
      await folder.exclusively(signal, async () => {
        if (data?.kind === 'snapshot') await mustHaveRoom(folder, signal)
        await bring(guest, generation, signal)
      })
    },

    switchTo: async (guest, generation, token, tries, signal, data) => {
      const folder = folderOf(guest)
      await folder.exclusively(signal, async () => {
        const state = stateOf(folder)
        await obey(folder, token)
        const { switched } = state
        const isSame = switched?.token === token && switched.generation === generation.name
        if ((isSame && switched.done) || state.closed >= token) return
        if (folder.read(`gen/${generation.name}/manifest`) !== generation.manifest)
          await bring(guest, generation, signal)
        // Cut off behind this line the trial may have begun, and even fallen back: it is not given new starts.
        const begin = async (): Promise<void> => {
          const begun = { token, generation: generation.name, done: false }
          folder.unpoint('trial')
          folder.unpoint('fallen')
          await folder.write('tries', `${tries}`)
          folder.point('trial', generation.name)
          await saveState(folder, { ...state, switched: begun })
        }
        if (!isSame) {
          const work = workFor(guest, generation, data, signal)
          if (work) await whileHeld(work, guest, signal, token, begin)
          else await begin()
        }
        if (folder.pointer('fallen') !== generation.name)
          await settle(guest, folder, generation.name, token, signal)
        const done = { token, generation: generation.name, done: true }
        await saveState(folder, { ...state, switched: done })
      })
    },

    commit: async (guest, generation, token, signal) => {
      const folder = folderOf(guest)
      await folder.exclusively(signal, async () => {
        await obey(folder, token)
        if (folder.pointer('trial') !== generation.name) return
        folder.point('good', generation.name)
        folder.unpoint('trial')
      })
    },

    rollback: async (guest, good, token, signal) => {
      const folder = folderOf(guest)
      await folder.exclusively(signal, async () => {
        await obey(folder, token)
        const state = stateOf(folder)
        if (good && folder.pointer('good') !== good.name) {
          await bring(guest, good, signal)
          // By hand: it goes on with what the guest has written since.
          if (isGivenUp(folder, good.name)) await dropSnapshot(folder)
          folder.point('good', good.name)
        }
        const to = folder.pointer('good')
        folder.unpoint('trial')
        await saveState(folder, { ...state, closed: Math.max(state.closed, token) })
        const started = startedOf(folder)
        if (to === '') await halt(guest, folder, signal)
        else if (started?.generation !== to) {
          await rm(folder.file('stopped'), { force: true })
          await halt(guest, folder, signal)
          await startKeeper(folder)
          await awaitStart(folder, ({ generation }) => generation === to, START_MS, signal)
        }
      })
    },

    status: async (guest, signal) => await observe(backend, guest, folderOf(guest), checks, signal),

    stop: async (guest, signal) => {
      const folder = folderOf(guest)
      await folder.exclusively(signal, async () => {
        await writeFile(folder.file('stopped'), '')
        await halt(guest, folder, signal)
        await backend.ended?.(guest)
      })
    },

    ...(backend.forget && { forget: backend.forget.bind(backend) }),

    collect: async (guest, keep, signal) => {
      const folder = folderOf(guest)
      await folder.exclusively(signal, async () => {
        const needed = new Set([...keep, folder.pointer('good'), folder.pointer('trial')])
        const running = startedOf(folder)?.generation
        if (running !== undefined) needed.add(running)
        const isOnTrial = folder.pointer('trial') !== ''
        if (!isOnTrial && !isAwaited(folder, folder.pointer('good'))) await dropSnapshot(folder)
        for (const name of await folder.generations()) if (!needed.has(name)) await discard(folder, name)
      })
    },
  }
}

async function observe(
  backend: Backend,
  guest: DriverGuest,
  folder: GuestFolder,
  checks: readonly HealthCheck[],
  signal: AbortSignal,
): Promise<Observed> {
  const trial = folder.pointer('trial')
  const known = {
    pointer: trial === '' ? ('good' as const) : ('trial' as const),
    triesLeft: trial === '' ? 0 : Number(folder.read('tries') || '0'),
    token: tokenOf(folder),
  }
  const started = startedOf(folder)
  const fallen = folder.pointer('fallen')
  const why = fallen === '' || trial !== '' ? '' : await whyFallen(folder, fallen)
  const fell =
    fallen === '' || trial !== '' ? '' : `; ${fallen} used up its starts${why === '' ? '' : ` (${why})`}`
  if (!started)
    return { ...known, power: 'off', bootId: '', digest: '', health: 'fail', detail: `off${fell}` }
  const on = { ...known, power: 'on' as const, bootId: started.bootId }
  const seen = await backend.evidence(guest, folder, started, signal)
  if ('unknown' in seen)
    return { ...on, digest: '', health: 'fail', detail: `${started.generation}: ${seen.unknown}${fell}` }
  const digest = folder.read(`gen/${seen.running}/manifest`)
  const sources = backend.health(guest, folder, started)
  const { health, detail } = await checkHealth(checks, guest.values, sources, signal)
  const well = detail === '' ? 'healthy' : detail
  return { ...on, digest, health, detail: `${seen.running}: ${well}${fell}` }
}
