/** Every command, in the order of `--help`. */
import type { Command } from '../command.ts'
import { boot } from './boot.ts'
import { build } from './build.ts'
import { checkout } from './checkout.ts'
import { dedupe } from './dedupe.ts'
import { delta, patch } from './delta.ts'
import { diff } from './diff.ts'
import { doctor } from './doctor.ts'
import { explain } from './explain.ts'
import { generations } from './generations.ts'
import { lock } from './lock.ts'
import { key } from './key.ts'
import { gc } from './gc.ts'
import { index, pack } from './pack.ts'
import { plan } from './plan.ts'
import { repo } from './repo.ts'
import { resolve } from './resolve.ts'
import { store } from './store.ts'
import { why, whyNot } from './why.ts'

export const COMMANDS: readonly Command[] = [
  lock,
  plan,
  build,
  boot,
  checkout,
  why,
  whyNot,
  generations,
  diff,
  delta,
  patch,
  resolve,
  repo,
  explain,
  doctor,
  pack,
  index,
  key,
  dedupe,
  store,
  gc,
]
