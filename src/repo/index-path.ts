/** Paths that an index names: refused before anything is joined to them, percent-encoded when an address is made. */

/**
 * Why `path` (a byte string) may not be joined to a base address, or undefined when it may.
 *
 * Refused are what climbs or starts anew (`..`, absolute, a scheme), what another reader would decode (`%`, backslash),
 * control characters, empty and `.` components, and directories.
 */
export function indexPathProblem(path: string): string | undefined {
  if (path === '') return 'is empty'
  if (path.length > 4096) return 'is longer than 4096 bytes'
  if (/[\0-\x20\x7f]/.test(path)) return 'has a blank or control character'
  if (path.includes('\\')) return 'has a backslash'
  if (path.includes('%')) return 'is percent-encoded'
  if (path.startsWith('/')) return 'is absolute'
  if (/^[A-Za-z][A-Za-z0-9+.-]*:/.test(path)) return 'is an address'
  if (path.endsWith('/')) return 'is a directory'
  const parts = path.split('/')
  if (parts.includes('..')) return 'climbs'
  if (parts.includes('') || parts.includes('.')) return 'has an empty or . component'
  return undefined
}

/** Appends a path (byte string) to a base address: every byte but `A-Z a-z 0-9 . _ - /` is written `%xx`, as apt does. */
export function joinAddress(base: string, path: string): string {
  const encoded = path.replace(
    /[^A-Za-z0-9._/-]/g,
    (letter) => `%${letter.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
  return `${base.replace(/\/+$/, '')}/${encoded}`
}
