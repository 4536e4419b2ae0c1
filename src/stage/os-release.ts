/** os-release(5): the package's own, with the identity of the image. */
import { follow } from '../tree/resolve-path.ts'
import { lookup } from '../tree/tree.ts'
import { asJson, byteText, maker, placed, rawBytes, withTree } from './generated.ts'
import { PROFILE_OWNER } from './files.ts'
import type { Stage } from './stage.ts'

interface Params {
  readonly id: string
  readonly version: string
  readonly variant: string
  readonly date: number
}

const PATH = 'usr/lib/os-release'
const NOBODY = 'NAME="stage5"\nID=stage5\nPRETTY_NAME="stage5 guest"\n'

export const osRelease: Stage = {
  name: 'os-release',
  version: 1,
  pick: ({ profile, version, date }) =>
    asJson({ id: profile.id, version, variant: profile.name.split('@')[1] ?? '', date }),
  async run(input, params, { contents }) {
    const { id, version, variant, date } = params as unknown as Params
    const make = maker('os-release', date, contents)
    const old = (follow(input.tree, PATH) ?? follow(input.tree, 'etc/os-release'))?.inode
    const text = old?.type === 'file' ? byteText(await contents.read(old.content)) : NOBODY
    const merged = mergeOsRelease(text, { IMAGE_ID: id, IMAGE_VERSION: version, VARIANT_ID: variant })
    const entries = [await make.file(PATH, rawBytes(merged))]
    if (lookup(input.tree, 'etc/os-release')?.owner !== PROFILE_OWNER)
      entries.push(make.link('etc/os-release', '../usr/lib/os-release'))
    if (lookup(input.tree, 'usr/lib/kernel'))
      entries.push(await make.file('etc/kernel/entry-token', `${id}\n`))
    return withTree(input, placed(input.tree, entries, date))
  },
}

/** Sets keys where they stand, or appends them; an empty value takes the key away. */
export function mergeOsRelease(text: string, values: { readonly [key: string]: string }): string {
  const pending = new Map(Object.entries(values))
  const lines: string[] = []
  for (const line of text.split('\n').filter((each) => each !== '')) {
    const key = line.slice(0, Math.max(0, line.indexOf('=')))
    if (!Object.hasOwn(values, key)) lines.push(line)
    else if (pending.get(key)) lines.push(`${key}=${quoted(pending.get(key) as string)}`)
    pending.delete(key)
  }
  for (const [key, value] of pending) if (value !== '') lines.push(`${key}=${quoted(value)}`)
  return lines.map((line) => `${line}\n`).join('')
}

/** “Variable assignment values must be enclosed in quotes if they include … characters outside of A–Z, a–z, 0–9.” */
function quoted(value: string): string {
  return /^[A-Za-z0-9._-]+$/.test(value) ? value : `"${value.replace(/[\\"$`]/g, '\\$&')}"`
}
