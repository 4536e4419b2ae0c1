/**
 * Seeded mutations of every archive of the corpus: `fuzz.ts [seconds] [seed]`.
 *
 * The invariant: a value or a `Stage5Error`, in bounded time and memory. What breaks it is written to
 * `test/corpus/<target>-<digest>.bin`, to be committed; the fuzz test replays those first.
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { digestOf, hexOf } from '../../src/base/digest.ts'
import { Stage5Error } from '../../src/base/errors.ts'
import { stanzasOf } from '../../src/format/deb822.ts'
import { parseGentooIndex } from '../../src/format/gentoo-index.ts'
import { tarReader } from '../../src/format/tar.ts'
import { packageOfEntry } from '../../src/pkg/ebuild-package.ts'
import { gentooHeaderOf } from '../../src/pkg/gentoo-header.ts'
import type { RandomSource } from '../../src/repo/source.ts'
import { unpackGpkgFrom } from '../../src/repo/unpack-gpkg.ts'
import { unpackXpakFrom } from '../../src/repo/unpack-xpak.ts'
import { unpackDebFrom, unpackNativeFrom } from '../../src/repo/unpack.ts'
import { treeBuilder } from '../../src/repo/unpack-tree.ts'
import { alternativesOf } from '../../src/stage/alternatives.ts'
import { classifyScripts } from '../../src/stage/scripts.ts'
import { GPKG_CASES, XPAK_CASES } from '../corpus/gentoo.ts'
import { DEB_CASES, NATIVE_CASES } from '../corpus/packages.ts'
import { TAR_CASES } from '../corpus/tar.ts'
import { memoryBodies } from '../helpers/bodies.ts'
import { makeBinhost } from '../helpers/gentoo-packages.ts'

/** Of the processor, for one input. */
const MAX_MS = 10_000
const MAX_RSS = 400e6
/** Larger inputs make few mutations per second. */
const MAX_INPUT = 20_000

type Random = (below: number) => number

interface Target {
  readonly inputs: readonly Buffer[]
  run(bytes: Buffer, random: Random): Promise<void>
}

const signal = new AbortController().signal
const settings = { label: 'fuzz_1', signal }

async function* cut(bytes: Buffer, random: Random): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; ) {
    const next = at + 1 + random(2000)
    yield bytes.subarray(at, next)
    at = next
  }
}

function sourceOf(bytes: Buffer, random: Random): RandomSource {
  return {
    name: 'fuzz.pkg',
    size: bytes.length,
    chunk: 1 + random(2000),
    read: async (at, length) => bytes.subarray(at, at + length),
  }
}

/** Whether Node unpacks all of it itself: starting programs would be most of the time. */
function builtIn(bytes: Buffer): boolean {
  return (
    bytes.length <= MAX_INPUT &&
    !/tar\.(?:xz|bz2|lz)|^(?:\xfd7zXZ|BZh|\x04\x22M\x18|LZIP|\x89LZO|\x5d\0\0)/.test(bytes.toString('latin1'))
  )
}

const SCRIPT = `#!/bin/sh
set -e
f() { local x="$1"; for y in $x "$@"; do [ -e "$y" ] && f "$y$x" || return 1; done; }
case "$1" in configure|abort-*) f a b; a=$a$1; set -- "$@" $a ;; *) exit 1 ;; esac
if dpkg --compare-versions "$2" lt 1.0~; then
	cat <<END >/etc/x
text $a
END
	while read l; do eval "$l"; done < /etc/y
	update-alternatives --install /usr/bin/a a /usr/bin/b 5 \\
		--slave \${a:-/x} \`echo b\` "$(basename "\${a%.*}")"
fi
`

