/** The output folder of a generation, as drivers read it: only under the manifest whose digest the generation names. */
import { constants, linkSync, statSync } from 'node:fs'
import { copyFile, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf } from '../../base/digest.ts'
import { Stage5Error } from '../../base/errors.ts'
import { errnoOf } from '../../host/disk.ts'
import { digestFile } from '../../host/file-sink.ts'
import { run } from '../../host/run.ts'
import type { DriverGeneration } from '../driver.ts'

/** What a manifest says that matters to drivers; all of it is covered by the digest. */
export interface GuestOutput {
  readonly image: { readonly id: string; readonly version: string; readonly arch: string }
  readonly files: readonly { readonly name: string; readonly digest: string }[]
  readonly boot: {
    readonly kernel?: string
    readonly initrd?: string
    readonly base?: string
    readonly verity?: string
    readonly cmdline?: string
    readonly data: readonly {
      readonly name: string
      readonly label: string
      readonly file: string
      readonly size: number
      readonly paths: readonly string[]
      readonly kind?: 'overlay'
    }[]
    /** Areas that are no disk. */
    readonly areas?: readonly {
      readonly name: string
      readonly size: number
      readonly paths: readonly string[]
      readonly kind: 'tmpfs' | 'zram' | 'immutable'
    }[]
    readonly ready: string
    readonly memory: number
  }
}

/** @throws S5_OUTPUT_MISSING, S5_DIGEST_MISMATCH */
export async function readOutput({ directory, manifest, name }: DriverGeneration): Promise<GuestOutput> {
  const file = (await readdir(directory).catch(() => [])).find((one) => one.endsWith('.manifest.json'))
  if (file === undefined)
    throw new Stage5Error('S5_OUTPUT_MISSING', `${name}: ${directory} has no *.manifest.json`, {
      hint: 'stage5 generations shows where each one is',
      data: { generation: name, directory },
    })
  const bytes = await readFile(join(directory, file))
  const actual = digestOf(bytes)
  if (actual !== manifest) throw mismatch(join(directory, file), manifest, actual)
  return JSON.parse(bytes.toString('utf8')) as GuestOutput
}

/**
 * Puts one file of an output to `target` by hard link, or as a copy where that cannot be, and reads it to the end. One
 * that stands there already and is right is left alone, so that a preparation goes on where it was cut off.
 * @throws S5_OUTPUT_MISSING when the manifest does not name it, S5_DIGEST_MISMATCH
 */
export async function bring(
  { directory, name: generation }: DriverGeneration,
  { files }: GuestOutput,
  name: string,
  target: string,
  signal: AbortSignal,
): Promise<void> {
  const expected = files.find((file) => file.name === name)?.digest
  if (expected === undefined)
    throw new Stage5Error('S5_OUTPUT_MISSING', `${generation}: its manifest does not name ${name}`)
  if (statSync(target, { throwIfNoEntry: false }) && (await digestFile(target, { signal })) === expected)
    return
  const source = join(directory, name)
  if (!statSync(source, { throwIfNoEntry: false })?.isFile())
    throw new Stage5Error('S5_OUTPUT_MISSING', `${generation}: ${source} is gone`, {
      hint: 'build it again, or choose another generation',
    })
  await rm(target, { force: true })
  const fresh = `${target}.new`
  await rm(fresh, { force: true })
  try {
    linkSync(source, fresh)
  } catch (error) {
    if (!['EXDEV', 'EMLINK', 'EPERM'].includes(errnoOf(error) ?? '')) throw error
    await copyFile(source, fresh, constants.COPYFILE_FICLONE)
    await run(['sync', fresh], { signal })
  }
  const actual = await digestFile(fresh, { signal })
  if (actual !== expected) {
    await rm(fresh, { force: true })
    throw mismatch(source, expected, actual)
  }
  await rename(fresh, target)
}

function mismatch(file: string, expected: string, actual: string): Stage5Error {
  return new Stage5Error('S5_DIGEST_MISMATCH', `${file}: expected ${expected}, found ${actual}`, {
    hint: 'build it again, or choose another generation',
    data: { file, expected, actual },
  })
}
