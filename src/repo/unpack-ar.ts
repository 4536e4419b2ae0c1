/** The members of an ar archive one after the other, each as a stream: the pull side of `arReader`. */
import { arReader } from '../format/ar.ts'

export interface Member {
  readonly name: string
  /** Bytes, as announced. */
  readonly size: number
  /** To be read before the next member is asked for; what is left of it is passed over then. */
  readonly body: AsyncIterable<Uint8Array>
}

type Event =
  | { readonly member: { name: string; size: number } }
  | { readonly data: Uint8Array }
  | { readonly error: unknown }
  | 'close'

/**
 * @param file names the archive in errors
 * @param isLast whether a member is the last that is needed: what follows it and is no member is `trailing-data`
 * @throws S5_ARCHIVE_REFUSED from `next` and from the bodies, not before what stands in front of the fault was given out
 */
export function arMembers(
  file: string,
  chunks: AsyncIterable<Uint8Array>,
  isLast: (name: string) => boolean,
): { readonly next: () => Promise<Member | undefined> } {
  const events: Event[] = []
  let whole = false
  const reader = arReader(
    file,
    {
      member: (member) => {
        events.push({ member })
        whole ||= isLast(member.name)
      },
      data: (data) => void events.push({ data }),
      close: () => void events.push('close'),
    },
    () => whole,
  )
  const source = chunks[Symbol.asyncIterator]()
  let ended = false
  let inBody = false

  function advance({ done, value }: IteratorResult<Uint8Array, unknown>): void {
    try {
      if (done) reader.end()
      else reader.push(value)
      ended = done === true
    } catch (error) {
      ended = true
      events.push({ error })
    }
  }

  async function event(): Promise<Exclude<Event, { error: unknown }> | undefined> {
    while (events.length === 0 && !ended) advance(await source.next())
    const found = events.shift()
    if (typeof found === 'object' && 'error' in found) throw found.error
    return found
  }

  async function* body(): AsyncGenerator<Uint8Array> {
    while (inBody) {
      const found = await event()
      if (typeof found === 'object' && 'data' in found) yield found.data
      else inBody = false
    }
  }

  async function next(): Promise<Member | undefined> {
    await drain(body())
    const found = await event()
    if (typeof found !== 'object' || !('member' in found)) return undefined
    inBody = true
    return { ...found.member, body: body() }
  }

  return { next }
}

/** Reads to the end and keeps nothing. */
export async function drain(body: AsyncIterable<Uint8Array>): Promise<void> {
  const pieces = body[Symbol.asyncIterator]()
  while (!(await pieces.next()).done);
}
