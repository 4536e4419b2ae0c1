/** An engine by its address: `sqlite:PATH` on this machine, `etcd://HOST:2379,HOST:2379/prefix` beyond. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import type { Engine } from './engine.ts'
import { type EtcdOptions, openEtcdEngine } from './etcd.ts'
import { openSqliteEngine } from './sqlite.ts'

type EngineAddress =
  | { readonly kind: 'sqlite'; readonly path: string }
  | { readonly kind: 'etcd'; readonly options: EtcdOptions }

interface OpenOptions {
  /** What paths are relative to. */
  readonly directory?: string | undefined
  /** The id that the store must have. */
  readonly storeId?: string | undefined
}

/** @throws S5_USAGE for an address that is none; what opening throws */
export async function openEngine(address: string, options: OpenOptions = {}): Promise<Engine> {
  const parsed = parseEngineAddress(address, options.directory ?? process.cwd())
  const { storeId } = options
  return parsed.kind === 'sqlite'
    ? await openSqliteEngine(parsed.path, { storeId })
    : await openEtcdEngine({ ...parsed.options, storeId })
}

const ETCD = /^etcd(?<tls>s?):\/\/(?<hosts>[^/?#]+)(?<prefix>\/[^?#]*)?(?:\?(?<query>[^#]*))?$/
const HOST = /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?$/
const ETCD_PORT = 2379
const QUERY = ['ca', 'cert', 'key', 'user', 'password-file'] as const

/**
 * @example
 * parseEngineAddress('sqlite:.stage5/fleet.db', '/srv/web') // => { kind: 'sqlite', path: '/srv/web/.stage5/fleet.db' }
 * @throws S5_USAGE, S5_FILE_MISSING for a certificate or password that cannot be read
 */
export function parseEngineAddress(address: string, directory: string): EngineAddress {
  if (address.startsWith('sqlite:')) {
    const path = address.slice('sqlite:'.length).replace(/^\/\/(?=\/)/, '')
    if (path === '' || path.startsWith('//')) throw usage(address)
    return { kind: 'sqlite', path: resolve(directory, path) }
  }
  const { tls, hosts = '', prefix = '', query = '' } = ETCD.exec(address)?.groups ?? {}
  const names = hosts.split(',')
  if (!names.every((name) => HOST.test(name))) throw usage(address)
  const words = new URLSearchParams(query)
  for (const word of words.keys())
    if (!(QUERY as readonly string[]).includes(word))
      throw usage(address, `expected one of ${QUERY.join(', ')} after ?, found ${word}`)
  const file = (word: (typeof QUERY)[number]): string | undefined => {
    const path = words.get(word)
    return path === null ? undefined : readText(resolve(directory, path))
  }
  return {
    kind: 'etcd',
    options: {
      endpoints: names.map((name) => `http${tls}://${/:\d+$/.test(name) ? name : `${name}:${ETCD_PORT}`}`),
      prefix: prefix.replace(/\/+$/, ''),
      ca: file('ca'),
      cert: file('cert'),
      key: file('key'),
      user: words.get('user') ?? undefined,
      password: file('password-file')?.replace(/\r?\n$/, ''),
    },
  }
}

function usage(address: string, why?: string): Stage5Error {
  const shown = address.replace(/\/\/[^/]*@/, '//***@')
  return new Stage5Error(
    'S5_USAGE',
    `--engine ${JSON.stringify(shown)}: ${why ?? 'not the address of an engine'}`,
    {
      hint: 'write sqlite:.stage5/fleet.db, or etcd://10.0.0.1:2379,10.0.0.2:2379/prefix (etcds:// for TLS)',
      data: { address: shown },
    },
  )
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    const said = cause instanceof Error ? cause.message : String(cause)
    throw new Stage5Error('S5_FILE_MISSING', `${path}: ${said}`, { cause, data: { path } })
  }
}
