/** What was found out about the files of a package is kept with them: an unchanged package is not read again. */
import { bufferOf } from '../base/bytes.ts'
import { type Digest, digestOf } from '../base/digest.ts'
import type { Json } from '../base/json.ts'
import type { Contents } from '../tree/contents.ts'
import type { Entry, FileInode } from '../tree/tree.ts'

/** Place in the list of a package's contents, and the answer. */
type Answers<T> = readonly (readonly [at: number, answer: T])[]

/**
 * Asks each content of the files among `entries` once. One record for the files of each owner holds the answers; it is named by
 * `question` and by the digests of their contents, so one changed file has its package asked anew.
 * @param question with a number to raise when the same bytes get another answer than before
 * @param ask undefined answers are not remembered one by one; the others must survive JSON
 */
export async function factsOfFiles<T>(
  contents: Contents,
  question: string,
  entries: Iterable<Entry>,
  ask: (inode: FileInode) => Promise<T | undefined>,
): Promise<ReadonlyMap<Digest, T>> {
  const found = new Map<Digest, T>()
  for (const inodes of contentsByOwner(entries)) {
    const key = `${question} ${digestOf(inodes.map(({ content }) => content).join('\n'))}`
    const answers = await remembered(contents, key, async () => {
      const made: [at: number, answer: T][] = []
      for (const [at, inode] of inodes.entries()) {
        const answer = await ask(inode)
        if (answer !== undefined) made.push([at, answer])
      }
      return made satisfies Answers<T>
    })
    for (const [at, answer] of answers) found.set((inodes[at] as FileInode).content, answer)
  }
  return found
}

/**
 * A value that is kept with the contents, else made.
 * @param key names the question, with a number to raise when the answer changes, and everything that was looked at
 * @param make must give what survives JSON
 */
export async function remembered<T>(contents: Contents, key: string, make: () => Promise<T>): Promise<T> {
  const known = contents.notes?.get(key)
  if (known) {
    try {
      return JSON.parse(bufferOf(known).toString()) as T
    } catch (error) {
      // What is no JSON is not what was put there: it is made anew.
      if (!(error instanceof SyntaxError)) throw error
    }
  }
  const made = await make()
  contents.notes?.put(key, Buffer.from(JSON.stringify(made as Json)))
  return made
}

/** For each owner one inode of each content, in order of the first name. */
function contentsByOwner(entries: Iterable<Entry>): Iterable<readonly FileInode[]> {
  const seen = new Set<Digest>()
  const owners = new Map<string, FileInode[]>()
  for (const { owner, inode } of entries) {
    if (inode.type !== 'file' || seen.has(inode.content)) continue
    seen.add(inode.content)
    const known = owners.get(owner)
    if (known) known.push(inode)
    else owners.set(owner, [inode])
  }
  return owners.values()
}
