/** A project in a folder of its own: the fixture's profiles and packages, packed and indexed. */
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { stage5 } from './console.ts'

export interface Project extends Disposable {
  readonly directory: string
}

const FIXTURE = resolve(import.meta.dirname, '../fixtures/project')

/** Packages as the README makes them, with one date, so that every run has the same bytes. */
const PACKS: readonly (readonly string[])[] = [
  ['apps/shell', '--name', 'app/shell', '--version', '1.0.0'],
  [
    'apps/shop',
    '--name',
    'app/shop',
    '--version',
    '2.1.0',
    '--build',
    '1',
    '--use',
    'ssl -ldap',
    '--depends',
    'app/shell',
  ],
  [
    'apps/shop-ldap',
    '--name',
    'app/shop',
    '--version',
    '2.1.0',
    '--build',
    '2',
    '--use',
    'ldap -ssl',
    '--depends',
    'app/shell',
  ],
]

export function emptyProject(): Project {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'stage5-test-')))
  cpSync(FIXTURE, directory, { recursive: true })
  return { directory, [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }) }
}

export async function packedProject(): Promise<Project> {
  const project = emptyProject()
  for (const words of PACKS) await must(project, 'pack', ...words, '--out', 'packages')
  await must(project, 'index', 'packages')
  return project
}

async function must(project: Project, ...words: readonly string[]): Promise<void> {
  const ran = await stage5(project.directory, words, { SOURCE_DATE_EPOCH: '1700000000' })
  assert.equal(ran.code, 0, ran.stderr)
}

/** The pipeline of `wordProfile`: a root with the files of its profile, and little else done to it. */
export const FILED = 'stage5: 1\nstages: [files, strip, check, clamp]\n'

/** A profile of one package, whose image changes with `text`, by the pipeline `filed`. @param more lines of it */
export function wordProfile(text: string, ...more: readonly string[]): string {
  const lines = [
    'stage5: 1',
    'repositories: [house]',
    'packages: [app/shell]',
    'kernel: none',
    'images: [squashfs]',
    'pipeline: filed',
    'files:',
    `  - {path: /etc/text, content: ${text}}`,
    ...more,
  ]
  return `${lines.join('\n')}\n`
}
