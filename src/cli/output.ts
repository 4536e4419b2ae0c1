/** The folder of one build: written beside its name, complete with its sums, then put in place at once. */
import {
  copyFile,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { basename, join } from 'node:path'
import { type Digest, digestOf, hexOf } from '../base/digest.ts'
import { diskError, syncFile } from '../host/disk.ts'
import { measureFile, type Measured, openFileSink } from '../host/file-sink.ts'
import { isAlive } from '../host/processes.ts'
import type { Sink } from '../emit/emitter.ts'
import { isBootRecord } from './boot-record.ts'

export interface OutputFile {
  readonly name: string
  /** `base`, `initrd`, `kernel`, `data`, `report`… */
  readonly role: string
  readonly size: number
  readonly digest: Digest
}

export interface OutputFolder extends AsyncDisposable {
  /** Where the files are while being written. */
  readonly directory: string
  readonly files: readonly OutputFile[]
  /** Writes one file through `fill`. */
  add(name: string, role: string, fill: (sink: Sink) => Promise<void>): Promise<OutputFile>
  /**
   * Like `add`, and returns when the file is written; `measured` resolves when it is read and flushed in a thread. Until
   * then `files` has its size, and no digest.
   */
  addBeside(
    name: string,
    role: string,
    fill: (sink: Sink) => Promise<void>,
  ): Promise<{ readonly measured: Promise<OutputFile> }>
  /**
   * A file of a size that is known, which is written from now on.
   * @param grown called with the bytes that are in the file, each time there are more
   */
  addGrowing(
    name: string,
    role: string,
    size: number,
    fill: (sink: Sink) => Promise<void>,
    grown: (size: number) => void,
  ): Promise<{ readonly written: Promise<void>; readonly measured: Promise<OutputFile> }>
  /** Writes a file that is in memory; `settle` waits until it is on the disk. */
  addBytes(name: string, role: string, bytes: Uint8Array | string): Promise<OutputFile>
  /** A text that is not known yet. Its place in `files` is that of this call. */
  addLater(name: string, role: string, text: Promise<string>): void
  /** Reads and flushes a file that a tool wrote into `directory`, beside whatever else is done. */
  measure(name: string): Promise<Measured>
  /** A file that a tool or thread writes into `directory`. Its place in `files` is that of this call. */
  adopt(name: string, role: string, measured: Promise<Measured>): Promise<OutputFile>
  /** Something that must be over before the folder is complete. */
  awaits(work: Promise<unknown>): void
  /** Waits for everything that is still being written or measured, and for what the folder `awaits`. */
  settle(): Promise<void>
  /** Writes SHA256SUMS, then gives the folder its name and points `aliases` (links beside it) to it. */
  commit(aliases: readonly string[]): Promise<string>
}

const NO_BYTES = digestOf('')

/** `<id>_<version>`: the stem of every file name (UAPI.2: `_` separates the version). */
export function stemOf(id: string, version: string): string {
  return `${id}_${version}`
}

/**
 * @param parent the `out` folder
 * @param name `<id>_<version>_<arch>`
 * @param measure what reads files of tools, at a path
 */
export async function openOutput(
  parent: string,
  name: string,
  measure: (path: string) => Promise<Measured> = measureFile,
): Promise<OutputFolder> {
  const directory = join(parent, `.${name}.${process.pid}.tmp`)
  await rm(directory, { recursive: true, force: true })
  await mkdir(directory, { recursive: true })
  const files: OutputFile[] = []
  const pending: Promise<unknown>[] = []
  /** Paths of files that are written, and may not be on the disk yet. */
  let unflushed: string[] = []
  let done = false

  async function writeBytes(file: string, content: Uint8Array | string): Promise<Measured> {
    const path = join(directory, file)
    const bytes = typeof content === 'string' ? Buffer.from(content) : content
    try {
      await writeFile(path, bytes, { flag: 'wx', mode: 0o644 })
    } catch (error) {
      throw diskError(error, path)
    }
    unflushed.push(path)
    return { size: bytes.length, digest: digestOf(bytes) }
  }

  function listed(name: string, role: string, written: Measured): OutputFile {
    const file = { name, role, ...written }
    files.push(file)
    return file
  }

  async function add(file: string, role: string, fill: (sink: Sink) => Promise<void>): Promise<OutputFile> {
    await using sink = await openFileSink(join(directory, file))
    await fill(sink)
    return listed(file, role, await sink.finish())
  }

  async function addBeside(
    file: string,
    role: string,
    fill: (sink: Sink) => Promise<void>,
  ): Promise<{ readonly measured: Promise<OutputFile> }> {
    await using sink = await openFileSink(join(directory, file))
    await fill(sink)
    const size = await sink.close()
    return { measured: adopt(file, role, measure(join(directory, file)), size) }
  }

  async function addGrowing(
    file: string,
    role: string,
    size: number,
    fill: (sink: Sink) => Promise<void>,
    grown: (size: number) => void,
  ): Promise<{ readonly written: Promise<void>; readonly measured: Promise<OutputFile> }> {
    const path = join(directory, file)
    const opened = await openFileSink(path, grown)
    const write = async (): Promise<void> => {
      await using sink = opened
      await fill(sink)
      await sink.close()
    }
    const written = write()
    return {
      written,
      measured: adopt(
        file,
        role,
        written.then(() => measure(path)),
        size,
      ),
    }
  }

  function adopt(name: string, role: string, measured: Promise<Measured>, size = 0): Promise<OutputFile> {
    // Its place in the list does not depend on what is measured first.
    const at = files.push({ name, role, size, digest: NO_BYTES }) - 1
    const adopted = measured.then((found) => (files[at] = { name, role, ...found }))
    awaits(adopted)
    return adopted
  }

  function awaits(work: Promise<unknown>): void {
    work.catch(() => undefined)
    pending.push(work)
  }

  async function settle(): Promise<void> {
    await Promise.all([...pending, flush()])
    await flush()
  }

  /** One after the other: each may wait for the disk, in a thread that reading and writing need too. */
  async function flush(): Promise<void> {
    const paths = unflushed
    unflushed = []
    for (const path of paths) await syncFile(path)
  }

  return {
    directory,
    files,
    add,
    addBeside,
    addGrowing,
    addBytes: async (file, role, bytes) => listed(file, role, await writeBytes(file, bytes)),
    addLater: (file, role, text) => {
      void adopt(
        file,
        role,
        text.then((known) => writeBytes(file, known)),
      )
    },
    measure: (file) => measure(join(directory, file)),
    adopt: (name, role, measured) => adopt(name, role, measured),
    awaits,
    settle,
    commit: async (aliases) => {
      await settle()
      const sorted = [...files].sort((a, b) => (a.name < b.name ? -1 : 1))
      await writeBytes('SHA256SUMS', sorted.map((file) => `${hexOf(file.digest)}  ${file.name}\n`).join(''))
      const final = join(parent, name)
      unflushed.push(...(await carryRecords(final, directory)), directory)
      await flush()
      await replaceDirectory(directory, final)
      await syncFile(parent)
      done = true
      for (const alias of aliases) await pointTo(join(parent, alias), name)
      return final
    },
    [Symbol.asyncDispose]: async () => {
      if (done) return
      await Promise.allSettled(pending)
      await rm(directory, { recursive: true, force: true })
    },
  }
}

/** Boot records say what was seen of these very bytes: a build of the same bytes keeps them. @returns their new paths */
async function carryRecords(from: string, to: string): Promise<readonly string[]> {
  const sums = await readFile(join(from, 'SHA256SUMS'), 'utf8').catch(() => undefined)
  if (sums === undefined || sums !== (await readFile(join(to, 'SHA256SUMS'), 'utf8'))) return []
  const names = (await readdir(from)).filter(isBootRecord)
  for (const name of names) await copyFile(join(from, name), join(to, name))
  return names.map((name) => join(to, name))
}

/** rename(2) cannot replace a full directory: the old one steps aside first. */
async function replaceDirectory(from: string, to: string): Promise<void> {
  const aside = `${to}.${process.pid}.old`
  await rm(aside, { recursive: true, force: true })
  await rename(to, aside).catch(() => undefined)
  await rename(from, to)
  await rm(aside, { recursive: true, force: true })
}

async function pointTo(link: string, target: string): Promise<void> {
  if ((await readlink(link).catch(() => undefined)) === target) return
  const fresh = `${link}.${process.pid}.tmp`
  await rm(fresh, { force: true })
  await symlink(target, fresh)
  await rename(fresh, link)
}

/** Removes temporary folders that a killed build left in `parent`. */
export async function sweepOutput(parent: string): Promise<void> {
  for (const name of await readdir(parent).catch(() => [])) {
    const pid = /^\.?.+\.(\d+)\.(?:tmp|old)$/.exec(basename(name))?.[1]
    if (pid !== undefined && !isAlive(Number(pid)))
      await rm(join(parent, name), { recursive: true, force: true })
  }
}
