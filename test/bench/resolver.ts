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

/** Three times from the file, and twice more on what was read: what a program that stays has to wait. */
function measured(label: string, entries: readonly Entry[], atoms: readonly string[], rivals: string): void {
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
      said = answer.ok
        ? `${answer.packages.length} packages${answer.optimal ? '' : ', budget ended'}`
        : `refused with ${answer.conflict.length} facts`
    }
    const [cold = 0, ...later] = read
    const shortest = (times: readonly number[]): string => Math.min(...times).toFixed(0)
    console.log(
      `${label}, processor time: read and resolved first ${cold.toFixed(0)} ms, then ${shortest(later)} ms; on a read index ${shortest(warm)} ms (${said}); ${rivals}`,
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
        `${size} entries, resolve --index, process start included: ${shown(run)}; budget 600 ms, 250 MiB`,
      )
      timed([...stage5, 'resolve', '--profile', `p${size}`, '--json'], folder, store)
      const cached = bestOf(3, () =>
        timed([...stage5, 'resolve', '--profile', `p${size}`, '--json'], folder, store),
      )
      console.log(
        `${size} entries, resolve --profile, index accepted before: ${shown(cached)}; budget 600 ms, 250 MiB`,
      )
      portage(folder, index, size, atomsOf(size), cached)
    }
    const [small, large] = cold as [Run, Run]
    const growth = large.processorSeconds / small.processorSeconds
    console.log(`growth from 20000 to 40000: ${growth.toFixed(2)}; budget 2.2`)
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
    console.log(`20000 entries, repo check: ${shown(timed(words, folder, store))}`)
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
  const hard = Array.from({ length: 8 }, (_, at) => `hard/guest${at + 1}x`)
  const figures: readonly (readonly [number, string])[] = [
    [3_200, 'resolver.md 5: own JS prototype 3-14 ms, logic-solver 65 ms + 490 ms load, Portage 2-3 s'],
    [20_000, 'budget 150 ms warm, 600 ms cold'],
    [39_000, 'resolver.md 5: own JS prototype 330 ms, logic-solver 440 ms + 7.1 s load, Portage 20 s'],
  ]
  for (const [size, rivals] of figures)
    measured(`${size} candidates`, generatedEntries(size), atomsOf(size), rivals)
  measured(
    '39000 candidates, hard unsat',
    [...generatedEntries(39_000), ...crowdedEntries(8)],
    [...atomsOf(39_000), ...hard],
    'resolver.md 5: own JS prototype 3.4 s, Python 100 s, Portage 21 s',
  )
  console.log(
    'no rival is installed here: logic-solver is not among our packages; figures above are quoted, not measured',
  )
  commands(atomsOf)
  console.log(`resident memory ${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MiB`)
}
