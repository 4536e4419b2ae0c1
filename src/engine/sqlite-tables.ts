/**
 * The tables of an embedded engine, and what one batch of requests does to them; synchronous, for a thread of its own.
 *
 * ```
 * value    key → value, mod, made, lease     what is
 * change   (revision, key) → value or null   what happened, until compacted
 * lease    id → boot, started, ms            durations by the clock all processes of this machine share
 * meta     revision, compacted               two numbers
 * ```
 * A batch is one transaction of SQLite, so that many writers share one sync; each request in it has a revision of its own.
 */
import { Buffer } from 'node:buffer'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { prefixEnd } from './check.ts'
import type { Change, ChangeSet, Compare, Operation, Snapshot } from './engine.ts'

export type Ask =
  | { readonly kind: 'list'; readonly prefix: string }
  | { readonly kind: 'changes'; readonly prefix: string; readonly after: bigint }
  | {
      readonly kind: 'transact'
      readonly compares: readonly Compare[]
      readonly operations: readonly Operation[]
    }
  | { readonly kind: 'grant'; readonly seconds: number }
  | { readonly kind: 'renew'; readonly lease: string }
  | { readonly kind: 'revoke'; readonly lease: string }
  | { readonly kind: 'compact'; readonly revision: bigint }

export interface Answers {
  readonly list: Snapshot
  /** `compacted`: the answer would have a gap. `upTo`: nothing up to this revision is missing. */
  readonly changes: {
    readonly compacted: boolean
    readonly sets: readonly ChangeSet[]
    readonly upTo: bigint
  }
  readonly transact: { readonly ok: boolean; readonly revision: bigint }
  readonly grant: string
  readonly renew: boolean
  readonly revoke: void
  readonly compact: boolean
}

interface MachineClock {
  /** Another after each start of the machine. */
  readonly bootId: string
  ms(): number
}

export interface Tables extends Disposable {
  /** All or nothing. Leases that are over end first. @throws errors of SQLite: nothing of the batch was done */
  batch(asks: readonly Ask[]): readonly Answers[Ask['kind']][]
  /** After the last batch. */
  readonly revision: number
  /** Whether another process wrote, or a lease is over, since the last batch. */
  hasNews(): boolean
}

/** 's5fl': `file` and others see whose database it is. */
const APPLICATION_ID = 0x7335666c
const FORMAT = 1
const BUSY_MS = 10_000
/** Changes in one answer; a transaction has far fewer. */
const PAGE = 1000
/** Revisions that are kept for watches; some 150 bytes each beside their values. */
const KEEP_REVISIONS = 100_000
const COMPACT_EVERY = 1000

const SCHEMA = `
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS value (key BLOB PRIMARY KEY, value BLOB NOT NULL, mod INTEGER NOT NULL, made INTEGER NOT NULL, lease INTEGER) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS value_lease ON value (lease) WHERE lease IS NOT NULL;
CREATE TABLE IF NOT EXISTS change (revision INTEGER NOT NULL, key BLOB NOT NULL, value BLOB, PRIMARY KEY (revision, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lease (id INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, started INTEGER NOT NULL, ms INTEGER NOT NULL);
INSERT OR IGNORE INTO meta VALUES ('revision', 0), ('compacted', 0);
PRAGMA application_id = ${APPLICATION_ID};
PRAGMA user_version = ${FORMAT};`

/** What stands in the file when it is not ours. */
export class ForeignDatabase extends Error {}

/** @throws ForeignDatabase; errors of SQLite */
export function openTables(
  path: string,
  clock: MachineClock,
  keepRevisions: number = KEEP_REVISIONS,
): Tables {
  const database = new DatabaseSync(path, { timeout: BUSY_MS })
  try {
    prepare(database, clock)
    return tables(database, clock, keepRevisions)
  } catch (error) {
    database.close()
    throw error
  }
}

