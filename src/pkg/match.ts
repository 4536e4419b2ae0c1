/** Whether a package is what an atom demands. */
import { passesVersionTest } from './compare.ts'
import type { Atom, Package, Scheme } from './package.ts'
import { type Flags, passesUseTest } from './use.ts'

/** The aspect of an atom that a package of the right name fails first. */
type Mismatch = 'name' | 'version' | 'slot' | 'use' | 'repo' | 'arch' | 'build'

/** Whether `pkg`, under its own name, is what `atom` demands; `parent` wrote the atom and decides its conditional flags. */
export function matches(atom: Atom, pkg: Package, parent?: Flags): boolean {
  return mismatch(atom, pkg, parent) === undefined
}

/** Why `pkg` is not what `atom` demands, or `undefined` when it is. */
export function mismatch(atom: Atom, pkg: Package, parent?: Flags): Mismatch | undefined {
  if (atom.name !== pkg.name) return 'name'
  if (atom.version && !passesVersionTest(pkg.scheme, atom.version, pkg.version)) return 'version'
  if (atom.slot !== undefined && atom.slot !== pkg.slot) return 'slot'
  if (atom.subslot !== undefined && atom.subslot !== pkg.subslot) return 'slot'
  return mismatchBeside(atom, pkg, parent)
}

/**
 * Whether `pkg` provides what `atom` demands.
 *
 * @see Debian Policy 7.5: “If a relationship field has a version number attached, only real packages … or versioned
 * provides … will be considered”
 */
export function provides(atom: Atom, pkg: Package, parent?: Flags): boolean {
  if (atom.slot !== undefined || mismatchBeside(atom, pkg, parent) !== undefined) return false
  const scheme: Scheme = atom.name.includes('/') ? pkg.scheme : 'deb'
  return pkg.provides.some(
    (provide) =>
      provide.name === atom.name &&
      (atom.version === undefined ||
        (provide.version !== undefined && passesVersionTest(scheme, atom.version, provide.version))),
  )
}

/** Whether `pkg` is, or provides, what `atom` demands. */
export function satisfies(atom: Atom, pkg: Package, parent?: Flags): boolean {
  return matches(atom, pkg, parent) || provides(atom, pkg, parent)
}

function mismatchBeside(atom: Atom, pkg: Package, parent?: Flags): Mismatch | undefined {
  if (atom.arch !== undefined && !passesArch(atom.arch, pkg)) return 'arch'
  if (atom.repo !== undefined && atom.repo !== (pkg.gentoo?.repository ?? pkg.repo)) return 'repo'
  if (atom.buildId !== undefined && atom.buildId !== pkg.buildId) return 'build'
  if (atom.use && !atom.use.every((test) => passesUseTest(test, pkg, parent))) return 'use'
  return undefined
}

/**
 * Debian's architecture qualifier where one architecture is in the root.
 *
 * @see deb-control(5): `any` is satisfied by a package of any architecture that is `Multi-Arch: allowed`
 */
function passesArch(arch: string, pkg: Package): boolean {
  if (pkg.multiArch === 'foreign') return true
  if (arch === 'any') return pkg.multiArch === 'allowed'
  return arch === 'native' || pkg.arch === arch || pkg.arch === 'all' || pkg.arch === 'any'
}
