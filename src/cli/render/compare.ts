/** A comparison as lines for people, as markdown for a ticket, as data for a program. Pure. */
import { printable } from '../../base/errors.ts'
import type { Json } from '../../base/json.ts'
import { type LockedBrief, printLockDiff } from '../../resolve/lock-diff.ts'
import type { TreeDiff } from '../../tree/diff.ts'
import type { BuildComparison, Changes, Comparison } from '../compare.ts'
import { mebibytes } from './progress.ts'

export function comparisonJson({ names, packages, flags, build }: Comparison): Json {
  return {
    before: names[0],
    after: names[1],
    packages: packages as unknown as Json,
    flags: flags as unknown as Json,
    files: build ? filesJson(build.files) : null,
    ...(build && {
      versions: [...build.versions],
      users: (build.users ?? null) as unknown as Json,
      groups: (build.groups ?? null) as unknown as Json,
      services: build.services as unknown as Json,
      enabled: build.enabled as unknown as Json,
      kernel: build.kernel as unknown as Json,
      sizes: build.sizes as unknown as Json,
    }),
  }
}

function filesJson({ added, removed, changed, bytes }: TreeDiff): Json {
  return {
    added: added.map(shownPath),
    removed: removed.map(shownPath),
    changed: changed.map((change) => ({ path: shownPath(change), aspects: [...change.aspects] })),
    bytes,
  }
}

function shownPath({ path }: { readonly path: string }): string {
  return `/${printable(path)}`
}

export function comparisonText({ packages, build }: Comparison): string {
  const first = printLockDiff(packages) || 'packages are equal\n'
  if (!build) return first
  const sections: (readonly [string, string])[] = [
    ['users', build.users ? changeLines(build.users) : UNKNOWN],
    ['groups', build.groups ? changeLines(build.groups) : UNKNOWN],
    ['services', changeLines(build.services)],
    ['enabled', changeLines(build.enabled)],
    ['kernel', build.kernel.map(({ what, before, after }) => `~ ${what}: ${before} -> ${after}\n`).join('')],
    ['files', filesText(build.files)],
    ['sizes', build.sizes.map(sizeLine).join('')],
  ]
  return first + sections.flatMap(([title, text]) => (text === '' ? [] : [`\n${title}\n${text}`])).join('')
}

const UNKNOWN = '? the store does not have them any more: build again\n'

function changeLines({ added, removed, changed }: Changes): string {
  const line = (sign: string) => (name: string) => `${sign} ${printable(name)}\n`
  return [...removed.map(line('-')), ...added.map(line('+')), ...changed.map(line('~'))].join('')
}

function filesText(files: TreeDiff): string {
  const lines = [
    ...files.removed.map((one) => `- ${shownPath(one)}\n`),
    ...files.added.map((one) => `+ ${shownPath(one)}\n`),
    ...files.changed.map((one) => `~ ${shownPath(one)} (${one.aspects.join(', ')})\n`),
  ]
  return `${lines.join('')}${fileCounts(files)}\n`
}

function fileCounts({ added, removed, changed, bytes }: TreeDiff): string {
  return (
    `${added.length} added (${mebibytes(bytes.added)}), ${removed.length} removed (${mebibytes(bytes.removed)}), ` +
    `${changed.length} changed (${mebibytes(bytes.changed)})`
  )
}

function sizeLine({ what, before, after }: BuildComparison['sizes'][number]): string {
  if (before === after) return `  ${what} ${mebibytes(after)}\n`
  return `~ ${what} ${mebibytes(before)} -> ${mebibytes(after)} (${growth(before, after)})\n`
}

function growth(before: number, after: number): string {
  return `${after < before ? '-' : '+'}${mebibytes(Math.abs(after - before))}`
}

/** Tables and folded lists, as GitHub, GitLab and most trackers show them. */
export function comparisonMarkdown({ names, packages, build }: Comparison): string {
  const rows = [
    ...packages.changed.map(({ before, after }) => packageRow(after.name, before, after)),
    ...packages.added.map((after) => packageRow(after.name, undefined, after)),
    ...packages.removed.map((before) => packageRow(before.name, before, undefined)),
  ].sort(([left = ''], [right = '']) => (left < right ? -1 : 1))
  const title = `### ${escaped(names[0])} → ${escaped(names[1])}\n`
  const parts = [title, section('Packages', ['package', 'before', 'after', 'flags'], rows)]
  if (build) parts.push(...buildMarkdown(build))
  else if (rows.length === 0) parts.push('\nPackages are equal.\n')
  return parts.join('')
}

function buildMarkdown(build: BuildComparison): string[] {
  const { files, versions } = build
  const lines = filesText(files).split('\n').slice(0, -2)
  return [
    versions[0] === versions[1] ? '' : `\nVersion ${escaped(versions[0])} → ${escaped(versions[1])}.\n`,
    ...(
      [
        ['Users', build.users],
        ['Groups', build.groups],
        ['Services', build.services],
        ['Enabled', build.enabled],
      ] as const
    ).map(([title, changes]) =>
      changes === undefined
        ? `\n**${title}**: unknown, the store does not have them any more.\n`
        : list(title, changes),
    ),
    section(
      'Kernel',
      ['', 'before', 'after'],
      build.kernel.map(({ what, before, after }) => [what, escaped(before), escaped(after)]),
    ),
    section(
      'Sizes',
      ['', 'before', 'after', 'growth'],
      build.sizes.map(({ what, before, after }) => [
        what,
        mebibytes(before),
        mebibytes(after),
        before === after ? '' : growth(before, after),
      ]),
    ),
    lines.length === 0
      ? '\nFiles are equal.\n'
      : `\n<details><summary>Files: ${fileCounts(files)}</summary>\n\n\`\`\`\n${lines.join('\n')}\n\`\`\`\n\n</details>\n`,
  ]
}

function packageRow(name: string, before: LockedBrief | undefined, after: LockedBrief | undefined): string[] {
  const state = (one: LockedBrief | undefined): string =>
    one === undefined ? '' : escaped(one.version + (one.build === 0 ? '' : ` #${one.build}`))
  const on = (after?.use ?? []).filter((flag) => !before?.use.includes(flag))
  const off = (before?.use ?? []).filter((flag) => !after?.use.includes(flag))
  const flags = before && after ? [...on.map((flag) => `+${flag}`), ...off.map((flag) => `-${flag}`)] : on
  return [escaped(name), state(before), state(after), escaped(flags.join(' '))]
}

function section(title: string, heads: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return ''
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`
  return `\n**${title}**\n\n${line(heads)}${line(heads.map(() => '---'))}${rows.map(line).join('')}`
}

function list(title: string, { added, removed, changed }: Changes): string {
  const say = (verb: string, names: readonly string[]): string[] =>
    names.length === 0 ? [] : [`${verb} ${names.map((name) => escaped(printable(name))).join(', ')}`]
  const said = [...say('added', added), ...say('removed', removed), ...say('changed', changed)]
  return said.length === 0 ? '' : `\n**${title}**: ${said.join('; ')}.\n`
}

function escaped(text: string): string {
  return text.replace(/[\\`*_[\]<>|~]/g, (sign) => `\\${sign}`)
}
