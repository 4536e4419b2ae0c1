/** Reads YAML 1.2 into the neutral nodes of `base/shape.ts`; refuses what makes documents surprising or unbounded. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml'
import type { Document, Node } from 'yaml'
import { invalid, type Place, type Source } from '../base/shape.ts'

/** Bounds of one document; far above anything a person writes. */
const YAML_LIMITS = { bytes: 1_048_576, nodes: 50_000, depth: 32 } as const

/**
 * Core schema (`no` and `on` are strings), one document, unique keys, no tags, anchors bounded by the nodes they
 * expand to. An empty document is an empty map.
 * @throws S5_PROFILE_INVALID
 */
export function readYaml(bytes: Uint8Array, file: string): Source {
  if (bytes.length > YAML_LIMITS.bytes)
    throw at(file, undefined, `expected at most ${YAML_LIMITS.bytes} bytes, found ${bytes.length}`)
  const lines = new LineCounter()
  const document = parseDocument(decodeText(bytes, file), {
    version: '1.2',
    schema: 'core',
    uniqueKeys: true,
    strict: true,
    prettyErrors: false,
    keepSourceTokens: false,
    lineCounter: lines,
    logLevel: 'error',
  })
  const place = (offset: number): Place => {
    const { line, col } = lines.linePos(offset)
    return { line, column: col }
  }
  const bad = [...document.errors, ...document.warnings].map(({ pos, message }) => ({
    ...place(pos[0]),
    message: sentence(message),
  }))
  if (document.directives.yaml.version !== '1.2')
    bad.push({
      line: 1,
      column: 1,
      message: `expected YAML 1.2, found YAML ${document.directives.yaml.version}`,
    })
  if (bad.length > 0) throw invalid(file, bad)
  const contents = document.contents
  if (contents === null || (isScalar(contents) && contents.value === null))
    return { kind: 'map', members: [], line: 1, column: 1 }
  return converter(file, document, place)(contents, 0)
}

function decodeText(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause
    throw at(file, undefined, 'expected UTF-8 text, found other bytes')
  }
}

function sentence(message: string): string {
  return message
    .replace(/\s+/g, ' ')
    .replace(/^Map keys must be unique$/, 'this key is written twice')
    .replace(/^Source contains multiple documents.*/, 'expected one document, found another')
}

function at(file: string, place: Place | undefined, message: string): Error {
  return invalid(file, [{ line: place?.line ?? 1, column: place?.column ?? 1, message }])
}

function converter(
  file: string,
  document: Document.Parsed,
  place: (offset: number) => Place,
): (node: unknown, depth: number) => Source {
  let count = 0
  const convert = (given: unknown, depth: number): Source => {
    const node = given as Node | null
    const where = place(node?.range?.[0] ?? 0)
    count++
    if (count > YAML_LIMITS.nodes)
      throw at(file, where, `expected at most ${YAML_LIMITS.nodes} values (aliases count as what they name)`)
    if (depth > YAML_LIMITS.depth) throw at(file, where, `nested deeper than ${YAML_LIMITS.depth} levels`)
    if (isAlias(node)) {
      const target = node.resolve(document)
      if (!target) throw at(file, where, `unknown anchor ${JSON.stringify(node.source)}`)
      return { ...convert(target, depth + 1), ...where }
    }
    if (node?.tag !== undefined && node.tag.startsWith('!') && !node.tag.startsWith('!!'))
      throw at(file, where, `expected no tag, found ${JSON.stringify(node.tag)}`)
    if (isMap(node))
      return {
        kind: 'map',
        ...where,
        members: node.items.map((pair) => {
          const spot = place((pair.key as Node | null)?.range?.[0] ?? node.range?.[0] ?? 0)
          const key = isScalar(pair.key) ? (pair.key.source ?? String(pair.key.value)) : undefined
          if (key === undefined || (isScalar(pair.key) && pair.key.value === null))
            throw at(file, spot, 'expected a key that is a plain word')
          return { key, at: spot, value: convert(pair.value, depth + 1) }
        }),
      }
    if (isSeq(node))
      return { kind: 'list', ...where, items: node.items.map((item) => convert(item, depth + 1)) }
    return scalar(file, node, where)
  }
  return convert
}

function scalar(file: string, node: unknown, where: Place): Source {
  const value: unknown = isScalar(node) ? node.value : null
  if (
    value === null ||
    typeof value === 'string' ||
    typeof value === 'boolean' ||
    typeof value === 'number'
  ) {
    const written = isScalar(node) ? node.source : undefined
    const text = typeof value === 'string' ? value : (written ?? String(value))
    return { kind: 'scalar', ...where, value, text }
  }
  throw at(file, where, 'expected text, a number, true, false, a list or a map')
}
