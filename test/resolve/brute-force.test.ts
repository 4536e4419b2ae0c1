import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseAtom, schemeOfName } from '../../src/pkg/atom.ts'
import { passesVersionTest } from '../../src/pkg/compare.ts'
import { satisfies } from '../../src/pkg/match.ts'
import type { Atom, DepExpr, Package, UseTest } from '../../src/pkg/package.ts'
import { openCatalog } from '../../src/resolve/catalog.ts'
import { openChoice, type ResolveInput } from '../../src/resolve/choose.ts'
import { type Resolved, resolve } from '../../src/resolve/resolve.ts'
import { build, indexOf, wish } from '../helpers/universe.ts'

interface Universe {
  readonly packages: readonly Package[]
  readonly input: ResolveInput
}

const NAMES = ['a', 'b', 'c', 'd']

/** A choice of Debian-like packages: versions, alternatives, versioned provides, conflicts with virtual names. */
const debUniverse: fc.Arbitrary<Universe> = (() => {
  const atom = fc
    .tuple(
      fc.constantFrom(...NAMES, 'v', 'gone'),
      fc.constantFrom('', '', '', ' (>= 2)', ' (<< 2)', ' (= 1)'),
    )
    .map(([name, version]) => parseAtom(name + version, 'deb'))
  return universe(atom, (name, version, { conflicts, provided, needs }) =>
    build(`${name} ${version}`, {
      provides:
        provided === 0 ? [] : [provided === 1 ? { name: 'v' } : { name: 'v', version: String(provided - 1) }],
      needs: { all: [...needs, ...conflicts.map((block) => ({ block, strong: true }))] },
    }),
  )
})()

/** A choice of Gentoo-like packages: slots and sub-slots, several builds with flags, USE dependencies, conditionals, blockers. */
const slotUniverse: fc.Arbitrary<Universe> = (() => {
  const use = fc.record({
    flag: fc.constantFrom('f', 'g'),
    state: fc.constantFrom<UseTest['state']>('on', 'off', 'same', 'if-parent-on'),
    otherwise: fc.boolean(),
  })
  const atom = fc
    .record(
      {
        name: fc.constantFrom(...NAMES.map((name) => `x/${name}`), 'x/gone'),
        slot: fc.constantFrom('0', '1'),
        subslot: fc.constantFrom('1', '2'),
        version: fc.constantFrom({ op: '>=', version: '2' } as const, { op: '<', version: '2' } as const),
        use: fc.tuple(use),
      },
      { requiredKeys: ['name'], noNullPrototype: true },
    )
    .map((parts): Atom => ({ ...parts, text: JSON.stringify(parts) }))
  return universe(atom, (name, version, { conflicts, provided, needs, strong }) => {
    const slot = provided % 2 === 0 ? '0' : '1'
    return build(`x/${name} ${version}`, {
      scheme: 'ebuild',
      slot,
      subslot: String(Math.min(version, 2)),
      use: provided > 1 ? ['f'] : [],
      iuse: ['f'],
      buildId: provided,
      needs: { all: [...needs, ...conflicts.map((block) => ({ block, strong }))] },
    })
  })
})()

interface Parts {
  readonly needs: readonly DepExpr[]
  readonly conflicts: readonly Atom[]
  readonly provided: number
  readonly strong: boolean
}