const TARGETS: { readonly [name: string]: Target } = {
  tar: {
    inputs: TAR_CASES.map(({ bytes }) => bytes).filter(builtIn),
    run: async (bytes, random) => {
      const bodies = memoryBodies()
      const builder = treeBuilder('fuzz.tar', 'fuzz_1', bodies)
      try {
        const reader = tarReader('fuzz.tar', builder, { bytes: 2 ** 28 })
        for await (const chunk of cut(bytes, random)) reader.push(chunk)
        reader.end()
        builder.tree()
      } finally {
        builder.abort()
        checkFinished(bodies)
      }
    },
  },
  deb: {
    inputs: DEB_CASES.map(({ bytes }) => bytes).filter(builtIn),
    run: async (bytes, random) => {
      if (!builtIn(bytes)) return
      const bodies = memoryBodies()
      const source = { name: 'fuzz.deb', size: bytes.length, chunks: cut(bytes, random) }
      await unpackDebFrom(source, bodies, settings).finally(() => checkFinished(bodies))
    },
  },
  native: {
    inputs: NATIVE_CASES.map(({ bytes }) => bytes).filter(builtIn),
    run: async (bytes, random) => {
      const bodies = memoryBodies()
      const source = { name: 'fuzz.tar.zst', size: bytes.length, chunks: cut(bytes, random) }
      await unpackNativeFrom(source, bodies, settings).finally(() => checkFinished(bodies))
    },
  },
  xpak: {
    inputs: XPAK_CASES.map(({ bytes }) => bytes).filter(builtIn),
    run: async (bytes, random) => {
      if (!builtIn(bytes)) return
      const bodies = memoryBodies()
      await unpackXpakFrom(sourceOf(bytes, random), bodies, settings).finally(() => checkFinished(bodies))
    },
  },
  gpkg: {
    inputs: GPKG_CASES.map(({ bytes }) => bytes).filter(builtIn),
    run: async (bytes, random) => {
      if (!builtIn(bytes)) return
      const bodies = memoryBodies()
      await unpackGpkgFrom(sourceOf(bytes, random), bodies, settings).finally(() => checkFinished(bodies))
    },
  },
  index: {
    inputs: [
      Buffer.from(makeBinhost({ packages: [{ cpv: 'a/b-1' }, { cpv: 'a/c-2_p1-r3', slot: '0/1' }] }).index),
    ],
    run: async (bytes) => {
      const index = parseGentooIndex('fuzz', bytes)
      const header = gentooHeaderOf(index.header)
      for (const { fields } of index.entries()) packageOfEntry(fields, header, 'fuzz')
    },
  },
  script: {
    inputs: [SCRIPT, SCRIPT.slice(10, 300), 'for a in 1 2 3; do b=$b$b$a; done; $b'].map((text) =>
      Buffer.from(text),
    ),
    run: async (bytes) => {
      const control = { postinst: `#!/bin/sh\n${bytes.toString('latin1')}` }
      const pkg = { name: 'fuzz', label: 'fuzz_1', version: '1', arch: 'amd64', control }
      classifyScripts(pkg)
      alternativesOf(pkg)
    },
  },
  deb822: {
    inputs: ['Package: a\nVersion: 1\nDescription: x\n y\n .\n z\n\nPackage: b\n', '# c\nA:\n\tb\r\n \n'].map(
      (text) => Buffer.from(text),
    ),
    run: async (bytes) => {
      for (const stanza of stanzasOf(bytes)) for (const [name] of stanza.fields()) stanza.get(name)
    },
  },
}

function checkFinished(bodies: ReturnType<typeof memoryBodies>): void {
  if (bodies.unfinished() !== 0) throw new Error('a body was neither closed nor aborted')
}

/** The same numbers for the same seed. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** One to four changes, then, mostly, checksums that are right again: else nothing gets past them. */
function mutated(bytes: Buffer, others: readonly Buffer[], random: Random): Buffer {
  let result: Buffer = Buffer.from(bytes)
  for (let changes = 1 + random(4); changes > 0; changes--) result = changed(result, others, random)
  if (random(4) > 0) mendChecksums(result)
  return result
}

