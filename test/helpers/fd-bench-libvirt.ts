/** A guest of the driver libvirt: the outputs of the qemu bench as a domain without KVM, under daemons of our own. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DriverGeneration } from '../../src/deploy/driver.ts'
import { guestFolder } from '../../src/deploy/drivers/folder.ts'
import { guestsRoot, openDriver } from '../../src/deploy/drivers/open.ts'
import { findTool, run } from '../../src/host/run.ts'
import type { Group } from '../../src/resolve/group.ts'
import { driverGuest } from '../../src/resolve/template.ts'
import { startsOf } from './fd-bench-qemu.ts'
import type { Bench } from './fd-contract.ts'
import { group } from './fd-group.ts'

function address(folder: string): string {
  return `qemu:///system?socket=${join(folder, 'libvirt-sock')}`
}

/** libvirtd on a socket in `folder`, and virtlogd where none runs. @returns why that cannot be, or what ends them */
export async function startLibvirt(folder: string): Promise<string | (() => void)> {
  for (const tool of ['libvirtd', 'virtlogd', 'virsh'])
    if (findTool(tool) === undefined) return `needs ${tool}`
  if (process.getuid?.() !== 0) return 'needs root'
  const left = '/etc/libvirt/qemu/toy-1.xml'
  if (existsSync(left) && !readFileSync(left, 'utf8').includes('/stage5-'))
    return 'needs a libvirt without a domain toy-1'
  const settings = join(folder, 'libvirtd.conf')
  writeFileSync(settings, `unix_sock_dir = "${folder}"\nauth_unix_rw = "none"\n`)
  const daemons: ChildProcess[] = []
  const daemon = (...argv: readonly string[]): void => {
    const child = spawn(findTool(argv[0] as string) as string, argv.slice(1), { stdio: 'ignore' })
    daemons.push(child)
  }
  if (!existsSync('/run/libvirt/virtlogd-sock')) daemon('virtlogd', '-p', join(folder, 'virtlogd.pid'))
  daemon('libvirtd', '-f', settings, '-p', join(folder, 'libvirtd.pid'))
  const end = (): void => {
    for (const child of daemons) child.kill()
  }
  for (let tries = 200; tries > 0; tries--) {
    const { code } = await run(['virsh', '-c', address(folder), 'version'], { accept: 'any' })
    if (code === 0) {
      // Of a test that was killed.
      await run(['virsh', '-c', address(folder), 'destroy', 'toy-1'], { accept: 'any' })
      await run(['virsh', '-c', address(folder), 'undefine', 'toy-1'], { accept: 'any' })
      return end
    }
    await sleep(200)
  }
  end()
  return 'needs a libvirtd that starts'
}

export function openBench(given: string): Omit<Bench, keyof AsyncDisposable> {
  const folder = realpathSync(given)
  const { made } = JSON.parse(readFileSync(join(folder, 'bench.json'), 'utf8')) as {
    made: [DriverGeneration, DriverGeneration, DriverGeneration]
  }
  const options = {
    root: 'domains',
    connect: address(folder),
    memory: 0,
    type: 'qemu',
    append: [],
    interface: "<interface type='user'><model type='virtio'/></interface>",
    stopSeconds: 3,
  }
  const toys = group(
    { kind: 'libvirt', options },
    { health: [{ kind: 'console', text: 'stage5: ready', timeoutMs: 5000 }] },
  )
  const driver = openDriver(toys, {
    directory: folder,
    checkout: () => Promise.reject(new Error('libvirt checks nothing out')),
  })
  const guest = driverGuest(toys, toys.guests[0] as Group['guests'][number])
  const own = guestFolder(guestsRoot(toys, folder), guest.name)
  const [first, second, broken] = made
  return {
    driver,
    guest,
    first,
    second,
    broken,
    module: import.meta.filename,
    folder,
    starts: async () => startsOf(own),
  }
}

/** Takes the domain away that the bench made. */
export async function forget(folder: string): Promise<void> {
  const { driver, guest } = openBench(folder)
  await driver.forget?.(guest, new AbortController().signal)
  const { stdout } = await run([
    'virsh',
    '-q',
    '-c',
    address(realpathSync(folder)),
    'list',
    '--all',
    '--name',
  ])
  assert.ok(!stdout.toString('utf8').split('\n').includes(guest.name), 'the domain is still there')
}
