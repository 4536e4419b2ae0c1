/**
 * `npm run mutants`: small wrong changes, each of which must fail a test.
 *
 * Works in copies of the checkout, one for each processor, one mutant at a time in each; ends with the list of those
 * that nobody noticed.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

interface Mutant {
  readonly file: string
  readonly search: string
  readonly replace: string
  readonly tests: string
}

const TREE = 'test/tree/*.test.ts'
const FLEET = 'test/fleet/{rules,waves,rollout}.test.ts'
const UNPACK_GENTOO = 'test/repo/unpack-gentoo.test.ts'
const BINHOST = 'test/repo/binhost.test.ts'
const DETAILS = 'test/resolve/gentoo-details.test.ts'
const FLEETLOCK = 'test/deploy/fleetlock.test.ts'
const WIRE = 'test/engine/etcd-wire.test.ts'
const SQLITE = 'test/engine/sqlite.test.ts'
const MUTANTS: readonly Mutant[] = [
  { file: 'tree/tree.ts', search: 'a === 47 ? -1 : a', replace: 'a', tests: TREE },
  { file: 'tree/tree.ts', search: "while (path.includes('/'))", replace: "while (path !== '')", tests: TREE },
  {
    file: 'tree/tree.ts',
    search: "inode.type === 'dir' ? undefined : numbers.get(inode)",
    replace: 'undefined',
    tests: TREE,
  },
  { file: 'tree/select.ts', search: '!needed.has(name.path) && ', replace: '', tests: TREE },
  { file: 'tree/merge.ts', search: '!isSpecial(standing.inode) && ', replace: '', tests: TREE },
  { file: 'tree/merge.ts', search: 'left.mode !== right.mode ||', replace: '', tests: TREE },
  {
    file: 'tree/merge.ts',
    search: 'owner !== undefined && isOwner(entry, owner)',
    replace: 'owner !== undefined',
    tests: TREE,
  },
  {
    file: 'tree/resolve-path.ts',
    search: '++links > MAX_LINKS',
    replace: '++links > 1',
    tests: TREE,
  },
  { file: 'tree/diff.ts', search: 'from.mode !== to.mode', replace: 'from.mode === to.mode', tests: TREE },
  { file: 'tree/text.ts', search: "type === 'file') return", replace: "type === 'dir') return", tests: TREE },
  {
    file: 'base/near.ts',
    search: 'a.score - b.score',
    replace: 'b.score - a.score',
    tests: 'test/base/errors.test.ts',
  },
  { file: 'base/json.ts', search: '.sort()', replace: '', tests: 'test/base/errors.test.ts' },
  {
    file: 'repo/unpack-tree.ts',
    search: "'traversal'",
    replace: "'duplicate'",
    tests: 'test/repo/unpack-corpus.test.ts',
  },
  { file: 'pkg/deb-version.ts', search: '< ', replace: '> ', tests: 'test/pkg/*.test.ts' },
  { file: 'stage/clamp.ts', search: '>', replace: '<', tests: 'test/stage/*.test.ts' },
  { file: 'stage/php-links.ts', search: ') < 0', replace: ') > 0', tests: 'test/stage/gentoo.test.ts' },
  {
    file: 'stage/strip.ts',
    search: "owner === 'stage:init'",
    replace: "owner === ''",
    tests: 'test/stage/init.test.ts',
  },
  { file: 'format/xpak.ts', search: 'values.has(name)', replace: 'false', tests: UNPACK_GENTOO },
  { file: 'format/xpak.ts', search: 'total > dataLength', replace: 'false', tests: UNPACK_GENTOO },
  { file: 'format/gpkg.ts', search: 'above !== directory', replace: 'false', tests: UNPACK_GENTOO },
  { file: 'format/gpkg.ts', search: 'if (!names.has(name))', replace: 'if (false)', tests: UNPACK_GENTOO },
  {
    file: 'repo/unpack-gpkg.ts',
    search: 'if (actual !== expected)',
    replace: 'if (false)',
    tests: UNPACK_GENTOO,
  },
  {
    file: 'repo/unpack-gpkg.ts',
    search: 'if (signature === undefined)',
    replace: 'if (false)',
    tests: UNPACK_GENTOO,
  },
  {
    file: 'repo/package-trust.ts',
    search: "!isSigned && trust.signatures === 'require'",
    replace: 'false',
    tests: UNPACK_GENTOO,
  },
  {
    file: 'repo/unpack-metadata.ts',
    search: 'built.has(flag) !== wanted.has(flag)',
    replace: 'false',
    tests: UNPACK_GENTOO,
  },
  { file: 'repo/binhost-index.ts', search: 'timestamp < kept.timestamp', replace: 'false', tests: BINHOST },
  { file: 'repo/binhost-index.ts', search: 'now < kept.fetched + kept.ttl', replace: 'true', tests: BINHOST },
  { file: 'repo/binhost-index.ts', search: 'now >= kept.fetched && ', replace: '', tests: BINHOST },
  {
    file: 'repo/binhost-packages.ts',
    search: 'if (identities.has(identity)) continue',
    replace: '',
    tests: BINHOST,
  },
  {
    file: 'repo/binhost-index.ts',
    search: 'if (isKept || isEmpty) return',
    replace: 'if (isKept) return',
    tests: BINHOST,
  },
  {
    file: 'repo/binhost-index.ts',
    search: ' && !isEmpty) checkTimes',
    replace: ') checkTimes',
    tests: BINHOST,
  },
  {
    file: 'resolve/universe.ts',
    search: '[...INLINE_HEADER, ...defaults, ...own]',
    replace: '[...defaults, ...own, ...INLINE_HEADER]',
    tests: DETAILS,
  },
  {
    file: 'resolve/explain.ts',
    search: 'if (unmet.length > 1)',
    replace: 'if (unmet.length < 0)',
    tests: DETAILS,
  },
  {
    file: 'resolve/explain.ts',
    search: 'isOn === profile) return []',
    replace: 'isOn !== profile) return []',
    tests: DETAILS,
  },
  { file: 'resolve/missing-builds.ts', search: 'buildId !== undefined || ', replace: '', tests: DETAILS },
  {
    file: 'resolve/missing-builds.ts',
    search: 'if ((flags.get(flag) ?? isOn) !== isOn) return undefined',
    replace: '',
    tests: DETAILS,
  },
  {
    file: 'resolve/why.ts',
    search: 'if (!peer) return other ??',
    replace: 'if (!peer) return',
    tests: DETAILS,
  },
  {
    file: 'repo/binhost.ts',
    search: 'await verifyGentoo(fresh,',
    replace: 'void ((..._: unknown[]) => 0)(verifyGentoo, fresh,',
    tests: BINHOST,
  },
  {
    file: 'format/gentoo-index.ts',
    search: 'if (found < count)',
    replace: 'if (false)',
    tests: 'test/format/gentoo-index.test.ts',
  },
  { file: 'cli/render/error.ts', search: '***@', replace: '$1@', tests: 'test/cli/render.test.ts' },
  { file: 'cli/quantities.ts', search: 'size < 1', replace: 'size < 0', tests: 'test/cli/render.test.ts' },
  {
    file: 'cli/output.ts',
    search: 'if (!done)',
    replace: 'if (done)',
    tests: 'test/cli/bad-machine.test.ts',
  },
  {
    file: 'deploy/lock-queue.ts',
    search: "[{ key, target: 'mod', equal: stored?.modRevision ?? 0n }]",
    replace: '[]',
    tests: FLEETLOCK,
  },
  {
    file: 'fleet/fleetlock.ts',
    search: '>= budget',
    replace: '> budget',
    tests: 'test/fleet/fleetlock.test.ts',
  },
  { file: 'engine/etcd-wire.ts', search: "'MOD', mod_revision", replace: "'MOD', modrevision", tests: WIRE },
  { file: 'engine/sqlite-tables.ts', search: 'after + 1n <', replace: 'after <', tests: SQLITE },
  {
    file: 'fleet/waves.ts',
    search: 'Math.max(1, roundDown(group.maxUnavailable, size))',
    replace: 'roundDown(group.maxUnavailable, size)',
    tests: FLEET,
  },
  { file: 'fleet/waves.ts', search: 'canary ? 1 : 0', replace: 'canary ? 0 : 0', tests: FLEET },
  {
    file: 'fleet/flight.ts',
    search: 'seen.bootId !== bootId &&\n    seen.digest',
    replace: 'seen.digest',
    tests: FLEET,
  },
  { file: 'fleet/flight.ts', search: 'seen.digest === manifests.get(want)', replace: 'true', tests: FLEET },
  {
    file: 'fleet/flight.ts',
    search: 'if (extended) return goBack',
    replace: 'if (!extended) return goBack',
    tests: FLEET,
  },
  {
    file: 'fleet/flight.ts',
    search: 'isPulled || bad.includes(want) ? bad',
    replace: 'true ? bad',
    tests: FLEET,
  },
  { file: 'fleet/reconcile.ts', search: '|| (!isDown && away >= budget)', replace: '', tests: FLEET },
  {
    file: 'fleet/reconcile.ts',
    search: "if (slot === 'free') held.delete(guest)",
    replace: 'held.delete(guest)',
    tests: FLEET,
  },
  { file: 'fleet/reconcile.ts', search: 'seq++', replace: 'seq += 0', tests: FLEET },
  {
    file: 'fleet/steer.ts',
    search: 'approvedWave(progress, view) <= rollout.wave',
    replace: 'false',
    tests: FLEET,
  },
  { file: 'fleet/steer.ts', search: "verdict.kind === 'inconclusive'", replace: 'false', tests: FLEET },
  {
    file: 'fleet/progress.ts',
    search: 'failed.length > forgiven',
    replace: 'failed.length > forgiven + 1',
    tests: FLEET,
  },
  {
    file: 'fleet/progress.ts',
    search: 'isOver && failures > 0 && done === 0',
    replace: 'false',
    tests: FLEET,
  },
  {
    file: 'fleet/progress.ts',
    search: 'if (bad.includes(to)) return isOurs',
    replace: "if (bad.includes('')) return isOurs",
    tests: FLEET,
  },
  { file: 'fleet/windows.ts', search: 'since < length', replace: 'since <= length', tests: FLEET },
]

const top = resolve(import.meta.dirname, '../..')
const work = mkdtempSync(join(tmpdir(), 'stage5-mutants-'))
const started = performance.now()
const problems: string[] = []
let isTried = false

/** A checkout for one mutant at a time. */
function copyTo(directory: string): string {
  for (const name of ['src', 'test', 'profiles', 'repos', 'stages', 'package.json', 'README.md'])
    cpSync(join(top, name), join(directory, name), { recursive: true })
  symlinkSync(join(top, 'node_modules'), join(directory, 'node_modules'))
  return directory
}

