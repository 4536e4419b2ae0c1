/**
 * The driver `exec`: your command does the work. It is called with the action as its last argument and a JSON document on
 * stdin, and answers `status` with a JSON document on stdout.
 *
 * Exit codes: 0 done; 75 (EX_TEMPFAIL of sysexits.h) not now, ask again; anything else failed, the last line of stderr
 * says why. Tokens are checked here before the command is called, and given to it, so that it can check them too.
 */
import { isStage5Error, Stage5Error } from '../../base/errors.ts'
import { type Json, objectOf } from '../../base/json.ts'
import { run } from '../../host/run.ts'
import type { Group } from '../../resolve/group.ts'
import type { ExecOptions } from '../../resolve/shape-driver.ts'
import { filled } from '../../resolve/template.ts'
import type { DriverGeneration, DriverGuest, GuestDriver, Observed } from '../driver.ts'
import { checkHealth } from '../health.ts'
import { type GuestFolder, guestFolder, obey, saveState, stateOf, tokenOf } from './folder.ts'
import type { DriverPlaces } from './qemu.ts'

type Action = 'prepare' | 'switch' | 'commit' | 'rollback' | 'status' | 'stop' | 'collect'

const TRY_AGAIN = 75

export function execDriver(group: Group, options: ExecOptions, { project, root }: DriverPlaces): GuestDriver {
  const folderOf = (guest: DriverGuest): GuestFolder => guestFolder(root, guest.name)

  const call = async (
    action: Action,
    guest: DriverGuest,
    more: { readonly [key: string]: Json },
    signal: AbortSignal,
  ): Promise<string> => {
    const argv = [...options.command.map((word) => filled(word, guest.values)), action]
    const input = `${JSON.stringify({ stage5: 1, action, guest, ...more })}\n`
    const { code, stdout, stderr } = await run(argv, {
      input,
      signal,
      cwd: project,
      timeoutMs: options.timeout * 1000,
      accept: 'any',
      stdoutLimit: 1_048_576,
    })
    if (code === 0) return stdout.toString('utf8')
    const said = stderr.trimEnd().split('\n').at(-1) ?? ''
    throw new Stage5Error(
      'S5_TOOL_FAILED',
      `${argv.join(' ')} for ${guest.name} ended with exit code ${code}${said === '' ? '' : `: ${said}`}`,
      { data: { action, guest: guest.name, code, again: code === TRY_AGAIN, stderr } },
    )
  }

  const plain = ({ dataSchema, ...rest }: DriverGeneration): Json => ({
    ...rest,
    ...(dataSchema && { dataSchema: { reads: [...dataSchema.reads], writes: dataSchema.writes } }),
  })

  return {
    kind: 'exec',
    prepare: async (guest, generation, signal) => {
      await folderOf(guest).exclusively(signal, () =>
        call('prepare', guest, { generation: plain(generation) }, signal),
      )
    },

    switchTo: async (guest, generation, token, tries, signal) => {
      const folder = folderOf(guest)
      await folder.exclusively(signal, async () => {
        await obey(folder, token)
        const state = stateOf(folder)
        const { switched } = state
        const isSame = switched?.token === token && switched.generation === generation.name
        if ((isSame && switched.done) || state.closed >= token) return
        const begun = { token, generation: generation.name, done: false }
        if (!isSame) await saveState(folder, { ...state, switched: begun })
        await call('switch', guest, { generation: plain(generation), token, tries }, signal)
        await saveState(folder, { ...state, switched: { ...begun, done: true } })
      })
    },

    commit: async (guest, generation, token, signal) => {
      const folder = folderOf(guest)
      await folder.exclusively(signal, async () => {
        await obey(folder, token)
        await call('commit', guest, { generation: plain(generation), token }, signal)
      })
    },

    rollback: async (guest, good, token, signal) => {
      const folder = folderOf(guest)
      await folder.exclusively(signal, async () => {
        await obey(folder, token)
        const state = stateOf(folder)
        await saveState(folder, { ...state, closed: Math.max(state.closed, token) })
        await call('rollback', guest, { generation: good ? plain(good) : null, token }, signal)
      })
    },

    status: async (guest, signal) => {
      const folder = folderOf(guest)
      const token = tokenOf(folder)
      let answer: string
      try {
        answer = await call('status', guest, {}, signal)
      } catch (error) {
        signal.throwIfAborted()
        if (!isStage5Error(error, 'S5_TOOL_FAILED')) throw error
        return { ...NOTHING, token, detail: error.message }
      }
      const seen = readAnswer(answer)
      if (typeof seen === 'string') return { ...NOTHING, token, detail: `its status is ${seen}` }
      const own = await checkHealth(group.health, guest.values, {}, signal)
      const isWell = own.health === 'pass' && (seen.health === 'pass' || group.health.length === 0)
      const health = seen.health === 'pass' ? own.health : seen.health
      return { ...seen, token, health, detail: isWell ? seen.detail : own.detail || seen.detail }
    },

    stop: async (guest, signal) => {
      await folderOf(guest).exclusively(signal, () => call('stop', guest, {}, signal))
    },

    collect: async (guest, keep, signal) => {
      await folderOf(guest).exclusively(signal, () => call('collect', guest, { keep: [...keep] }, signal))
    },
  }
}

const NOTHING: Omit<Observed, 'token' | 'detail'> = {
  power: 'unknown',
  bootId: '',
  digest: '',
  pointer: 'good',
  triesLeft: 0,
  health: 'inconclusive',
}

/** What `status` printed, or what is wrong with it. */
function readAnswer(text: string): Omit<Observed, 'token'> | string {
  const said = objectOf(text)
  if (typeof said === 'string') return said
  const word = (key: string, fallback: string): string => {
    const given = said[key] ?? fallback
    return typeof given === 'string' ? given : JSON.stringify(given)
  }
  const power = word('power', 'unknown')
  const pointer = word('pointer', 'good')
  const health = word('health', 'pass')
  const triesLeft = said['triesLeft'] ?? 0
  const digest = word('digest', '')
  if (power !== 'on' && power !== 'off' && power !== 'unknown') return `power ${JSON.stringify(power)}`
  if (pointer !== 'good' && pointer !== 'trial') return `pointer ${JSON.stringify(pointer)}`
  if (health !== 'pass' && health !== 'fail' && health !== 'inconclusive')
    return `health ${JSON.stringify(health)}`
  if (typeof triesLeft !== 'number') return 'triesLeft that is no number'
  if (digest !== '' && !/^sha256:[0-9a-f]{64}$/.test(digest)) return `digest ${JSON.stringify(digest)}`
  return { power, bootId: word('bootId', ''), digest, pointer, triesLeft, health, detail: word('detail', '') }
}
