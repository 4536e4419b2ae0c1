/** Whether files of a file system can share their blocks until one of them is written to. */
import { constants, copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryDirectory } from './temp.ts'

/** Tries it with a small file in `directory`. @returns what stands in the way; undefined where files can */
export function reflinkProblem(directory: string): unknown {
  try {
    using probe = temporaryDirectory(directory)
    const file = join(probe.path, 'file')
    writeFileSync(file, 'stage5')
    copyFileSync(file, join(probe.path, 'copy'), constants.COPYFILE_FICLONE_FORCE)
    return undefined
  } catch (error) {
    return error
  }
}
