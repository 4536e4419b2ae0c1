/** A switch that never ends while its guest is held off, to be killed there: `node rs-killed-switch.ts FOLDER TOKEN MARK`. */
import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { openBench } from './fd-bench-dir.ts'

const [folder = '', token = '', mark = ''] = process.argv.slice(2)
const bench = openBench(folder, undefined, async () => {
  writeFileSync(mark, '')
  for (;;) await sleep(1000)
})
await bench.driver.switchTo(bench.guest, bench.second, Number(token), 3, new AbortController().signal)
