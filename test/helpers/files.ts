/** Folders that a test has for itself. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'

/** A new folder with these files, by path in it; gone when the test ends. */
export function filesFor(t: TestContext, files: { readonly [path: string]: string }): string {
  const directory = mkdtempSync(join(tmpdir(), 'stage5-files-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), text)
  }
  return directory
}
