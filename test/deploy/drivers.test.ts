/** The contract of drivers, on those that need no virtual machine. */
import { temporaryDirectory } from '../../src/host/temp.ts'
import { findTool } from '../../src/host/run.ts'
import { openBench as openDir } from '../helpers/fd-bench-dir.ts'
import { driverContract } from '../helpers/fd-contract.ts'

driverContract(
  'dir',
  async (t) => {
    const missing = process.getuid?.() !== 0 ? 'root' : findTool('busybox') ? '' : 'busybox'
    if (missing !== '') {
      t.skip(`needs ${missing}`)
      return undefined
    }
    const folder = temporaryDirectory()
    return { ...openDir(folder.path), [Symbol.asyncDispose]: async () => folder[Symbol.dispose]() }
  },
  { tries: 2, killMs: [0, 20, 60, 150] },
)
