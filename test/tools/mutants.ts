/**
 * `npm run mutants`: small wrong changes, each of which must fail a test.
 *
 * Works in a copy of the checkout, one mutant at a time; ends with the list of those that nobody noticed.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
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
const directory = mkdtempSync(join(tmpdir(), 'stage5-mutants-'))
let alive = 0

try {
  for (const name of ['src', 'test', 'profiles', 'repos', 'stages', 'package.json', 'README.md'])
    cpSync(join(top, name), join(directory, name), { recursive: true })
  symlinkSync(join(top, 'node_modules'), join(directory, 'node_modules'))
  for (const mutant of MUTANTS) judge(mutant)
} finally {
  rmSync(directory, { recursive: true, force: true })
}

function judge({ file, search, replace, tests }: Mutant): void {
  const path = join(directory, 'src', file)
  const before = readFileSync(path, 'utf8')
  const after = before.replace(search, () => replace)
  if (after === before) {
    alive++
    console.error(`src/${file}: nothing to replace: ${search}`)
    return
  }
  writeFileSync(path, after)
  const { status } = spawnSync(
    process.execPath,
    ['--test', '--test-isolation=none', '--test-timeout=60000', tests],
    {
      cwd: directory,
      stdio: 'ignore',
      timeout: 120_000,
    },
  )
  writeFileSync(path, before)
  if (status !== 0) return
  alive++
  console.error(`src/${file}: nobody noticed ${JSON.stringify(search)} -> ${JSON.stringify(replace)}`)
}

console.log(`mutants: ${MUTANTS.length - alive} noticed, ${alive} alive`)
process.exitCode = alive > 0 ? 1 : 0
