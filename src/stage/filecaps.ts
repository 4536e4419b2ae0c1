/** File capabilities that ebuilds declare as FILECAPS, set as the eclass fcaps sets them when a package is merged. */
import { parseArray } from '../format/assignments.ts'
import type { IdLedger } from '../resolve/lock.ts'
import { withEntries } from '../tree/edit.ts'
import { follow } from '../tree/resolve-path.ts'
import { type Entry, entriesOf, type FileInode, type Inode, type Xattr } from '../tree/tree.ts'
import { capabilityValue } from './capabilities.ts'
import { asJson, withTree } from './generated.ts'
import type { Stage } from './stage.ts'

interface FileCapabilities {
  /** As cap_from_text(3) writes it. */
  readonly capabilities: string
  readonly files: readonly string[]
  readonly owner: string
  readonly group: string
  /** Octal text without capabilities (`USE=-filecaps`), and beside them; '' for no change. */
  readonly mode: string
  readonly capabilityMode: string
}

/**
 * The calls that FILECAPS stands for.
 * @param control members of build-info
 * @returns undefined where the array has more than plain words, or a mode that is not octal
 */
export function fileCapabilities(control: {
  readonly [member: string]: string
}): readonly FileCapabilities[] | undefined {
  const ebuild = Object.entries(control).find(([member]) => member.endsWith('.ebuild'))?.[1] ?? ''
  const words = parseArray(ebuild, 'FILECAPS')
  if (!words) return undefined
  const calls: FileCapabilities[] = []
  for (const call of split(words)) {
    if (call.length === 0) continue
    const options: { [letter: string]: string } = { o: '0', g: '0', m: '', M: '' }
    let at = 0
    for (; /^-[ogmM]$/.test(call[at] ?? ''); at += 2)
      options[(call[at] as string).slice(1)] = call[at + 1] ?? ''
    const [written, ...files] = call.slice(at)
    const { o: owner = '0', g: group = '0', m: mode = '', M: capabilityMode = '' } = options
    const octal = [mode, capabilityMode].every((each) => /^[0-7]{0,5}$/.test(each))
    if (written === undefined || files.length === 0 || !octal) return undefined
    const capabilities = /[-=+]/.test(written) ? written : `${written}=ep`
    calls.push({ capabilities, files, owner, group, mode, capabilityMode })
  }
  return calls
}

function split(words: readonly string[]): string[][] {
  const calls: string[][] = [[]]
  for (const word of words)
    if (word === '--') calls.push([])
    else calls.at(-1)?.push(word)
  return calls
}

interface Params {
  readonly packages: readonly { readonly on: boolean; readonly calls: readonly FileCapabilities[] }[]
  readonly ids: IdLedger
}

export const filecaps: Stage = {
  name: 'filecaps',
  version: 1,
  pick: ({ packages, ids }) => {
    const found = packages.flatMap(({ scheme, control }) => {
      const inherits = /(?:^|\s)fcaps(?:\s|$)/.test(control['INHERITED'] ?? '')
      const calls = scheme === 'ebuild' && inherits ? (fileCapabilities(control) ?? []) : []
      if (calls.length === 0) return []
      return [{ on: /(?:^|\s)filecaps(?:\s|$)/.test(control['USE'] ?? ''), calls }]
    })
    return asJson({ packages: found, ids: found.length === 0 ? { users: {}, groups: {} } : ids })
  },
  async run(input, params) {
    const { packages, ids } = params as unknown as Params
    const changed = new Map<Inode, FileInode>()
    for (const { on, calls } of packages)
      for (const call of calls)
        for (const file of call.files) {
          const inode = follow(input.tree, file)?.inode
          if (inode?.type === 'file') changed.set(inode, withCapabilities(inode, call, on, ids))
        }
    if (changed.size === 0) return input
    const entries = [...entriesOf(input.tree)].flatMap((entry): Entry[] => {
      const inode = changed.get(entry.inode)
      return inode ? [{ ...entry, inode }] : []
    })
    return withTree(input, withEntries(input.tree, entries))
  },
}

function withCapabilities(inode: FileInode, call: FileCapabilities, on: boolean, ids: IdLedger): FileInode {
  if (!on) {
    if (call.mode === '') return inode
    return {
      ...inode,
      mode: Number.parseInt(call.mode, 8),
      uid: numberOf(call.owner, ids.users),
      gid: numberOf(call.group, ids.groups),
    }
  }
  const name = 'security.capability'
  const others: readonly Xattr[] = (inode.xattrs ?? []).filter(([known]) => known !== name)
  const own: Xattr = [name, capabilityValue(call.capabilities)]
  return {
    ...inode,
    mode: call.capabilityMode === '' ? inode.mode : Number.parseInt(call.capabilityMode, 8),
    xattrs: [...others, own].sort(([a], [b]) => (a < b ? -1 : 1)),
  }
}

function numberOf(text: string, ledger: { readonly [name: string]: number }): number {
  return /^[0-9]+$/.test(text) ? Number(text) : (ledger[text] ?? 0)
}
