/** Certificates as programs look for them: one bundle, and links by subject hash. */
import { Stage5Error } from '../base/errors.ts'
import { namesBelow } from '../tree/below.ts'
import { follow } from '../tree/resolve-path.ts'
import { baseOf, comparePaths, type Entry, lookup, type Tree } from '../tree/tree.ts'
import { asJson, byteText, maker, placed, rawBytes, withTree } from './generated.ts'
import { certificatesOf, subjectHash } from './subject-hash.ts'
import type { Stage } from './stage.ts'

const SOURCES = ['usr/share/ca-certificates/', 'usr/local/share/ca-certificates/']
const TARGET = 'etc/ssl/certs'

export const certs: Stage = {
  name: 'certs',
  version: 1,
  pick: ({ date }) => asJson({ date }),
  async run(input, params, { contents }) {
    const { date } = params as { readonly date: number }
    const read = async (path: string): Promise<string> => {
      const inode = follow(input.tree, path)?.inode
      return inode?.type === 'file' ? byteText(await contents.read(inode.content)) : ''
    }
    const paths = trusted(input.tree, await read('etc/ca-certificates.conf'))
    if (paths.length === 0) return input
    const make = maker('certs', date, contents)
    const entries = new Map<string, Entry>()
    const seen = new Set<string>()
    const taken = new Map<string, number>()
    const put = (name: string, target: string): void => {
      const path = `${TARGET}/${name}`
      entries.set(path, make.link(path, target))
    }
    let bundle = ''
    for (const path of paths) {
      const text = await read(path)
      const found = certificatesOf(text)
      if (found.length === 0)
        throw new Stage5Error('S5_STAGE_INVALID', `certs: expected a PEM certificate in /${path}, found none`)
      const name = linkName(path)
      put(name, `/${path}`)
      for (const { der, pem } of found) {
        const identity = Buffer.from(der).toString('base64')
        if (seen.has(identity)) continue
        seen.add(identity)
        bundle += pem
      }
      const hash = subjectHash(found[0]?.der as Uint8Array, path)
      const number = taken.get(hash) ?? 0
      taken.set(hash, number + 1)
      put(`${hash}.${number}`, name)
    }
    entries.set('bundle', await make.file(`${TARGET}/ca-certificates.crt`, rawBytes(bundle)))
    return withTree(input, placed(input.tree, [...entries.values()], date))
  },
}

/** Files of the source folders, in the order of the tree; in /etc/ca-certificates.conf a line that begins with `!` takes one out. */
function trusted(tree: Tree, configuration: string): string[] {
  const distrusted = new Set(
    configuration
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => SOURCES[0] + line.slice(1).trim()),
  )
  return SOURCES.toSorted(comparePaths)
    .flatMap((source) => namesBelow(tree, source.slice(0, -1)))
    .map(({ path }) => path)
    .filter((path) => path.endsWith('.crt'))
    .filter((path) => !distrusted.has(path) && lookup(tree, path)?.inode.type !== 'dir')
}

/** As update-ca-certificates(8) names its links. */
function linkName(path: string): string {
  const name = baseOf(path).replace(/\.crt$/, '.pem')
  return name.replaceAll(' ', '_').replaceAll('(', '=').replaceAll(')', '=').replaceAll(',', '_')
}
