/** What a process costs, measured from outside by time(1). */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Cost {
  readonly seconds: number
  /** Of the process and its children. */
  readonly processorSeconds: number
  /** Peak of the largest process. */
  readonly mebibytes: number
}

export interface MeasureOptions {
  readonly environment?: { readonly [name: string]: string }
  readonly cwd?: string
  /** A file for what it prints. */
  readonly output?: string
}

/** @throws what the process said, when its status is not 0 */
export function measure(words: readonly string[], { environment, cwd, output }: MeasureOptions = {}): Cost {
  const folder = mkdtempSync(join(tmpdir(), 'stage5-time-'))
  try {
    const times = join(folder, 'time')
    const start = performance.now()
    const { status, stdout, stderr } = spawnSync(
      '/usr/bin/time',
      ['-q', '-f', '%U %S %M', '-o', times, ...words],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        maxBuffer: 1 << 28,
        env: { ...process.env, ...environment },
        ...(cwd !== undefined && { cwd }),
      },
    )
    const seconds = (performance.now() - start) / 1000
    if (status !== 0)
      throw new Error(
        `${words.slice(0, 4).join(' ')}: exit status ${status}: ${stderr.toString().slice(-2000)}`,
      )
    if (output !== undefined) writeFileSync(output, stdout)
    const [user = 0, system = 0, kilobytes = 0] = readFileSync(times, 'utf8').trim().split(' ').map(Number)
    return { seconds, processorSeconds: user + system, mebibytes: Math.round(kilobytes / 1024) }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Best of `times` of each side, one after the other. */
export function inTurn(times: number, ours: () => Cost, theirs: () => Cost): [ours: Cost, theirs: Cost] {
  const made: [Cost, Cost][] = Array.from({ length: times }, () => [ours(), theirs()])
  const best = (side: 0 | 1): Cost =>
    made.map((pair) => pair[side]).reduce((a, b) => (b.seconds < a.seconds ? b : a))
  return [best(0), best(1)]
}

/** What should be reached where there is nothing to run beside it. */
export function ideal(seconds: number): Cost {
  return { seconds, processorSeconds: seconds, mebibytes: 0 }
}