/** Ends at the first test that fails. @returns whether all passed, and there were some */
async function passes(directory: string, tests: string): Promise<boolean> {
  const words = ['--test', '--test-isolation=none', '--test-timeout=240000', '--test-reporter=tap', tests]
  const child = spawn(process.execPath, words, { cwd: directory, stdio: ['ignore', 'pipe', 'ignore'] })
  const timer = setTimeout(() => child.kill('SIGKILL'), 300_000)
  const ended = once(child, 'close')
  let text = ''
  for await (const bytes of child.stdout) {
    text += String(bytes)
    if (/^ *not ok /m.test(text)) child.kill('SIGKILL')
  }
  const [code] = (await ended) as [number | null]
  clearTimeout(timer)
  return code === 0 && /^ *ok /m.test(text)
}

async function judge(directory: string, { file, search, replace, tests }: Mutant): Promise<void> {
  const path = join(directory, 'src', file)
  const before = readFileSync(path, 'utf8')
  const after = before.replace(search, () => replace)
  if (after === before) {
    problems.push(`src/${file}: nothing to replace: ${search}`)
    return
  }
  writeFileSync(path, after)
  if (await passes(directory, tests))
    problems.push(`src/${file}: nobody noticed ${JSON.stringify(search)} -> ${JSON.stringify(replace)}`)
  writeFileSync(path, before)
}

try {
  const copies = Array.from({ length: Math.min(availableParallelism(), 8) }, (_, at) =>
    copyTo(join(work, `${at}`)),
  )
  const each = async <T>(items: readonly T[], body: (directory: string, item: T) => Promise<void>) => {
    const left = items.values()
    await Promise.all(
      copies.map(async (directory) => {
        for (const item of left) await body(directory, item)
      }),
    )
  }
  // A test that fails without a mutant would notice every one of them.
  await each([...new Set(MUTANTS.map(({ tests }) => tests))], async (directory, tests) => {
    if (!(await passes(directory, tests))) problems.push(`${tests} fails without any mutant`)
  })
  isTried = problems.length === 0
  if (isTried) await each(MUTANTS, judge)
} finally {
  rmSync(work, { recursive: true, force: true })
}

for (const problem of problems.sort()) console.error(problem)
const seconds = Math.round((performance.now() - started) / 1000)
console.log(
  isTried
    ? `mutants: ${MUTANTS.length - problems.length} of ${MUTANTS.length} noticed in ${seconds} s`
    : `mutants: none tried, the tests fail without them (${seconds} s)`,
)
process.exitCode = problems.length > 0 ? 1 : 0
