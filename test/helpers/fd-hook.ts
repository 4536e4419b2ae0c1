/** A command for the driver exec: keeps a guest in a file, and the order of its starts in another. */
import { randomUUID } from 'node:crypto'
import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

interface Generation {
  readonly name: string
  readonly seq: number
  readonly manifest: string
}

interface Toy {
  prepared: string[]
  good?: Generation
  trial?: Generation
  running?: Generation
  bootId: string
  left: number
  token: number
}

const [folder = '', action = ''] = process.argv.slice(2)
const given = JSON.parse(readFileSync(0, 'utf8')) as {
  action: string
  generation?: Generation | null
  token?: number
  tries?: number
  keep?: string[]
}
if (given.action !== action) process.exit(64)
if (existsSync(join(folder, 'busy'))) {
  process.stderr.write('try later\n')
  process.exit(75)
}
const file = join(folder, 'toy.json')
const toy: Toy = existsSync(file)
  ? (JSON.parse(readFileSync(file, 'utf8')) as Toy)
  : { prepared: [], bootId: '', left: 0, token: 0 }

/** What the third generation is cannot start. */
function start(generation: Generation): boolean {
  const works = generation.seq !== 3
  appendFileSync(join(folder, 'starts'), `${generation.name}\n`)
  toy.bootId = randomUUID()
  if (works) toy.running = generation
  else delete toy.running
  return works
}

const { generation } = given
switch (action) {
  case 'prepare':
    if (generation && !toy.prepared.includes(generation.name)) toy.prepared.push(generation.name)
    break
  case 'switch':
    // Killed between our work and the caller's note of it, the same switch comes again.
    if (generation && toy.token !== given.token) {
      toy.token = given.token ?? 0
      toy.trial = generation
      toy.left = given.tries ?? 1
      while (toy.trial && toy.left > 0) {
        toy.left--
        if (start(generation)) break
        if (toy.left === 0) delete toy.trial
      }
      if (!toy.trial && toy.good) start(toy.good)
    }
    break
  case 'commit':
    if (generation && toy.trial?.name === generation.name) {
      toy.good = generation
      delete toy.trial
    }
    break
  case 'rollback':
    delete toy.trial
    if (generation) toy.good = generation
    if (toy.good && toy.running?.name !== toy.good.name) start(toy.good)
    break
  case 'stop':
    delete toy.running
    break
  case 'collect':
    toy.prepared = toy.prepared.filter((name) => given.keep?.includes(name))
    break
  case 'status':
    process.stdout.write(
      JSON.stringify({
        power: toy.running ? 'on' : 'off',
        bootId: toy.running ? toy.bootId : '',
        digest: toy.running?.manifest ?? '',
        pointer: toy.trial ? 'trial' : 'good',
        triesLeft: toy.trial ? toy.left : 0,
        detail: existsSync(join(folder, 'detail')) ? readFileSync(join(folder, 'detail'), 'utf8') : 'toy',
      }),
    )
    break
  default:
    process.exit(64)
}
writeFileSync(`${file}.${process.pid}`, JSON.stringify(toy))
renameSync(`${file}.${process.pid}`, file)
