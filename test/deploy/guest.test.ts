import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { isStage5Error, type Stage5Error } from '../../src/base/errors.ts'
import { bootGuest, type GuestSpec, waitReady } from '../../src/deploy/qemu.ts'
import { findTool } from '../../src/host/run.ts'
import { type TemporaryDirectory, temporaryDirectory } from '../../src/host/temp.ts'

const skip = findTool('qemu-system-x86_64') ? false : 'needs qemu-system-x86_64'

/** Prints `hi` on COM1 and then sleeps for ever. */
function hello(): number[] {
  const code = [0xfa, 0x66, 0xba, 0xf8, 0x03] // cli; mov dx, 0x3f8
  for (const letter of Buffer.from('hi\n')) code.push(0xb0, letter, 0xee) // mov al, letter; out dx, al
  code.push(0xf4, 0xeb, 0xfd) // hlt; jmp back
  return code
}

/** Resets the machine: int3 with an empty table of interrupts. */
const TRIPLE_FAULT = [0x0f, 0x01, 0x1d, 0, 0, 0, 0, 0xcc] // lidt [0]; int3

/** A "kernel" in the multiboot format, always of the same name. */
function kernel(folder: TemporaryDirectory, code: readonly number[] = hello()): string {
  const image = Buffer.alloc(4096)
  const load = 0x100000
  const flags = 0x10000
  const words = [
    0x1badb002,
    flags,
    -(0x1badb002 + flags),
    load,
    load,
    load + image.length,
    load + image.length,
  ]
  for (const [at, word] of [...words, load + 64].entries()) image.writeUInt32LE(word >>> 0, at * 4)
  image.set(code, 64)
  const path = join(folder.path, 'kernel')
  writeFileSync(path, image)
  return path
}

function spec(folder: TemporaryDirectory, more: Partial<GuestSpec> = {}): GuestSpec {
  return {
    arch: 'amd64',
    kernel: kernel(folder),
    data: [],
    cmdline: [],
    memoryMiB: 16,
    forwards: [],
    network: false,
    accel: 'tcg',
    extra: [],
    ...more,
  }
}

const { signal } = new AbortController()

test('a guest runs, is heard, and is stopped', { skip }, async () => {
  using folder = temporaryDirectory()
  await using guest = await bootGuest(spec(folder), { signal })
  assert.ok((await waitReady(guest, 'hi', 30_000)) >= 0)
  process.kill(guest.pid, 0)
  await guest.stop()
  assert.throws(() => process.kill(guest.pid, 0))
  assert.deepEqual(guest.last(1), ['hi'])
  await guest.stop()
})

test('a guest that says something else is not ready, and the error shows what it said', {
  skip,
}, async () => {
  using folder = temporaryDirectory()
  await using guest = await bootGuest(spec(folder), { signal })
  await waitReady(guest, 'hi', 30_000)
  await assert.rejects(
    waitReady(guest, 'stage5: ready', 50),
    (error) =>
      isStage5Error(error, 'S5_NOT_BOOTED') &&
      error.message === 'no "stage5: ready" on the console within 0.05 s; the last lines:\n  hi',
  )
})

test('a guest that cannot start says why', { skip }, async () => {
  using folder = temporaryDirectory()
  const base = join(folder.path, 'missing.squashfs')
  await using guest = await bootGuest(spec(folder, { base }), { signal })
  await assert.rejects(
    waitReady(guest, 'hi', 30_000),
    (error) => isStage5Error(error, 'S5_NOT_BOOTED') && /missing\.squashfs.*No such file/.test(error.message),
  )
  assert.equal((await guest.exited).code, 1)
})

/** What is said of a guest that runs `code` and never prints anything. */
async function saidOfSilent(code: readonly number[], waitMs: number): Promise<Stage5Error> {
  using folder = temporaryDirectory()
  const silent = spec(folder)
  kernel(folder, code)
  await using guest = await bootGuest(silent, { signal })
  return await waitReady(guest, 'hi', waitMs).then(
    () => assert.fail('it was ready'),
    (error: unknown) => (isStage5Error(error, 'S5_NOT_BOOTED') ? error : assert.fail(String(error))),
  )
}

test('a guest that ends without a word may want memory', { skip }, async () => {
  const { message, hint } = await saidOfSilent(TRIPLE_FAULT, 300_000)
  assert.equal(message, 'the guest ended before "hi" was on the console; it said nothing at all')
  assert.match(hint ?? '', /--memory/)
})

test('a guest that waits without a word is said to have said nothing', { skip }, async () => {
  const { message, hint } = await saidOfSilent([0xfa, 0xf4, 0xeb, 0xfd], 50) // cli; hlt; jmp back
  assert.equal(message, 'no "hi" on the console within 0.05 s; it said nothing at all')
  assert.equal(hint, undefined)
})

test('a port that is taken ends the guest with the port in the message', { skip }, async () => {
  using folder = temporaryDirectory()
  const server = createServer()
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  try {
    const address = server.address()
    const host = typeof address === 'object' && address ? address.port : 0
    await using guest = await bootGuest(spec(folder, { forwards: [{ host, guest: 80 }] }), { signal })
    await assert.rejects(
      waitReady(guest, 'hi', 30_000),
      (error) => isStage5Error(error, 'S5_NOT_BOOTED') && error.message.includes(`127.0.0.1:${host}`),
    )
  } finally {
    server.close()
  }
})

test('aborting ends the guest', { skip }, async () => {
  using folder = temporaryDirectory()
  const controller = new AbortController()
  await using guest = await bootGuest(spec(folder), { signal: controller.signal })
  await waitReady(guest, 'hi', 30_000)
  controller.abort()
  const exit = await guest.exited
  assert.ok(exit.code === 0 || exit.signal !== null)
  await assert.rejects(bootGuest(spec(folder), { signal: controller.signal }), { name: 'AbortError' })
})
