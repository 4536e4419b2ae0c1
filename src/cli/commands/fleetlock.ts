/** `stage5 fleetlock`: slots for guests that update themselves. */
import { once } from 'node:events'
import { Stage5Error } from '../../base/errors.ts'
import { momentOf } from '../../deploy/controller.ts'
import { isLocal, openFleetLock, parseListen } from '../../deploy/fleetlock.ts'
import { now } from '../../host/clock.ts'
import { type Command, textOption } from '../command.ts'
import { parseSeconds } from '../quantities.ts'
import { showError } from '../render/error.ts'
import { FLEET_OPTIONS, liveGroups, USUAL_ENGINE } from '../rollout-world.ts'
import { openPinnedEngine } from '../store-pin.ts'

const LISTEN = '127.0.0.1:8460'

export const fleetlock: Command = {
  name: 'fleetlock',
  summary: 'serve the FleetLock protocol: guests ask before they restart, and say when they are back',
  arguments: [],
  options: [
    ...FLEET_OPTIONS,
    { flags: '--listen <address>', description: `HOST:PORT or unix:PATH (default: ${LISTEN})` },
    {
      flags: '--hold <time>',
      description: 'how long a request waits for a slot to come free (default: 10s)',
    },
    { flags: '--store-id <id>', description: 'serve only this store (default: the one that was seen first)' },
    {
      flags: '--single-machine',
      description:
        'let other machines ask although the state is SQLite: this is the only replica there will be',
    },
  ],
  examples: [
    'stage5 fleetlock --listen 127.0.0.1:8460',
    'stage5 fleetlock --engine etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379 --listen 0.0.0.0:8460',
  ],
  run: async (world, words) => {
    const address = textOption(words, 'engine') ?? USUAL_ENGINE
    const listen = parseListen(textOption(words, 'listen') ?? LISTEN)
    if (address.startsWith('sqlite:') && !isLocal(listen) && words.options['singleMachine'] !== true)
      throw new Stage5Error(
        'S5_USAGE',
        `${address} is the state of this machine alone, and --listen lets other machines ask`,
        {
          hint: 'use etcd (--engine etcd://HOST:2379), or say --single-machine: this is the only replica there will ever be',
        },
      )
    const holdMs = parseSeconds('--hold', textOption(words, 'hold') ?? '10s') * 1000
    const groups = liveGroups(world, words)
    const known = await groups()
    await using engine = await openPinnedEngine(world, address, textOption(words, 'storeId'))
    await using server = await openFleetLock({
      engine,
      groups,
      moment: () => momentOf(now()),
      listen,
      holdMs,
      failed: (error) => void process.stderr.write(showError(error, false).text),
      signal: world.signal,
    })
    process.stderr.write(`fleetlock: ${server.address}, ${known.size} groups, store ${engine.storeId}\n`)
    if (!world.signal.aborted) await once(world.signal, 'abort')
    return { data: { address: server.address, storeId: engine.storeId }, text: '' }
  },
}