function universe(
  atom: fc.Arbitrary<Atom>,
  make: (name: string, version: number, parts: Parts) => Package,
): fc.Arbitrary<Universe> {
  const leaf = atom.map((need): DepExpr => ({ need }))
  const item = fc.oneof(
    { weight: 4, arbitrary: leaf },
    { weight: 2, arbitrary: fc.array(leaf, { minLength: 2, maxLength: 3 }).map((any): DepExpr => ({ any })) },
    {
      weight: 1,
      arbitrary: fc.tuple(leaf, leaf, leaf, atom).map(
        ([one, two, three, block]): DepExpr => ({
          any: [{ all: [one, two] }, { all: [three, { block, strong: false }] }],
        }),
      ),
    },
    { weight: 1, arbitrary: leaf.map((then): DepExpr => ({ flag: 'f', on: true, then })) },
    {
      weight: 1,
      arbitrary: fc
        .tuple(leaf, atom)
        .map(([one, block]): DepExpr => ({ any: [{ block, strong: false }, one] })),
    },
  )
  const pkg = fc
    .record({
      name: fc.constantFrom(...NAMES),
      version: fc.integer({ min: 1, max: 3 }),
      needs: fc.array(item, { maxLength: 2 }),
      conflicts: fc.oneof(
        { weight: 3, arbitrary: fc.constant([]) },
        { weight: 1, arbitrary: fc.tuple(atom) },
      ),
      provided: fc.integer({ min: 0, max: 3 }),
      strong: fc.boolean(),
    })
    .map(({ name, version, ...parts }) => make(name, version, parts))
  const packages = fc.uniqueArray(pkg, {
    minLength: 1,
    maxLength: 9,
    selector: (one) => `${one.name} ${one.version} ${one.slot} ${one.buildId}`,
  })
  return fc
    .record({
      packages,
      wanted: fc.array(fc.tuple(fc.nat(8), fc.boolean()), { minLength: 1, maxLength: 3 }),
      masked: fc.option(fc.nat(8), { freq: 4 }),
      use: fc.constantFrom<string[]>([], [], ['f'], ['-f']),
      gone: fc.constantFrom('', '', '1', '2'),
    })
    .map(({ packages, wanted, masked, use, gone }) => {
      const nameAt = (place: number): string => packages[place % packages.length]?.name ?? ''
      const atoms = wanted.map(([place]) => nameAt(place))
      const mask = masked === null ? [] : [{ atom: nameAt(masked), where: { file: 'p', line: 1, column: 1 } }]
      const goneName = packages[0]?.scheme === 'ebuild' ? 'x/gone' : 'gone'
      const provided = gone === '' ? [] : [{ name: goneName, version: gone, reason: 'test' }]
      return {
        packages,
        input: wish(atoms, { use, provided, mask: mask.filter(({ atom }) => !atoms.includes(atom)) }),
      }
    })
}

/** All sets of builds that the law allows, by looking at every subset. */
function solutions({ packages, input }: Universe): Package[][] {
  const choice = openChoice(input, openCatalog([indexOf(packages)], ['main']))
  const visible = packages.filter((pkg) => choice.hidden(pkg) === undefined)
  const found: Package[][] = []
  for (let bits = 0; bits < 2 ** visible.length; bits++) {
    const set = visible.filter((_, index) => (bits >> index) % 2 === 1)
    if (isLawful(input, set)) found.push(set)
  }
  return found
}

function isLawful(input: ResolveInput, set: readonly Package[]): boolean {
  const wanted = input.packages.map(({ atom }) => parseAtom(atom, schemeOfName(atom)))
  return (
    wanted.every((atom) => set.some((pkg) => satisfies(atom, pkg))) &&
    new Set(set.map(({ name, slot }) => `${name}:${slot}`)).size === set.length &&
    set.every((pkg) => holds(pkg.needs, pkg, set, input.provided) !== false)
  )
}

/** `undefined` for a conditional that is switched off. */
function holds(
  expr: DepExpr,
  owner: Package,
  set: readonly Package[],
  provided: ResolveInput['provided'],
): boolean | undefined {
  if ('need' in expr)
    return isProvided(expr.need, owner, provided) || set.some((pkg) => satisfies(expr.need, pkg, owner))
  if ('flag' in expr)
    return owner.use.includes(expr.flag) === expr.on ? holds(expr.then, owner, set, provided) : undefined
  if ('all' in expr) {
    const parts = expr.all
      .map((part) => holds(part, owner, set, provided))
      .filter((part) => part !== undefined)
    return parts.length === 0 ? undefined : !parts.includes(false)
  }
  if ('any' in expr) return expr.any.some((part) => holds(part, owner, set, provided))
  return !set.some((pkg) => {
    if (!satisfies(expr.block, pkg, owner)) return false
    if (pkg.name !== owner.name) return true
    return owner.scheme === 'ebuild' && (expr.strong || (pkg !== owner && pkg.slot !== owner.slot))
  })
}

/** What is taken as present meets any slot and flag, by its version alone. */
function isProvided({ name, version }: Atom, owner: Package, provided: ResolveInput['provided']): boolean {
  return provided.some(
    (one) =>
      one.name === name && (version === undefined || passesVersionTest(owner.scheme, version, one.version)),
  )
}

function chosenOf({ packages }: Universe, { packages: locked }: Resolved): Package[] {
  return locked.map((one) => packages.find(({ file }) => file.path === one.file.path) as Package)
}

