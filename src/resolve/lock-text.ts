/** Lock files: YAML in one fixed form, so that a review sees what changed and nothing else. */
import { isNode, LineCounter, parseDocument } from 'yaml'
import { Stage5Error } from '../base/errors.ts'
import { compareText } from './catalog.ts'
import { decodeLock, readFixedForm } from './lock-read.ts'
import type { Lock, Locked } from './lock.ts'

const HEADER =
  '# Which builds this profile is today. Written by `stage5 lock`; review it, commit it, do not edit it.\n'

/**
 * The text of a lock: keys in fixed order, packages in install order, what has its usual value left out.
 *
 * Every string that could be read as something else is in double quotes. No mirror is named.
 */
export function printLock(lock: Lock): string {
  const { users, groups } = lock.ids
  const lines = [
    `version: ${lock.version}`,
    `profile: ${scalar(lock.profile)}`,
    `input: ${scalar(lock.input)}`,
    ...block('repositories', lock.repositories, ({ name, kind, snapshot, date, signatures }) => [
      `name: ${scalar(name)}`,
      `kind: ${kind}`,
      `snapshot: ${scalar(snapshot)}`,
      `date: ${date}`,
      ...(signatures === undefined ? [] : [`signatures: ${scalar(signatures)}`]),
    ]),
    ...ledger('users', users),
    ...ledger('groups', groups),
    ...block('packages', lock.packages, printLocked),
  ]
  return `${HEADER}${lines.join('\n')}\n`
}

/**
 * Read what `printLock` wrote, or the same document in another YAML style.
 *
 * @param file as shown in errors
 * @throws S5_LOCK_SYNTAX with file and line
 */
export function parseLock(text: string, file: string): Lock {
  const plain = readFixedForm(text)
  const quick = plain === undefined ? undefined : decodeLock(plain)
  if (quick && 'lock' in quick) return quick.lock
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    version: '1.2',
    logLevel: 'silent',
    prettyErrors: false,
  })
  const [first] = [...document.errors, ...document.warnings]
  if (first) throw syntax(file, lines.linePos(first.pos[0]).line, first.message.replace(/\s+/g, ' '))
  const decoded = decodeLock(toPlain(document, file))
  if ('lock' in decoded) return decoded.lock
  for (let depth = decoded.path.length; depth >= 0; depth--) {
    const node: unknown = document.getIn(decoded.path.slice(0, depth), true)
    if (isNode(node) && node.range)
      throw syntax(file, lines.linePos(node.range[0]).line, `${decoded.path.join('.')}: ${decoded.problem}`)
  }
  throw syntax(file, 1, decoded.problem)
}

function toPlain(document: ReturnType<typeof parseDocument>, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 })
  } catch (error) {
    if (!(error instanceof ReferenceError)) throw error
    throw syntax(file, 1, 'expected no aliases')
  }
}

function syntax(file: string, line: number, message: string): Stage5Error {
  return new Stage5Error('S5_LOCK_SYNTAX', `${file}:${line}: ${message}`, {
    hint: 'undo the edit, or write the lock anew with `stage5 lock`',
    data: { file, line },
  })
}

function printLocked(pkg: Locked): string[] {
  const { file, because } = pkg
  const sums = Object.entries(file.sums).sort(([left], [right]) => compareText(left, right))
  const isUsual = sums.length === 1 && `sha256:${file.sums.sha256}` === pkg.sha256
  return [
    `name: ${scalar(pkg.name)}`,
    `version: ${JSON.stringify(pkg.version)}`,
    ...(pkg.scheme === 'deb' ? [] : [`scheme: ${pkg.scheme}`]),
    ...(pkg.slot === '0' ? [] : [`slot: ${scalar(pkg.slot)}`]),
    ...(pkg.use.length === 0 ? [] : [`use: [${pkg.use.map(scalar).join(', ')}]`]),
    ...(pkg.buildId === 0 ? [] : [`build: ${pkg.buildId}`]),
    `arch: ${scalar(pkg.arch)}`,
    `repo: ${scalar(pkg.repo)}`,
    `file: ${scalar(file.path)}`,
    ...(file.origin === '' ? [] : [`origin: ${scalar(file.origin)}`]),
    `size: ${file.size}`,
    `installed: ${pkg.installedSize}`,
    `sha256: ${JSON.stringify(pkg.sha256.slice('sha256:'.length))}`,
    ...(isUsual
      ? []
      : [`sums: {${sums.map(([name, sum]) => `${name}: ${JSON.stringify(sum)}`).join(', ')}}`]),
    ...(because.length === 1
      ? [`because: ${scalar(because[0] as string)}`]
      : because.length === 0
        ? ['because: []']
        : ['because:', ...because.map((one) => `  - ${scalar(one)}`)]),
  ]
}

function block<T>(key: string, items: readonly T[], print: (item: T) => readonly string[]): string[] {
  if (items.length === 0) return [`${key}: []`]
  const lines = items.flatMap((item) =>
    print(item).map((line, index) => `${index === 0 ? '  - ' : '    '}${line}`),
  )
  return [`${key}:`, ...lines]
}

function ledger(key: string, ids: { readonly [name: string]: number }): string[] {
  const entries = Object.entries(ids).sort(([left], [right]) => compareText(left, right))
  if (entries.length === 0) return [`${key}: {}`]
  return [`${key}:`, ...entries.map(([name, id]) => `  ${scalar(name)}: ${id}`)]
}

/** Plain where every YAML reader takes it for the same string; JSON is a part of YAML. */
function scalar(text: string): string {
  const isPlain =
    /^[A-Za-z][A-Za-z0-9_./+~@-]*$/.test(text) && !/^(?:true|false|yes|no|on|off|null|y|n)$/i.test(text)
  return isPlain ? text : JSON.stringify(text)
}
