/** The driver dir with containers of systemd-nspawn. */
import { openBench } from '../helpers/fd-bench-dir.ts'
import { driverContract } from '../helpers/fd-contract.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'

/** No machined to register at, and no unit of its own, so that it runs without systemd as well. */
const PROGRAM = [
  ...['systemd-nspawn', '--quiet', '--register=no', '--keep-unit', '--as-pid2', '--directory={root}'],
  ...['--machine={name}', '--setenv=STAGE5_GENERATION', '/bin/sh', '/start'],
]

driverContract(
  'dir with systemd-nspawn',
  async (t) => {
    const tool = ['systemd-nspawn', 'busybox'].find((name) => findTool(name) === undefined)
    const missing = process.getuid?.() !== 0 ? 'root' : tool
    if (missing !== undefined) {
      t.skip(`needs ${missing}`)
      return undefined
    }
    const folder = temporaryDirectory()
    const bench = openBench(folder.path, PROGRAM)
    const probe = ['systemd-nspawn', '-q', '--register=no', '--keep-unit', '-D', `${folder.path}/trees/1`]
    const { code, stderr } = await run([...probe, '--as-pid2', '/bin/sh', '-c', 'exit 0'], { accept: 'any' })
    if (code !== 0) {
      folder[Symbol.dispose]()
      t.skip(`needs a kernel that lets systemd-nspawn start: ${stderr.trim()}`)
      return undefined
    }
    return { ...bench, [Symbol.asyncDispose]: async () => folder[Symbol.dispose]() }
  },
  { tries: 2, killMs: [], parts: ['once', 'again', 'fallback'] },
)