function changed(bytes: Buffer, others: readonly Buffer[], random: Random): Buffer {
  if (bytes.length === 0) return Buffer.from([random(256)])
  const at = random(bytes.length)
  switch (random(8)) {
    case 0:
      bytes[at] = (bytes[at] as number) ^ (1 << random(8))
      return bytes
    case 1:
      bytes[at] = [0, 0xff, 0x80, 0x2f, 0x2e, 0x20, 0x0a, 0x39][random(8)] as number
      return bytes
    case 2:
      return bytes.subarray(0, at)
    case 3: {
      const from = random(bytes.length)
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(from, from + random(1024))])
    }
    case 4: {
      const block = at - (at % 512)
      return Buffer.concat([
        bytes.subarray(0, block),
        bytes.subarray(block, block + 512),
        bytes.subarray(block),
      ])
    }
    case 5: {
      const other = others[random(others.length)] as Buffer
      const from = random(other.length + 1)
      other.copy(bytes, at, from, from + random(600))
      return bytes
    }
    case 6:
      // A field of a tar header: name, mode, owner, size, time, flag, link, magic, prefix.
      return poked(
        bytes,
        at - (at % 512) + ([0, 100, 108, 116, 124, 136, 156, 157, 257, 345][random(10)] as number),
        random,
      )
    default:
      return Buffer.concat([
        bytes.subarray(0, at),
        Buffer.alloc(1 + random(3), random(256)),
        bytes.subarray(at),
      ])
  }
}

function poked(bytes: Buffer, at: number, random: Random): Buffer {
  const words = [
    '../',
    '/',
    '77777777777',
    '\xff\xff\xff\xff',
    '\x80\0\0',
    'x',
    'g',
    'L',
    '1',
    '2',
    '5',
    '\0',
    'ustar\x0000',
  ]
  if (at < bytes.length) bytes.write(words[random(words.length)] as string, at, 'latin1')
  return bytes
}

function mendChecksums(bytes: Buffer): void {
  for (let at = bytes.indexOf('ustar'); at >= 0; at = bytes.indexOf('ustar', at + 1)) {
    const start = at - 257
    if (start < 0 || start + 512 > bytes.length) continue
    const header = bytes.subarray(start, start + 512)
    header.fill(0x20, 148, 156)
    const sum = header.reduce((total, byte) => total + byte, 0)
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  }
}

/** @throws when the invariant is broken; the input is kept as a file then */
async function attempt(name: string, bytes: Buffer, random: Random, keep: boolean): Promise<boolean> {
  const before = process.cpuUsage()
  const file = `test/corpus/${name}-${hexOf(digestOf(bytes)).slice(0, 12)}.bin`
  let accepted = true
  try {
    await (TARGETS[name] as Target).run(Buffer.from(bytes), random)
  } catch (error) {
    accepted = false
    if (!(error instanceof Stage5Error)) {
      if (keep) writeFileSync(file, bytes)
      throw new Error(`${file} breaks the invariant`, { cause: error })
    }
  }
  const { user, system } = process.cpuUsage(before)
  const ms = (user + system) / 1000
  if (ms > MAX_MS) {
    if (keep) writeFileSync(file, bytes)
    throw new Error(`${file} took ${Math.round(ms)} ms of the processor`)
  }
  return accepted
}

export interface FuzzResult {
  readonly runs: number
  /** Inputs that were still read to a value. */
  readonly accepted: number
}

/** Replays what once broke, then mutates for some seconds. @throws when the invariant is broken */
export async function fuzz(seconds: number, seed: number, keep = true): Promise<FuzzResult> {
  const random = randomOf(seed)
  for (const file of globSync('test/corpus/*.bin').sort())
    await attempt(basename(file).split('-')[0] as string, readFileSync(file), random, false)
  const names = Object.keys(TARGETS)
  const before = process.memoryUsage().rss
  const until = performance.now() + seconds * 1000
  let runs = 0
  let accepted = 0
  while (performance.now() < until) {
    const name = names[random(names.length)] as string
    const { inputs } = TARGETS[name] as Target
    const bytes = mutated(inputs[random(inputs.length)] as Buffer, inputs, random)
    if (await attempt(name, bytes, random, keep)) accepted++
    runs++
  }
  const grown = process.memoryUsage().rss - before
  if (grown > MAX_RSS) throw new Error(`memory grew by ${grown} bytes in ${runs} runs`)
  return { runs, accepted }
}

if (import.meta.main) {
  const [seconds = '60', seed = '1'] = process.argv.slice(2)
  const { runs, accepted } = await fuzz(Number(seconds), Number(seed))
  process.stdout.write(`${runs} mutations, ${accepted} still accepted, seed ${seed}\n`)
}
