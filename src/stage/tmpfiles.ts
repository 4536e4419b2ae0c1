/** tmpfiles.d(5), as far as a guest without systemd needs it: directories below /run and /tmp. */

export interface RunDirectory {
  readonly path: string
  /** Octal text. */
  readonly mode: string
  readonly owner: string
  readonly group: string
}

const TYPES = /^[dD][!+=~^$-]*$/
const PATH = /^\/(?:var\/)?(?:run|tmp)\/[A-Za-z0-9@._/-]+$/
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/

/** The `d` and `D` lines for places that are empty after each boot; everything else is left to systemd. */
export function runDirectories(text: string): RunDirectory[] {
  return text.split('\n').flatMap((line) => {
    const [type = '', path = '', mode = '-', owner = '-', group = '-'] = line.trim().split(/\s+/)
    if (!TYPES.test(type) || !PATH.test(path) || path.split('/').includes('..')) return []
    return [
      {
        path: path.replace(/^\/var\/run\//, '/run/').replace(/\/+$/, ''),
        mode: /^[~:]*[0-7]{3,4}$/.test(mode) ? mode.replace(/^[~:]*/, '') : '0755',
        owner: NAME.test(owner) ? owner : 'root',
        group: NAME.test(group) ? group : 'root',
      },
    ]
  })
}
