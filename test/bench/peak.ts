/**
 * `node test/bench/peak.ts [--gib 1] [--json]`: the most memory that each command takes on a root of so many GiB, half of it
 * in a few large files and a fifth in small ones; ends with status 1 when one takes more than it may.
 *
 * Sizes of processes do not depend on how busy the machine is. A root of 10 GiB takes about 30 GiB of disk for a while.
 */
import { createCipheriv } from 'node:crypto'
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { type Cost, measure } from './measure.ts'

const HERE = import.meta.dirname
const GIB = Number(process.argv[process.argv.indexOf('--gib') + 1]) || 1
/** MiB that any command may take at its peak. */
const MOST = GIB <= 1 ? 512 : 1024
const MIB = 1 << 20
const CHANGED = 45

interface Row {
  readonly command: string
  readonly cost: Cost
}

const parent = process.env['STAGE5_BENCH_DIR'] ?? resolve(HERE, '../.tmp/bench')
mkdirSync(parent, { recursive: true })
const directory = mkdtempSync(join(parent, 'peak-'))
const environment = { STAGE5_STORE: join(directory, 'store'), SOURCE_DATE_EPOCH: '1700000000' }
const rows: Row[] = []
const { bavail, bsize } = statfsSync(directory)
if (bavail * bsize < (3 * GIB + 3) * 1024 * MIB)
  throw new Error(`${directory}: expected ${3 * GIB + 3} GiB free for a root of ${GIB} GiB`)

try {
  const pool = randomBytes(MIB)
  project()
  for (let nth = 0; nth < GIB; nth++) pack(nth, '1.0.0', pool)
  stage5('lock', 'big')
  row('build: squashfs, erofs and disk', 'build', 'big')
  const [old = ''] = outputs()
  pack(0, '1.0.1', pool)
  stage5('lock', 'big')
  row(`build: ${CHANGED} files changed`, 'build', 'big')
  const fresh = outputs().find((name) => name !== old) ?? ''
  const squashfs = (folder: string): string => {
    const found = readdirSync(join(directory, 'out', folder)).find((name) => name.endsWith('.squashfs'))
    return join('out', folder, found ?? '')
  }
  row('delta', 'delta', `out/${old}`, `out/${fresh}`, '--out', 'one.delta')
  row('patch', 'patch', squashfs(old), 'one.delta', '--out', 'patched.squashfs')
  if (!readFileSync(join(directory, 'one.delta')).length) throw new Error('an empty delta')
  rmSync(join(directory, 'patched.squashfs'))
  for (const folder of [old, fresh])
    for (const name of readdirSync(join(directory, 'out', folder)))
      if (/\.(?:raw|erofs)$/.test(name)) rmSync(join(directory, 'out', folder, name))
  row('checkout: hard links', 'checkout', 'big', 'roots/one')
  row('checkout --copy', 'checkout', 'big', 'roots/two', '--copy')
  row('dedupe', 'dedupe', 'roots/one', 'roots/two')
  row('checkout --check', 'checkout', '--check', 'roots/two')
  row('store verify', 'store', 'verify')
  row('gc', 'gc', '--keep-days', '0')
  const over = rows.filter(({ cost }) => cost.mebibytes > MOST).map(({ command }) => command)
  const record = { bench: 'peak memory', gib: GIB, most: MOST, rows, over }
  if (process.argv.includes('--json')) console.log(JSON.stringify(record))
  else {
    appendFileSync(join(HERE, 'history.ndjson'), `${JSON.stringify(record)}\n`)
    console.log(`root of ${GIB} GiB, at most ${MOST} MiB\nmemory, MiB   processor, s   command`)
    for (const { command, cost } of rows)
      console.log(
        `${String(cost.mebibytes).padStart(11)}${cost.processorSeconds.toFixed(1).padStart(15)}   ${command}${cost.mebibytes > MOST ? ' (too much)' : ''}`,
      )
    if (over.length > 0) process.exitCode = 1
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}

function outputs(): string[] {
  return readdirSync(join(directory, 'out')).filter((name) => /^big_.*_amd64$/.test(name))
}

function stage5(...words: readonly string[]): Cost {
  const argv = [resolve(HERE, '../../src/main.js'), '-C', directory, '--quiet', ...words]
  return measure([process.execPath, ...argv], { cwd: directory, environment })
}

function row(command: string, ...words: readonly string[]): void {
  const cost = stage5(...words)
  rows.push({ command, cost })
  if (process.stderr.isTTY) console.error(`${cost.mebibytes} MiB ${cost.seconds.toFixed(0)} s ${command}`)
}

function project(): void {
  for (const name of ['profiles', 'repos']) mkdirSync(join(directory, name))
  writeFileSync(join(directory, 'repos/house.yaml'), 'stage5: 1\nkind: native\nurl: ../packages\n')
  const packages = Array.from({ length: GIB }, (_, nth) => `data/p${nth}`).join(', ')
  writeFileSync(
    join(directory, 'profiles/big.yaml'),
    `stage5: 1\nparents: [minimal]\nnetwork: none\nrepositories: [house]\npackages: [${packages}]\n` +
      'images: [{format: squashfs, level: 3, base: true}, erofs, {format: disk, firmware: bios}]\n',
  )
}

/** A GiB of the root as one package. The first one has the largest file, and another version of it 45 other files. */
function pack(nth: number, version: string, pool: Uint8Array): void {
  const folder = join(directory, 'package')
  const large = nth === 0 && GIB > 1 ? 1200 : 600
  const data = join(folder, `srv/p${nth}`)
  mkdirSync(data, { recursive: true })
  file(join(data, 'large'), large * MIB, pool, nth, 0)
  for (let at = 0; at < 100; at++) file(join(data, `m${at}`), 2 * MIB, pool, nth, at + 1)
  for (let at = 0; at < 10_000; at++) {
    if (at % 100 === 0) mkdirSync(join(data, `d${at / 100}`))
    const change = version !== '1.0.0' && at < CHANGED ? 1 : 0
    file(join(data, `d${Math.floor(at / 100)}`, `s${at}`), 20_480, pool, nth, at + 101 + change * 20_000)
  }
  row(
    `pack: a package of 1 GiB, ${nth} ${version}`,
    'pack',
    folder,
    '--name',
    `data/p${nth}`,
    '--version',
    version,
    '--out',
    'packages',
  )
  rmSync(folder, { recursive: true })
  stage5('index', 'packages')
}

/** No two blocks of 4 KiB are equal; each is an eighth noise. */
function file(path: string, size: number, pool: Uint8Array, nth: number, at: number): void {
  const fd = openSync(path, 'wx', 0o644)
  try {
    const buffer = Buffer.alloc(Math.min(size, MIB))
    for (let done = 0; done < size; done += buffer.length) {
      for (let block = 0; block < buffer.length; block += 4096) {
        const from = ((done + block) / 4096 + 97 * at) % 2000
        buffer.set(pool.subarray(from * 512, from * 512 + 512), block)
        buffer.writeUInt32LE(nth, block)
        buffer.writeUInt32LE(at, block + 4)
        buffer.writeUInt32LE((done + block) / 4096, block + 8)
      }
      writeSync(fd, buffer, 0, Math.min(buffer.length, size - done))
    }
  } finally {
    closeSync(fd)
  }
}

/** The same each time. */
function randomBytes(length: number): Uint8Array {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(length))
}
