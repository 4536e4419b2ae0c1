/** Speed of the resolver on generated binhosts with the shape of real ones; figures of other solvers are from resolver.md 5. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve as resolvePath } from 'node:path'
import { readPackagesIndex } from '../../src/cli/library.ts'
import type { Index } from '../../src/pkg/package.ts'
import type { ResolveInput } from '../../src/resolve/choose.ts'
import { resolve } from '../../src/resolve/resolve.ts'
import { universeOf } from '../../src/resolve/universe.ts'
import { generatedIndex } from '../helpers/gres-index.ts'

type Entry = ReadonlyMap<string, string>

/** Lehmer's generator: the same index on every machine. */
function randomOf(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state * 48_271) % 2_147_483_647
    return state % below
  }
}

/** About `size` entries: 4 builds of a name, dependencies on earlier names, shares as counted in resolver.md 3. */
export function generatedEntries(size: number, seed = 20_240_817): Entry[] {
  const random = randomOf(seed)
  const names = Math.floor(size / 4)
  const entries: Entry[] = []
  const nameOf = (at: number): string => `cat${at % 40}/pkg${at}`
  for (let at = 0; at < names; at++) {
    for (let version = 1; version <= 2; version++) {
      const needs: string[] = []
      for (let count = at === 0 ? 0 : random(7); count > 0; count--) {
        const target = random(3) > 0 ? random(Math.max(1, Math.floor(at / 10))) : random(at)
        const kind = random(100)
        const name = nameOf(target)
        if (kind < 40) needs.push(`${name}:0/${random(40) > 0 ? 2 : 1}=`)
        else if (kind < 60) needs.push(`>=${name}-1:0[flag(-)]`)
        else if (kind < 70) needs.push(`|| ( ${name} ${nameOf(random(at))} )`)
        else if (kind < 84) needs.push(`!<${name}-1`)
        else needs.push(name)
      }
      for (let build = 1; build <= 2; build++)
        entries.push(
          new Map([
            ['CPV', `${nameOf(at)}-${version}`],
            ['EAPI', '8'],
            ['SLOT', `0/${version}`],
            ['KEYWORDS', 'amd64'],
            ['IUSE', 'flag other'],
            ['USE', build === 1 ? 'flag' : random(4) > 0 ? 'flag other' : 'other'],
            ['BUILD_ID', String(build)],
            ['BUILD_TIME', String(1_700_000_000 + build)],
            ['RDEPEND', needs.join(' ')],
          ]),
        )
    }
  }
  return entries
}

/** `count` packages that want one place each among one place fewer: no solution, and no short proof. */
export function crowdedEntries(count: number): Entry[] {
  const entry = (CPV: string, RDEPEND = ''): Entry =>
    new Map(Object.entries({ CPV, RDEPEND, EAPI: '8', KEYWORDS: 'amd64' }))
  const guests = Array.from({ length: count }, (_, at) => at + 1)
  return [
    ...guests.map((guest) =>
      entry(
        `hard/guest${guest}x-1`,
        `|| ( ${guests
          .slice(1)
          .map((place) => `=hard/place${place}x-${guest}`)
          .join(' ')} )`,
      ),
    ),
    ...guests.slice(1).flatMap((place) => guests.map((guest) => entry(`hard/place${place}x-${guest}`))),
  ]
}

/** As the program reads it: entries become packages when their names are asked for. */
function readIndex(file: string): Index {
  const question = { binhosts: [{ name: 'bench', index: file }] }
  return universeOf(question, readPackagesIndex).indexes[0] as Index
}

export function inputFor(atoms: readonly string[]): ResolveInput {
  return {
    name: 'bench',
    arch: 'amd64',
    repositories: ['bench'],
    packages: atoms.map((atom) => ({ atom, use: [], where: { file: 'bench', line: 1, column: 1 } })),
    use: [],
    mask: [],
    provided: [],
    recommends: false,
  }
}

/** Time of this process on processors: another one's work does not count. */
function processorMilliseconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** What a row measures; a bench that finds another answer than the row says is wrong. */
interface Row {
  readonly label: string
  readonly entries: readonly Entry[]
  readonly atoms: readonly string[]
  readonly isSolvable: boolean
  /** Milliseconds of processors on an index that is read; without it the row has no aim. */
  readonly aim?: number
  readonly rivals: string
}

/** How much of its aim a figure takes: above 1 it misses it. */
function ofAim(figure: number, aim: number): string {
  return `${(figure / aim).toFixed(2)} of the aim of ${aim}`
}