function prepare(database: DatabaseSync, clock: MachineClock): void {
  const pragma = (name: string): number =>
    Number(Object.values(database.prepare(`PRAGMA ${name}`).get() as object)[0])
  const isNew = pragma('schema_version') === 0
  if (!isNew && pragma('application_id') !== APPLICATION_ID)
    throw new ForeignDatabase('a database of another program')
  if (pragma('user_version') > FORMAT)
    throw new ForeignDatabase(
      `written by a newer stage5 (format ${pragma('user_version')}, this one knows ${FORMAT})`,
    )
  // SQLite does not wait for others when it changes the journal's mode; the first transaction does.
  for (let left = 200; ; left--) {
    try {
      database.exec('PRAGMA journal_mode = WAL')
      break
    } catch (error) {
      if (left === 0) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
    }
  }
  database.exec('PRAGMA synchronous = FULL')
  database.exec(`BEGIN IMMEDIATE; ${isNew ? SCHEMA : ''}`)
  // The machine was started anew: how long it was off is not known, so a lease has its whole time again.
  database
    .prepare('UPDATE lease SET boot = ?1, started = ?2 WHERE boot <> ?1 OR started > ?2')
    .run(clock.bootId, clock.ms())
  database.exec('COMMIT')
}

interface Row {
  readonly key: Uint8Array
  readonly value: Uint8Array | null
  readonly mod: number
  readonly made: number
  readonly revision: number
}

interface Written {
  readonly key: Uint8Array
  /** Absent: it goes. */
  readonly value?: Uint8Array
  readonly lease?: number | null
}