for (const [kind, arbitrary, runs] of [
  ['Debian', debUniverse, 1500],
  ['slotted', slotUniverse, 1500],
] as const) {
  test(`the resolver agrees with brute force on small ${kind} universes`, () => {
    const seen = { solved: 0, refused: 0 }
    fc.assert(
      fc.property(arbitrary, (given) => {
        const all = solutions(given)
        const answer = resolve(given.input, [indexOf(given.packages)])
        assert.equal(answer.ok, all.length > 0, answer.ok ? 'an unlawful answer' : answer.message)
        if (!answer.ok) {
          seen.refused++
          assert.ok(answer.conflict.length > 0)
          return
        }
        seen.solved++
        const chosen = chosenOf(given, answer)
        assert.ok(isLawful(given.input, chosen), 'the answer breaks the law')
        // What a group of an any-of needs beside others is not weighed against them.
        if (chosen.some(({ needs }) => hasGroups(needs))) return
        const ranks = ranking(given)
        const less = all.find(
          (set) =>
            set.length < chosen.length &&
            set.every((pkg) => chosen.includes(pkg)) &&
            compareRanks(ranks(set), ranks(chosen)) <= 0,
        )
        assert.equal(less, undefined, 'a part of the answer would do')
        assert.ok(answer.optimal)
      }),
      { numRuns: runs },
    )
    assert.ok(seen.solved > runs / 20 && seen.refused > runs / 20, JSON.stringify(seen))
  })

  test(`requests get the best versions that go together in ${kind} universes`, () => {
    fc.assert(
      fc.property(arbitrary, (given) => {
        const answer = resolve(given.input, [indexOf(given.packages)])
        if (!answer.ok) return
        const ranks = ranking(given)
        const best = solutions(given).map(ranks).sort(compareRanks)[0]
        assert.deepEqual(ranks(chosenOf(given, answer)), best)
      }),
      { numRuns: runs / 2 },
    )
  })

  test(`the answer does not depend on the order of packages in ${kind} universes`, () => {
    fc.assert(
      fc.property(
        arbitrary.chain((given) =>
          fc.record({
            given: fc.constant(given),
            shuffled: fc.shuffledSubarray([...given.packages], { minLength: given.packages.length }),
          }),
        ),
        ({ given, shuffled }) => {
          const first = resolve(given.input, [indexOf(given.packages)])
          assert.deepEqual(resolve(given.input, [indexOf(shuffled)]), first)
          assert.deepEqual(resolve(given.input, [indexOf(given.packages)]), first)
        },
      ),
      { numRuns: runs / 3 },
    )
  })

  test(`taking a dependency away never makes a ${kind} universe unsolvable`, () => {
    fc.assert(
      fc.property(arbitrary, fc.nat(), fc.nat(), (given, which, part) => {
        if (!resolve(given.input, [indexOf(given.packages)]).ok) return
        const place = which % given.packages.length
        const pkg = given.packages[place] as Package
        const all = 'all' in pkg.needs ? pkg.needs.all : []
        const fewer = { ...pkg, needs: { all: all.toSpliced(part % Math.max(1, all.length), 1) } }
        assert.ok(resolve(given.input, [indexOf(given.packages.with(place, fewer))]).ok)
      }),
      { numRuns: runs / 3 },
    )
  })

  test(`a lock as pins gives itself again in ${kind} universes`, () => {
    fc.assert(
      fc.property(arbitrary, (given) => {
        const answer = resolve(given.input, [indexOf(given.packages)])
        if (!answer.ok) return
        const pins = { packages: answer.packages } as never
        const again = resolve(given.input, [indexOf(given.packages)], pins)
        assert.ok(again.ok)
        assert.deepEqual(again.packages, answer.packages)
      }),
      { numRuns: runs / 3 },
    )
  })
}

/** The place of what each request gets among what it might get. */
function ranking({ packages, input }: Universe): (set: readonly Package[]) => number[] {
  const choice = openChoice(input, openCatalog([indexOf(packages)], ['main']))
  return (set) =>
    choice.wanted.map(({ atom }) => choice.visible(atom.name).findIndex((pkg) => set.includes(pkg)))
}

function hasGroups(expr: DepExpr): boolean {
  if ('all' in expr) return expr.all.some(hasGroups)
  return 'any' in expr && expr.any.some((part) => !('need' in part))
}

function compareRanks(left: readonly number[], right: readonly number[]): number {
  for (const [index, rank] of left.entries())
    if (rank !== right[index]) return rank - (right[index] as number)
  return 0
}
