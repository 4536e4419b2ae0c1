/**
 * Ten roots made of Debian packages, deduplicated by stage5 and by what else there is, each on a fresh copy of the same
 * roots, in one run.
 *
 *   node test/bench/dedupe.ts [--megabytes 25] [--roots 10] [--debs LIST] [--json]
 */
import { spawnSync } from 'node:child_process'
import { appendFileSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { findTool } from '../../src/host/run.ts'
import { type Cost, measure } from './measure.ts'

const { values } = parseArgs({
  options: {
    megabytes: { type: 'string', default: '25' },
    roots: { type: 'string', default: '10' },
    /** A file with the path of a Debian package a line. */
    debs: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})
const MAIN = resolve(import.meta.dirname, '../../src/main.js')
const top = mkdtempSync(join(tmpdir(), 'stage5-bench-dedupe-'))
const names = Array.from({ length: Number(values.roots) }, (_, at) => `guest-${at}`)

const TOOLS: readonly (readonly [name: string, ...argv: readonly string[]])[] = [
  ['stage5 dedupe', process.execPath, MAIN, '--quiet', 'dedupe'],
  ['jdupes -L', 'jdupes', '-q', '-r', '-L'],
  ['rdfind', 'rdfind', '-makehardlinks', 'true', '-makeresultsfile', 'false'],
  ['hardlink', 'hardlink', '-q'],
]

function run(argv: readonly string[], cwd = top): void {
  const [tool = '', ...rest] = argv
  const ran = spawnSync(tool, rest, { cwd, stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 28 })
  if (ran.status !== 0) throw new Error(`${argv.join(' ')}: ${String(ran.stderr).slice(-500)}`)
}

function kibibytes(directory: string): number {
  return Number(spawnSync('du', ['-sk', directory]).stdout.toString().split('\t')[0])
}

/** The roots, with a few files of their own each. */
function makeRoots(): string {
  const one = join(top, 'one')
  mkdirSync(one)
  const debs = values.debs
    ? readFileSync(values.debs, 'utf8').trim().split('\n')
    : globSync('/var/cache/apt/archives/*.deb').sort()
  for (const deb of debs) {
    if (kibibytes(one) > Number(values.megabytes) * 1024) break
    run(['dpkg-deb', '-x', deb, one])
  }
  const roots = join(top, 'roots')
  mkdirSync(roots)
  for (const name of names) {
    run(['cp', '-a', one, join(roots, name)])
    appendFileSync(join(roots, name, 'hostname'), `${name}\n`)
  }
  rmSync(one, { recursive: true })
  return roots
}

interface Row {
  readonly tool: string
  readonly cost: Cost
  readonly savedKiB: number
}

try {
  const roots = makeRoots()
  const before = kibibytes(roots)
  const rows: Row[] = []
  for (const [tool, ...argv] of TOOLS) {
    if (!findTool(argv[0] as string) && argv[0] !== process.execPath) continue
    const work = join(top, 'work')
    run(['cp', '-a', roots, work])
    run(['sync', '-f', top])
    const environment = { STAGE5_STORE: join(top, 'store') }
    const cost = measure([...argv, ...names], { cwd: work, environment })
    rows.push({ tool, cost, savedKiB: before - kibibytes(work) })
    rmSync(work, { recursive: true })
  }
  if (values.json) console.log(JSON.stringify({ roots: names.length, kibibytes: before, rows }, null, 2))
  else {
    console.log(`${names.length} roots, ${Math.round(before / 1024)} MiB`)
    for (const { tool, cost, savedKiB } of rows)
      console.log(
        `${tool.padEnd(16)} ${cost.seconds.toFixed(2).padStart(7)} s  ${Math.round(savedKiB / 1024)} MiB saved`,
      )
  }
} finally {
  rmSync(top, { recursive: true, force: true })
}
