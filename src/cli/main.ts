/** `stage5`: arguments in, text out, one catch. */
import { writeFileSync } from 'node:fs'
import { Command as Program, CommanderError } from 'commander'
import type { Event } from '../base/events.ts'
import { monotonicMs } from '../host/clock.ts'
import { diskError } from '../host/disk.ts'
import type { Command, Words } from './command.ts'
import { COMMANDS } from './commands/index.ts'
import { GLOBAL_OPTIONS, type GlobalOptions, globalOptions } from './options.ts'
import { showError } from './render/error.ts'
import { openProgress } from './render/progress.ts'
import { openTrace } from './render/trace.ts'
import { openWorld } from './world.ts'

const interrupt = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => {
    if (interrupt.signal.aborted) process.exit(130)
    interrupt.abort(new Error('interrupted'))
  })
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
})

await main(process.argv.slice(2))

async function main(argv: readonly string[]): Promise<void> {
  const program = new Program('stage5')
    .description('Compose virtual-machine bases from binary packages.')
    .addHelpText('after', '\nstage5 --version prints the version.')
    .exitOverride()
    .configureHelp({ sortSubcommands: false })
  addOptions(program, GLOBAL_OPTIONS)
  for (const command of await wanted(argv)) addCommand(program, command)
  const asJson = argv.includes('--json')
  try {
    await program.parseAsync([...argv], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
    else {
      const shown = showError(error, interrupt.signal.aborted)
      process.stderr.write(shown.text)
      if (asJson) process.stdout.write(`${JSON.stringify(shown.data, null, 2)}\n`)
      process.exitCode = shown.exitCode
    }
  }
}

/** The command that is asked for, or all where that is not clear: commander then says what is wrong. */
async function wanted(argv: readonly string[]): Promise<readonly Command[]> {
  const takesValue = (word: string): boolean =>
    GLOBAL_OPTIONS.some(({ flags }) => flags.includes('<') && flags.split(/[ ,]+/).includes(word))
  let at = 0
  while (argv[at]?.startsWith('-') && !['-h', '--help'].includes(argv[at] as string))
    at += takesValue(argv[at] as string) ? 2 : 1
  const name = argv[at] ?? ''
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  return load ? [await load()] : await Promise.all(Object.values(COMMANDS).map((each) => each()))
}

function addCommand(program: Program, command: Command): void {
  const sub = program.command(command.name).summary(command.summary).description(command.summary)
  for (const { name, description } of command.arguments) sub.argument(name, description)
  addOptions(sub, command.options)
  if (command.examples.length > 0)
    sub.addHelpText('after', `\nExamples:\n${command.examples.map((line) => `  ${line}`).join('\n')}`)
  sub.exitOverride().action(async () => {
    const words = { arguments: sub.processedArgs.flat() as string[], options: sub.opts<Words['options']>() }
    await run(command, words, globalOptions(program.opts()))
  })
}

function addOptions(
  program: Program,
  options: readonly { flags: string; description: string; many?: true }[],
): void {
  for (const { flags, description, many } of options)
    if (many)
      program.option(flags, description, (value: string, before?: readonly string[]) => [
        ...(before ?? []),
        value,
      ])
    else program.option(flags, description)
}

function writeTrace(path: string, text: string): void {
  try {
    writeFileSync(path, text)
  } catch (error) {
    throw diskError(error, path)
  }
}

async function run(command: Command, words: Words, options: GlobalOptions): Promise<void> {
  const trace = options.trace === undefined ? undefined : openTrace()
  // What cannot be written is said before hours of work.
  if (options.trace !== undefined) writeTrace(options.trace, '')
  const screen = {
    write: (text: string) => void process.stderr.write(text),
    isTerminal: process.stderr.isTTY && !process.env['CI'],
    columns: process.stderr.columns || 80,
  }
  const progress = options.quiet ? undefined : openProgress(screen, monotonicMs)
  const report = (event: Event): void => {
    progress?.report(event)
    trace?.add(event, monotonicMs())
  }
  try {
    await using world = openWorld(options.world, report, interrupt.signal)
    const result = await command.run(world, words)
    progress?.end()
    process.stdout.write(options.json ? `${JSON.stringify(result.data, null, 2)}\n` : result.text)
    process.exitCode = result.exitCode ?? 0
  } finally {
    progress?.end()
    if (trace && options.trace !== undefined) writeTrace(options.trace, trace.print())
  }
}
