/** A project in memory for the loaders: paths to texts; `!` before a text makes the file executable, `@` a symlink. */
import type { Listed, Project } from '../../src/resolve/project.ts'

export function folder(files: { readonly [path: string]: string | Uint8Array }): Project {
  const list = async (path: string): Promise<readonly Listed[] | undefined> => {
    const prefix = path === '' ? '' : `${path}/`
    const found = new Map<string, Listed>()
    for (const [file, text] of Object.entries(files)) {
      if (!file.startsWith(prefix)) continue
      const [name = '', ...below] = file.slice(prefix.length).split('/')
      const link = typeof text === 'string' && text.startsWith('@')
      const type = below.length > 0 ? 'dir' : link ? 'symlink' : 'file'
      const executable = type === 'file' && typeof text === 'string' && text.startsWith('!')
      const size = type === 'file' ? text.length : 0
      const target = type === 'symlink' ? String(text).slice(1) : ''
      if (name !== '') found.set(name, { name, type, executable, size, target })
    }
    return found.size > 0 ? [...found.values()].reverse() : undefined
  }
  const read = async (path: string): Promise<Uint8Array | undefined> => {
    const text = files[path]
    return typeof text === 'string' ? new TextEncoder().encode(text.replace(/^!/, '')) : text
  }
  return { read, list }
}
