/** The driver libvirt with a real libvirtd and a domain without KVM. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { after } from 'node:test'
import { forget, openBench, startLibvirt } from '../helpers/fd-bench-libvirt.ts'
import { driverContract } from '../helpers/fd-contract.ts'
import { toys } from '../helpers/fd-toys.ts'

let daemons: Promise<string | (() => void)> | undefined
after(async () => {
  const end = await daemons
  if (typeof end === 'function') end()
})

driverContract(
  'libvirt',
  async (t) => {
    const folder = await toys(t)
    if (folder === undefined) return undefined
    const started = await (daemons ??= startLibvirt(folder))
    if (typeof started === 'string') {
      t.skip(started)
      return undefined
    }
    return {
      ...openBench(folder),
      [Symbol.asyncDispose]: async () => {
        await forget(folder)
        rmSync(join(folder, 'domains'), { recursive: true, force: true })
      },
    }
  },
  { tries: 1, killMs: [], parts: ['once'] },
)
