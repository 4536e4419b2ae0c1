/** `stage5 key`: the keys that boot records, releases and configuration packages are signed with. */
import { basename, join } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { loadPublicKey, newKey } from '../../host/signing.ts'
import { type Command, type Result, textOption } from '../command.ts'
import { keyDirectory } from '../keys.ts'
import { shownPath, type World } from '../world.ts'

export const key: Command = {
  name: 'key',
  summary: 'make signing keys (new NAME), or show the id of a public one (show NAME)',
  arguments: [
    { name: '<action>', description: 'new or show' },
    { name: '<name>', description: 'name of the key, or for show a .pub file' },
  ],
  options: [{ flags: '--keys <dir>', description: 'folder of the keys (default: .stage5/keys)' }],
  examples: ['stage5 key new release', 'stage5 key show release'],
  run: async (world, words) => {
    const [action = '', name = ''] = words.arguments
    const folder = keyDirectory(world, textOption(words, 'keys'))
    if (action === 'new') return await make(world, folder, name)
    if (action === 'show') return await show(folder, name)
    throw new Stage5Error('S5_USAGE', `expected new or show, found ${JSON.stringify(action)}`)
  },
}

async function make(world: World, folder: string, name: string): Promise<Result> {
  const { keyid, privateFile, publicFile } = await newKey(folder, name)
  const [own, open] = [privateFile, publicFile].map(shownPath) as [string, string]
  world.report({
    kind: 'warning',
    code: 'key.secret',
    message: `${own} is secret: keep it out of version control`,
  })
  return { data: { keyid, private: own, public: open }, text: `${open}: ${keyid}\n` }
}

async function show(folder: string, name: string): Promise<Result> {
  const path = name.endsWith('.pub') ? name : join(folder, `${name}.pub`)
  const { keyid } = await loadPublicKey(path)
  return { data: { keyid, public: shownPath(path) }, text: `${basename(path)}: ${keyid}\n` }
}
