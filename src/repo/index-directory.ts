/** Writes `index.yaml` of a folder of native packages: what each `package.yaml` says, with size and SHA256. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { refuse, Stage5Error } from '../base/errors.ts'
import { tarReader } from '../format/tar.ts'
import { decompress } from '../host/decompress.ts'
import { keepWhole } from './cache-files.ts'
import { nativeFileName, parsePackageYaml, printIndexYaml, type NativeEntry } from './native-metadata.ts'

/** Bytes; a real one has some hundred. */
const MAX_METADATA = 16 * 2 ** 20

/**
 * @throws S5_FILE_MISSING; S5_ARCHIVE_REFUSED when a package cannot be read or is not named as its metadata say
 */
export async function indexDirectory(
  directory: string,
  signal: AbortSignal = new AbortController().signal,
): Promise<{ packages: number; file: string }> {
  const names = await readdir(directory).catch((cause: unknown) => {
    throw new Stage5Error('S5_FILE_MISSING', `there is no directory ${directory}`, { cause })
  })
  const entries: NativeEntry[] = []
  for (const file of names.filter((name) => name.endsWith('.tar.zst')).sort()) {
    const path = join(directory, file)
    const metadata = parsePackageYaml(await packageYaml(path, file, signal), file)
    const expected = nativeFileName(metadata)
    if (file !== expected)
      throw refuse('mismatch', file, `by its package.yaml it should be named ${expected}`)
    entries.push({ ...metadata, file, ...(await sumOf(path, signal)) })
  }
  entries.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.file < b.file ? -1 : 1))
  const file = join(directory, 'index.yaml')
  await keepWhole(file, printIndexYaml(entries))
  return { packages: entries.length, file }
}

async function sumOf(path: string, signal: AbortSignal): Promise<{ size: number; sha256: string }> {
  const sum = createHash('sha256')
  let size = 0
  for await (const chunk of createReadStream(path, {
    highWaterMark: 1 << 20,
    signal,
  }) as AsyncIterable<Buffer>) {
    sum.update(chunk)
    size += chunk.length
  }
  return { size, sha256: sum.digest('hex') }
}

/** The first entry of a package, reading no further than that. */
async function packageYaml(path: string, file: string, signal: AbortSignal): Promise<string> {
  const pieces: Uint8Array[] = []
  let state: 'before' | 'inside' | 'after' = 'before'
  const reader = tarReader(file, {
    entry(header) {
      if (state !== 'before') return
      if (header.type !== 'file' || header.path.replace(/^\.\//, '') !== 'package.yaml')
        throw refuse('missing-member', file, 'the first entry is not package.yaml', { entry: header.path })
      if (header.size > MAX_METADATA) throw refuse('too-big', file, `package.yaml has ${header.size} bytes`)
      state = 'inside'
    },
    data(bytes) {
      if (state === 'inside') pieces.push(bytes.slice())
    },
    close() {
      state = 'after'
    },
  })
  const input = createReadStream(path, { highWaterMark: 1 << 18 })
  for await (const chunk of decompress(input, 'zst', { file, bytes: Number.MAX_SAFE_INTEGER }, signal)) {
    reader.push(chunk)
    if (isAfter(state)) return Buffer.concat(pieces).toString('utf8')
  }
  throw refuse('missing-member', file, 'there is no package.yaml')
}

/** Callbacks change the state behind the back of the compiler. */
function isAfter(state: string): boolean {
  return state === 'after'
}
