/** `npm run demo`: the main job on real packages, with the commands that a user would type, and how long each took. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const top = fileURLToPath(new URL('..', import.meta.url))
const steps: { command: string; seconds: number }[] = []

function stage5(...words: string[]): void {
  const command = `stage5 ${words.map((word) => (/\s/.test(word) ? `'${word}'` : word)).join(' ')}`
  console.log(`\n$ ${command}`)
  const start = performance.now()
  const { status, signal } = spawnSync(process.execPath, [join(top, 'src/main.js'), '-C', top, ...words], {
    stdio: 'inherit',
  })
  steps.push({ command, seconds: (performance.now() - start) / 1000 })
  if (status !== 0) {
    console.error(`\ndemo: ${command} ended with ${signal ?? `exit status ${status}`}`)
    process.exit(status ?? 130)
  }
}

stage5('lock', 'minimal')
stage5('build', 'minimal')
stage5('boot', 'minimal', '--memory', '128M', '--expect', 'stage5: ready', '--timeout', '120')
stage5('build', 'minimal')

const folder = join(top, 'out', 'minimal')
const sums = readFileSync(join(folder, 'SHA256SUMS'), 'utf8').trimEnd().split('\n')
console.log(`\nMade in out/minimal (${sums.length} files), and how long each step took:`)
for (const { command, seconds } of steps) console.log(`${seconds.toFixed(1).padStart(8)} s  ${command}`)
console.log('\nNext: npx stage5 build www-nginx && npx stage5 boot www-nginx --forward 8080:80')
