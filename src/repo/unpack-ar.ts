/** The members of an ar archive one after the other, each as a stream: the pull side of `arReader`. */
import { arReader } from '../format/ar.ts'

export interface Member {
  readonly name: string
  /** Bytes, as announced. */
  readonly size: number
  /** To be read before the next member is asked for; what is left of it is passed over then. */
  readonly body: AsyncIterable<Uint8Array>
}

type Event = { readonly member: { name: string; size: number } } | { readonly data: Uint8Array } | 'close'

/**
 * @param file names the archive in errors
 * @throws S5_ARCHIVE_REFUSED from `next` and from the bodies
 */
export function arMembers(
  file: string,
  chunks: AsyncIterable<Uint8Array>,
): { next(): Promise<Member | undefined> } {
  const events: Event[] = []
  const reader = arReader(file, {
    member: (member) => void events.push({ member }),
    data: (data) => void events.push({ data }),
    close: () => void events.push('close'),
  })
  const source = chunks[Symbol.asyncIterator]()
  let ended = false
  let inBody = false

  async function event(): Promise<Event | undefined> {
    while (events.length === 0 && !ended) {
      const { done, value } = await source.next()
      if (done) {
        ended = true
        reader.end()
      } else reader.push(value)
    }
    return events.shift()
  }

  async function* body(): AsyncGenerator<Uint8Array> {
    while (inBody) {
      const found = await event()
      if (found === 'close' || found === undefined) inBody = false
      else if ('data' in found) yield found.data
    }
  }

  async function next(): Promise<Member | undefined> {
    for await (const _ of body());
    const found = await event()
    if (found === undefined || found === 'close' || 'data' in found) return undefined
    inBody = true
    return { ...found.member, body: body() }
  }

  return { next }
}