function tables(database: DatabaseSync, clock: MachineClock, keepRevisions: number): Tables {
  const statements = new Map<string, StatementSync>()
  const statement = (sql: string): StatementSync => {
    const found = statements.get(sql) ?? database.prepare(sql)
    statements.set(sql, found)
    return found
  }
  const rows = (sql: string, ...values: SQLInputValue[]): Row[] =>
    statement(sql).all(...values) as unknown as Row[]
  const number = (sql: string, ...values: SQLInputValue[]): number | undefined => {
    const row = statement(sql).get(...values) as { n: number | null } | undefined
    return row?.n ?? undefined
  }
  const run = (sql: string, ...values: SQLInputValue[]): number =>
    Number(statement(sql).run(...values).changes)
  const meta = (name: string): number => number('SELECT number AS n FROM meta WHERE name = ?', name) as number

  let revision = meta('revision')
  let compacted = meta('compacted')
  let version = dataVersion()

  function dataVersion(): number {
    return (statement('PRAGMA data_version').get() as { data_version: number }).data_version
  }

  const dueLease = (): number | undefined =>
    number('SELECT min(id) AS n FROM lease WHERE started + ms <= ?', clock.ms())

  /** One revision more, in which these keys change. */
  function change(changes: readonly Written[]): void {
    revision++
    for (const { key, value, lease } of changes) {
      if (value === undefined) run('DELETE FROM value WHERE key = ?', key)
      else
        run(
          'INSERT INTO value VALUES (?1, ?2, ?3, ?3, ?4) ON CONFLICT (key) DO UPDATE SET value = ?2, mod = ?3, lease = ?4',
          key,
          value,
          revision,
          lease ?? null,
        )
      run('INSERT INTO change VALUES (?, ?, ?)', revision, key, value ?? null)
    }
  }

  function endLease(id: number): void {
    run('DELETE FROM lease WHERE id = ?', id)
    const held = rows('SELECT key FROM value WHERE lease = ?', id)
    if (held.length > 0) change(held.map(({ key }) => ({ key })))
  }

  const hasLease = (lease: string): boolean =>
    number('SELECT id AS n FROM lease WHERE id = ?', Number(lease)) !== undefined

  function holds({ key, target, equal }: Compare): boolean {
    const column = target === 'mod' ? 'mod' : 'made'
    const found = number(`SELECT ${column} AS n FROM value WHERE key = ?`, Buffer.from(key, 'utf8'))
    return BigInt(found ?? 0) === equal
  }

  function transact(compares: readonly Compare[], operations: readonly Operation[]): boolean {
    if (!compares.every(holds)) return false
    const puts = operations.filter((operation) => operation.kind === 'put')
    if (!puts.every(({ lease }) => lease === undefined || hasLease(lease))) return false
    const changes = operations.flatMap((operation): Written[] => {
      const key = Buffer.from(operation.key, 'utf8')
      if (operation.kind === 'put') {
        const { value, lease } = operation
        return [{ key, value: Buffer.from(value, 'utf8'), lease: lease === undefined ? null : Number(lease) }]
      }
      const isThere = number('SELECT mod AS n FROM value WHERE key = ?', key) !== undefined
      return isThere ? [{ key }] : []
    })
    if (changes.length > 0) change(changes)
    return true
  }

  const between = (prefix: string): [from: Buffer, to: Buffer] => [
    Buffer.from(prefix, 'utf8'),
    prefixEnd(prefix) ?? Buffer.from([0xff]),
  ]

  function list(prefix: string): Snapshot {
    const found = rows(
      'SELECT key, value, mod, made FROM value WHERE key >= ? AND key < ? ORDER BY key',
      ...between(prefix),
    )
    const values = found.map(({ key, value, mod, made }) => ({
      key: textOf(key),
      value: textOf(value as Uint8Array),
      modRevision: BigInt(mod),
      createRevision: BigInt(made),
    }))
    return { values, revision: BigInt(revision) }
  }

  function changesAfter(prefix: string, after: bigint): Answers['changes'] {
    if (after + 1n < BigInt(compacted)) return { compacted: true, sets: [], upTo: after }
    const found = rows(
      'SELECT revision, key, value FROM change WHERE revision > ? AND key >= ? AND key < ? ORDER BY revision, key LIMIT ?',
      Number(after),
      ...between(prefix),
      PAGE + 1,
    )
    const cut = found[PAGE]?.revision
    const byRevision = new Map<number, Change[]>()
    for (const { revision: at, key, value } of found) {
      if (at === cut) break
      const changes = byRevision.get(at) ?? []
      byRevision.set(at, changes)
      const modRevision = BigInt(at)
      changes.push({ key: textOf(key), modRevision, ...(value !== null && { value: textOf(value) }) })
    }
    const sets = [...byRevision].map(([at, changes]) => ({ revision: BigInt(at), changes }))
    return { compacted: false, sets, upTo: BigInt(cut === undefined ? revision : cut - 1) }
  }

  function compact(to: number): boolean {
    if (to > revision) return false
    if (to > compacted) {
      compacted = to
      run('DELETE FROM change WHERE revision < ?', to)
    }
    return true
  }

  function answer(ask: Ask): Answers[Ask['kind']] {
    switch (ask.kind) {
      case 'list':
        return list(ask.prefix)
      case 'changes':
        return changesAfter(ask.prefix, ask.after)
      case 'transact': {
        const ok = transact(ask.compares, ask.operations)
        return { ok, revision: BigInt(revision) }
      }
      case 'grant':
        return String(
          statement('INSERT INTO lease (boot, started, ms) VALUES (?, ?, ?)').run(
            clock.bootId,
            clock.ms(),
            ask.seconds * 1000,
          ).lastInsertRowid,
        )
      case 'renew':
        return run('UPDATE lease SET started = ? WHERE id = ?', clock.ms(), Number(ask.lease)) > 0
      case 'revoke':
        return endLease(Number(ask.lease))
      case 'compact':
        return compact(Number(ask.revision))
    }
  }

  function batch(asks: readonly Ask[]): readonly Answers[Ask['kind']][] {
    const writes = asks.some(({ kind }) => kind !== 'list' && kind !== 'changes') || dueLease() !== undefined
    const seen = dataVersion()
    database.exec(writes ? 'BEGIN IMMEDIATE' : 'BEGIN')
    try {
      revision = meta('revision')
      compacted = meta('compacted')
      const before = { revision, compacted }
      if (writes) for (let due = dueLease(); due !== undefined; due = dueLease()) endLease(due)
      const answers = asks.map(answer)
      if (Math.floor(revision / COMPACT_EVERY) > Math.floor(before.revision / COMPACT_EVERY))
        compact(Math.max(0, revision - keepRevisions))
      if (revision !== before.revision) run("UPDATE meta SET number = ? WHERE name = 'revision'", revision)
      if (compacted !== before.compacted)
        run("UPDATE meta SET number = ? WHERE name = 'compacted'", compacted)
      database.exec('COMMIT')
      version = seen
      return answers
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK')
      throw error
    }
  }

  return {
    batch,
    get revision() {
      return revision
    },
    hasNews: () => dataVersion() !== version || dueLease() !== undefined,
    [Symbol.dispose]: () => database.close(),
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
}
