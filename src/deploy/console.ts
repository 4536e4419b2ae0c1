/** The serial console of a guest as text that one can wait on. */
import { StringDecoder } from 'node:string_decoder'

type Found =
  /** `line` is the whole line around the text, as far as it was there. */
  | { readonly found: true; readonly line: string; readonly ms: number }
  | { readonly found: false; readonly why: 'timeout' | 'exited' | 'failed' }

export interface Console {
  /** Every line from the first that is still kept, then as they come; ends with the guest. */
  lines(): AsyncIterable<string>
  /**
   * Waits until the console shows `text`, searching from behind the text that the last `waitFor` found. Works on
   * unfinished lines too, such as a prompt. Only one may wait at a time.
   * @param failure a line after which nobody needs to wait any longer
   */
  waitFor(text: string, timeoutMs: number, failure?: RegExp): Promise<Found>
  /** The last lines, oldest first. */
  last(count: number): string[]
}

/** The side that feeds a console. */
interface ConsoleFeed {
  readonly console: Console
  push(bytes: Uint8Array): void
  end(): void
}

/** A guest that prints for ever must not fill our memory. */
const KEPT = 4_000_000

/**
 * A console without carriage returns and terminal control sequences.
 * @param kept characters that are remembered; when they are exceeded the older half goes
 */
export function consoleFeed(kept: number = KEPT): ConsoleFeed {
  const decoder = new StringDecoder('utf8')
  let text = ''
  /** The beginning of a control sequence whose end has not come yet. */
  let unfinished = ''
  /** Position of `text` in everything that was printed. */
  let start = 0
  let cursor = 0
  let ended = false
  let changed = Promise.withResolvers<void>()
  const wake = (): void => {
    changed.resolve()
    changed = Promise.withResolvers<void>()
  }
  const add = (more: string): void => {
    const all = unfinished + more.replaceAll('\r', '')
    unfinished = ended ? '' : (/\x1b(?:\[[0-?]{0,32}[ -/]{0,8})?$/.exec(all)?.[0] ?? '')
    text += plain(all.slice(0, all.length - unfinished.length))
    if (text.length > kept) {
      const cut = text.indexOf('\n', text.length - Math.floor(kept / 2)) + 1
      start += cut
      text = text.slice(cut)
    }
    wake()
  }

  async function* lines(): AsyncGenerator<string> {
    let at = start
    for (;;) {
      at = Math.max(at, start)
      const end = text.indexOf('\n', at - start)
      if (end >= 0) {
        const line = text.slice(at - start, end)
        at = start + end + 1
        yield line
      } else if (ended) {
        if (at - start < text.length) yield text.slice(at - start)
        return
      } else await changed.promise
    }
  }

  async function waitFor(wanted: string, timeoutMs: number, failure?: RegExp): Promise<Found> {
    const began = performance.now()
    let over = false
    const timer = setTimeout(() => {
      over = true
      wake()
    }, timeoutMs)
    try {
      for (;;) {
        const at = text.indexOf(wanted, Math.max(0, cursor - start))
        if (at >= 0) {
          cursor = start + at + wanted.length
          const end = text.indexOf('\n', at)
          const line = text.slice(text.lastIndexOf('\n', at - 1) + 1, end < 0 ? undefined : end)
          return { found: true, line, ms: performance.now() - began }
        }
        const lines = text.slice(Math.max(0, cursor - start), text.lastIndexOf('\n') + 1)
        if (failure?.test(lines)) return { found: false, why: 'failed' }
        if (ended) return { found: false, why: 'exited' }
        if (over) return { found: false, why: 'timeout' }
        await changed.promise
      }
    } finally {
      clearTimeout(timer)
    }
  }

  return {
    console: {
      lines,
      waitFor,
      last: (count) => text.replace(/\n$/, '').split('\n').slice(-count),
    },
    push: (bytes) => add(decoder.write(Buffer.from(bytes))),
    end: () => {
      ended = true
      add(decoder.end())
    },
  }
}

/** Without control sequences (ECMA-48 CSI, and the two-byte escapes). */
function plain(text: string): string {
  if (!text.includes('\x1b')) return text
  return text.replace(/\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_=>78c])/g, '')
}
