/** `stage5 serve DIR`: static files for loopback and small sites. */
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { parseListen } from '../../deploy/fleetlock.ts'
import { openFileServer } from '../../host/file-server.ts'
import { writeWhole } from '../../host/whole-file.ts'
import { type Command, textOption } from '../command.ts'

const LISTEN = '127.0.0.1:8470'

export const serve: Command = {
  name: 'serve',
  summary: 'serve a folder over HTTP: what was published, images with ranges, and reports of guests',
  arguments: [{ name: '<dir>', description: 'the folder, such as the one that `stage5 publish --to` wrote' }],
  options: [
    { flags: '--listen <address>', description: `HOST:PORT (default: ${LISTEN})` },
    {
      flags: '--reports <dir>',
      description: 'keep what guests say of themselves (POST /reports/NAME) as NAME.json in this folder',
    },
  ],
  examples: ['stage5 serve site', 'stage5 serve site --listen 0.0.0.0:8470 --reports .stage5/reports'],
  run: async (world, words) => {
    const [directory = ''] = words.arguments
    const listen = parseListen(textOption(words, 'listen') ?? LISTEN)
    if (listen.kind !== 'tcp') throw new Stage5Error('S5_USAGE', 'serve --listen expects HOST:PORT')
    const given = textOption(words, 'reports')
    const reports = given === undefined ? undefined : resolve(world.directory, given)
    if (reports !== undefined) await mkdir(reports, { recursive: true })
    await using server = await openFileServer({
      directory: resolve(world.directory, directory),
      ...listen,
      ...(reports !== undefined && {
        report: (guest: string, text: string) => writeWhole(join(reports, `${guest}.json`), text),
      }),
    })
    process.stderr.write(`serve: ${server.address}\n`)
    if (!world.signal.aborted) await once(world.signal, 'abort')
    return { data: { address: server.address }, text: '' }
  },
}