/** Three times from the file, and once more each time on what was read: what a program that stays has to wait. */
function measured({ label, entries, atoms, isSolvable, aim, rivals }: Row): void {
  const folder = mkdtempSync(join(tmpdir(), 'stage5-bench-'))
  try {
    const file = join(folder, 'Packages')
    writeFileSync(file, generatedIndex(entries))
    const read: number[] = []
    const warm: number[] = []
    let said = ''
    for (let run = 0; run < 3; run++) {
      const start = processorMilliseconds()
      const index = readIndex(file)
      resolve(inputFor(atoms), [index])
      read.push(processorMilliseconds() - start)
      const again = processorMilliseconds()
      const answer = resolve(inputFor(atoms), [index])
      warm.push(processorMilliseconds() - again)
      if (answer.ok !== isSolvable)
        throw new Error(
          `${label}: expected ${isSolvable ? 'a solution' : 'a refusal'}, found ${JSON.stringify(answer).slice(0, 400)}`,
        )
      said = answer.ok
        ? `${answer.packages.length} packages${answer.optimal ? '' : ', budget ended'}`
        : `no solution, explained with ${answer.conflict.length} facts`
    }
    const [cold = 0, ...later] = read
    const best = Math.min(...warm)
    const ratio = aim === undefined ? '' : `, ${ofAim(best, aim)} ms`
    console.log(
      `${label} (${said}), processor time: read and resolved first ${cold.toFixed(0)} ms, then ${Math.min(...later).toFixed(0)} ms; on a read index ${best.toFixed(0)} ms${ratio}; ${rivals}`,
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

interface Run {
  readonly seconds: number
  readonly processorSeconds: number
  readonly mebibytes: number
}

/** A process of its own under time(1): start-up, reading and answering. */
function timed(
  words: readonly string[],
  folder: string,
  environment: { readonly [name: string]: string } = {},
): Run {
  const times = join(folder, 'time')
  const start = performance.now()
  const run = spawnSync('/usr/bin/time', ['-q', '-f', '%U %S %M', '-o', times, ...words], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...environment },
    encoding: 'utf8',
  })
  const seconds = (performance.now() - start) / 1000
  if (run.status !== 0)
    throw new Error(`${words.slice(0, 4).join(' ')}: exit ${run.status}: ${run.stderr.slice(-400)}`)
  const [user = 0, system = 0, kilobytes = 0] = readFileSync(times, 'utf8').trim().split(' ').map(Number)
  return { seconds, processorSeconds: user + system, mebibytes: Math.round(kilobytes / 1024) }
}

function bestOf(times: number, run: () => Run): Run {
  const all = Array.from({ length: times }, run)
  return all.reduce((best, one) => (one.processorSeconds < best.processorSeconds ? one : best))
}

const COLD_MS = 600
const MOST_MIB = 250

function againstAims({ processorSeconds, mebibytes }: Run): string {
  return `processors ${ofAim(processorSeconds * 1000, COLD_MS)} ms, memory ${ofAim(mebibytes, MOST_MIB)} MiB`
}

function shown({ seconds, processorSeconds, mebibytes }: Run): string {
  return `${(seconds * 1000).toFixed(0)} ms (${(processorSeconds * 1000).toFixed(0)} ms of processors), ${mebibytes} MiB`
}

/** The command as people type it, on index files of two sizes, and a check of the whole smaller one. */
function commands(atomsOf: (size: number) => string[]): void {
  const folder = mkdtempSync(join(tmpdir(), 'stage5-bench-'))
  try {
    const stage5 = [
      process.execPath,
      resolvePath(import.meta.dirname, '../../src/main.js'),
      '-C',
      folder,
      '-q',
    ]
    const store = { STAGE5_STORE: join(folder, 'store') }
    const cold: Run[] = []
    for (const size of [20_000, 40_000]) {
      mkdirSync(join(folder, 'profiles'), { recursive: true })
      mkdirSync(join(folder, 'repos'), { recursive: true })
      mkdirSync(join(folder, `bin${size}`))
      const index = join(folder, `bin${size}`, 'Packages')
      writeFileSync(index, generatedIndex(generatedEntries(size)))
      writeFileSync(join(folder, `repos/bin${size}.yaml`), `kind: gentoo\nuri: ../bin${size}\n`)
      writeFileSync(
        join(folder, `profiles/p${size}.yaml`),
        `repositories: [bin${size}]\npackages: [${atomsOf(size).join(', ')}]\n`,
      )
      const run = bestOf(3, () =>
        timed([...stage5, 'resolve', '--index', index, '--profile', `p${size}`, '--json'], folder, store),
      )
      cold.push(run)
      console.log(
        `${size} entries, resolve --index, process start included: ${shown(run)}; ${againstAims(run)}`,
      )
      timed([...stage5, 'resolve', '--profile', `p${size}`, '--json'], folder, store)
      const cached = bestOf(3, () =>
        timed([...stage5, 'resolve', '--profile', `p${size}`, '--json'], folder, store),
      )
      console.log(
        `${size} entries, resolve --profile, index accepted before: ${shown(cached)}; ${againstAims(cached)}`,
      )
      portage(folder, index, size, atomsOf(size), cached)
    }
    const [small, large] = cold as [Run, Run]
    const growth = large.processorSeconds / small.processorSeconds
    console.log(`growth from 20000 to 40000: ${growth.toFixed(2)}; ${ofAim(growth, 2.2)}`)
    const check = spawnSync(
      stage5[0] as string,
      [...stage5.slice(1), 'repo', 'check', 'bin20000', '--json'],
      {
        env: { ...process.env, ...store },
        stdio: 'ignore',
      },
    )
    if (check.status !== 0 && check.status !== 1) throw new Error(`repo check: exit ${check.status}`)
    const words = ['sh', '-c', '"$0" "$@"; test $? -lt 2', ...stage5, 'repo', 'check', 'bin20000', '--json']
    const checked = timed(words, folder, store)
    console.log(`20000 entries, repo check: ${shown(checked)}; memory ${ofAim(checked.mebibytes, 512)} MiB`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The same question to Portage of a checkout (`PORTAGE_DIR`), which needs Python. */
function portage(folder: string, index: string, size: number, atoms: readonly string[], ours: Run): void {
  const { PORTAGE_DIR } = process.env
  if (PORTAGE_DIR === undefined) return
  const etc = join(folder, 'etc/portage')
  const profile = join(folder, 'gentoo/profiles/one')
  for (const path of [etc, profile, join(folder, 'gentoo/metadata'), join(folder, `root${size}`)])
    mkdirSync(path, { recursive: true })
  const files = {
    'gentoo/profiles/repo_name': 'gentoo\n',
    'gentoo/profiles/arch.list': 'amd64\n',
    'gentoo/profiles/categories': Array.from({ length: 40 }, (_, at) => `cat${at}\n`).join(''),
    'gentoo/metadata/layout.conf': 'masters =\n',
    'gentoo/profiles/one/make.defaults': 'ARCH="amd64"\nACCEPT_KEYWORDS="amd64"\n',
    'gentoo/profiles/one/eapi': '8\n',
    'etc/portage/make.conf': `PKGDIR="${dirname(index)}"\nCHOST="x86_64-pc-linux-gnu"\nACCEPT_LICENSE="*"\n`,
    'etc/portage/repos.conf': `[DEFAULT]\nmain-repo = gentoo\n[gentoo]\nlocation = ${folder}/gentoo\n`,
  }
  for (const [path, text] of Object.entries(files)) writeFileSync(join(folder, path), text)
  rmSync(join(etc, 'make.profile'), { force: true })
  symlinkSync(profile, join(etc, 'make.profile'))
  const emerge = ['python3', join(PORTAGE_DIR, 'bin/emerge'), '-pK', '--quiet', '--root-deps=rdeps']
  const root = ['--root', join(folder, `root${size}`), '--config-root', folder]
  const theirs = timed([...emerge, '--binpkg-changed-deps=n', ...root, ...atoms], folder)
  const ratio = theirs.seconds / ours.seconds
  console.log(`${size} entries, emerge -pK: ${shown(theirs)}; ${ratio.toFixed(1)} times ours`)
}

if (import.meta.main) {
  const atomsOf = (size: number): string[] =>
    Array.from({ length: 80 }, (_, at) => (at * 61) % Math.floor(size / 4)).map(
      (at) => `cat${at % 40}/pkg${at}`,
    )
  const guests = Array.from({ length: 8 }, (_, at) => `hard/guest${at + 1}x`)
  // cat15/pkg535 and cat37/pkg237 of the small index need different builds of one slot.
  const together = atomsOf(3_200).filter((atom) => atom !== 'cat15/pkg535')
  const rows: readonly Row[] = [
    {
      label: '3200 candidates, 79 atoms',
      ...{ entries: generatedEntries(3_200), atoms: together, isSolvable: true },
      rivals: 'resolver.md 5: own JS prototype 3-14 ms, logic-solver 65 ms + 490 ms load, Portage 2-3 s',
    },
    {
      label: '3200 candidates, 80 atoms of which two exclude each other',
      ...{ entries: generatedEntries(3_200), atoms: atomsOf(3_200), isSolvable: false },
      rivals: 'no figure of others',
    },
    {
      label: '20000 candidates, 80 atoms',
      ...{ entries: generatedEntries(20_000), atoms: atomsOf(20_000), isSolvable: true, aim: 150 },
      rivals: 'with process start: below',
    },
    {
      label: '39000 candidates, 80 atoms',
      ...{ entries: generatedEntries(39_000), atoms: atomsOf(39_000), isSolvable: true, aim: 500 },
      rivals: 'resolver.md 5: own JS prototype 330 ms, logic-solver 440 ms + 7.1 s load, Portage 20 s',
    },
    {
      label: '39000 candidates, 80 atoms and 8 guests for 7 places',
      entries: [...generatedEntries(39_000), ...crowdedEntries(8)],
      ...{ atoms: [...atomsOf(39_000), ...guests], isSolvable: false, aim: 5000 },
      rivals: 'resolver.md 5: own JS prototype 3.4 s, Python 100 s, Portage 21 s',
    },
  ]
  for (const row of rows) measured(row)
  console.log(
    'no rival is installed here: logic-solver is not among our packages; figures above are quoted, not measured',
  )
  commands(atomsOf)
  console.log(`resident memory ${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MiB`)
}
