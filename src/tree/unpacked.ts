/** A package after unpacking: its files, and what its control part says. */
import type { Tree } from './tree.ts'

export interface Unpacked {
  readonly tree: Tree
  /**
   * Members of the control archive by name (`control`, `postinst`, `conffiles`, `triggers`…), or `package.yaml` of a
   * native package; text as byte strings.
   */
  readonly control: { readonly [member: string]: string }
}
