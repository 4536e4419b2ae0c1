#!/usr/bin/env node
// The only JavaScript: find Node 24 (a checkout brings one in node_modules), switch the compile cache on, start.
// Node does not strip types below node_modules: a published package brings dist/. `--version` is answered here: it needs nothing else.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import module from 'node:module'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

if (Number(process.versions.node.split('.')[0]) >= 24) {
  const little = '--max-semi-space-size=8'
  // A build or a check of a whole repository begins once more in the same process (40 ms): V8 else takes 128 MiB for young
  // objects, and glibc keeps most of what is freed. Neither can be told once Node runs.
  const words = new Set(process.argv.slice(2))
  const isLarge = words.has('build') || (words.has('repo') && words.has('check'))
  if (isLarge && !process.execArgv.includes(little))
    process.execve?.(
      process.execPath,
      [process.execPath, little, ...process.execArgv, ...process.argv.slice(1)],
      { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072', ...process.env },
    )
  module.enableCompileCache?.()
  if (process.argv[2] === '--version' || process.argv[2] === '-V') {
    const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
    console.log(JSON.parse(text).version)
  } else await import(import.meta.url.includes('/node_modules/') ? '../dist/cli/main.js' : './cli/main.ts')
} else {
  const node = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url))
  const child = spawn(node, process.argv.slice(1), { stdio: 'inherit' })
  child.on('error', () => {
    console.error(
      `stage5: Node ${process.versions.node} is too old, 24 or newer is needed; in a checkout run: npm install`,
    )
    process.exitCode = 1
  })
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? 128 + constants.signals[signal]
  })
  // A terminal sends Ctrl-C to both; whoever ends a process by its number means the program.
  process.on('SIGINT', () => {})
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
}
