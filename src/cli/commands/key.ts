/** `stage5 key`: the keys that boot records, releases and configuration packages are signed with. */
import { mkdir } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { openpgpKeyring } from '../../format/openpgp.ts'
import { loadPrivateKey, loadPublicKey, newKey } from '../../host/signing.ts'
import { writeWhole } from '../../host/whole-file.ts'
import { type Command, type Result, textOption } from '../command.ts'
import { keyDirectory, openpgpOf } from '../keys.ts'
import { shownPath, type World } from '../world.ts'

export const key: Command = {
  name: 'key',
  summary:
    'make signing keys (new NAME), show the id of a public one (show NAME), or write one as a keyring of OpenPGP (openpgp NAME)',
  arguments: [
    { name: '<action>', description: 'new, show or openpgp' },
    { name: '<name>', description: 'name of the key, or for show a .pub file' },
  ],
  options: [
    { flags: '--keys <dir>', description: 'folder of the keys (default: .stage5/keys)' },
    {
      flags: '--out <file>',
      description: 'openpgp: the keyring, such as usr/lib/systemd/import-pubring.gpg of a guest',
    },
  ],
  examples: [
    'stage5 key new release',
    'stage5 key show release',
    'stage5 key openpgp release --out import-pubring.gpg',
  ],
  run: async (world, words) => {
    const [action = '', name = ''] = words.arguments
    const folder = keyDirectory(world, textOption(words, 'keys'))
    if (action === 'new') return await make(world, folder, name)
    if (action === 'show') return await show(folder, name)
    if (action === 'openpgp') return await keyring(world, folder, name, textOption(words, 'out'))
    throw new Stage5Error('S5_USAGE', `expected new, show or openpgp, found ${JSON.stringify(action)}`)
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

async function keyring(world: World, folder: string, name: string, out: string | undefined): Promise<Result> {
  if (out === undefined)
    throw new Stage5Error('S5_USAGE', 'key openpgp needs --out FILE', {
      hint: `stage5 key openpgp ${name} --out import-pubring.gpg`,
    })
  const path = name.endsWith('.key') ? name : join(folder, `${name}.key`)
  const own = openpgpOf(await loadPrivateKey(path))
  const file = resolve(world.directory, out)
  await mkdir(dirname(file), { recursive: true })
  const user = `stage5 ${basename(path, '.key')}`
  await writeWhole(file, openpgpKeyring(own.raw, user, own.sign))
  return { data: { keyring: file, user }, text: `${shownPath(file)}: ${user}\n` }
}
