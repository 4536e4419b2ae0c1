/** `stage5 test PROFILE`: run the boot tests that the profile declares, and write a signed record of what was seen. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Json } from '../../base/json.ts'
import { Stage5Error } from '../../base/errors.ts'
import { qemuProgram, type GuestArch } from '../../deploy/qemu.ts'
import { digestFile } from '../../host/file-sink.ts'
import { run } from '../../host/run.ts'
import type { BootWay } from '../../resolve/profile.ts'
import { type TestResult, writeBootRecord } from '../boot-record.ts'
import { bootedFiles, runTest, testsOf } from '../boot-test.ts'
import { type Command, textOption } from '../command.ts'
import { accelOf } from '../guest-spec.ts'
import { privateKeyOf } from '../keys.ts'
import { findOutput } from '../manifest.ts'
import { stemOf } from '../output.ts'
import { loadRecipe } from '../recipe.ts'
import { timed } from '../timed.ts'
import { shownPath } from '../world.ts'

export const test: Command = {
  name: 'test',
  summary: 'boot the newest build as its profile says in tests:, and sign a record of what was seen',
  arguments: [{ name: '<profile>', description: 'name of a profile, with @variant' }],
  options: [
    { flags: '--only <name>', description: 'run only this test, and write no record', many: true },
    { flags: '--key <key>', description: 'name or file of the private key that signs (default: boot)' },
    { flags: '--no-record', description: 'write no record, and need no key' },
    { flags: '--accel <accel>', description: 'kvm, tcg, or auto (default): kvm where it really runs' },
  ],
  examples: ['stage5 key new boot', 'stage5 test www-nginx', 'stage5 test www-nginx --only serves'],
  run: async (world, words) => {
    const { profile } = await loadRecipe(world, words.arguments[0] as string)
    const only = words.options['only'] as readonly string[] | undefined
    const all = testsOf(profile)
    const tests = only ? all.filter(({ name }) => only.includes(name)) : all
    const unknown = only?.find((name) => !all.some((each) => each.name === name))
    if (unknown !== undefined)
      throw new Stage5Error(
        'S5_USAGE',
        `--only expects ${all.map(({ name }) => name).join(' or ')}, found ${JSON.stringify(unknown)}`,
      )
    const isRecorded = words.options['record'] !== false && !only
    const key = isRecorded ? await privateKeyOf(world, textOption(words, 'key') ?? 'boot') : undefined
    const output = await findOutput(world, profile.id, profile.name)
    const { directory, manifest } = output
    const { id, version, arch } = manifest.image
    const ways = new Set<BootWay>(tests.flatMap(({ images }) => images))
    const files = await bootedFiles(world, output, ways)
    const accel = await accelOf(world, textOption(words, 'accel') ?? 'auto', arch as GuestArch)
    const results: TestResult[] = []
    for (const each of tests)
      for (const way of each.images) {
        world.signal.throwIfAborted()
        const step = `test ${each.name} (${way})`
        results.push(await timed(world, step, () => runTest(world, output, profile, each, { way, accel })))
      }
    const passed = results.every(({ result }) => result === 'passed')
    const lines = results.map(resultLine)
    let record: string | undefined
    if (key) {
      const qemu = (await run([qemuProgram(arch as GuestArch), '--version'])).stdout.toString().split('\n')[0]
      const body = {
        stage5: 1 as const,
        image: { id, version, arch },
        manifest: await manifestDigest(directory),
      }
      const rest = { files, results, passed, qemu: qemu ?? '', accel }
      record = await writeBootRecord(directory, stemOf(id, version), { ...body, ...rest }, key)
      lines.push(`${shownPath(join(directory, record))}: signed by ${key.keyid.slice(0, 16)}\n`)
    }
    const data = { passed, results: results as unknown as Json, record: record ?? null }
    return { data, text: lines.join(''), exitCode: passed ? 0 : 1 }
  },
}

function resultLine({ name, image, firmware, result, reason, checks, ms }: TestResult): string {
  const how = firmware === 'none' ? image : `${image}, ${firmware}`
  const seen = result === 'passed' ? `${checks} ${checks === 1 ? 'check' : 'checks'}` : (reason as string)
  return `${result} ${name} (${how}): ${seen}, ${(ms / 1000).toFixed(1)} s\n`
}

async function manifestDigest(directory: string): Promise<`sha256:${string}`> {
  const name = (await readdir(directory)).find((file) => file.endsWith('.manifest.json')) as string
  return await digestFile(join(directory, name))
}
