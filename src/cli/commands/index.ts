/** Every command, in the order of `--help`; the file of one is read when it is asked for. */
import type { Command } from '../command.ts'

export const COMMANDS: { readonly [name: string]: () => Promise<Command> } = {
  lock: async () => (await import('./lock.ts')).lock,
  plan: async () => (await import('./plan.ts')).plan,
  build: async () => (await import('./build.ts')).build,
  boot: async () => (await import('./boot.ts')).boot,
  test: async () => (await import('./test.ts')).test,
  convert: async () => (await import('./convert.ts')).convert,
  checkout: async () => (await import('./checkout.ts')).checkout,
  why: async () => (await import('./why.ts')).why,
  'why-not': async () => (await import('./why.ts')).whyNot,
  generations: async () => (await import('./generations.ts')).generations,
  diff: async () => (await import('./diff.ts')).diff,
  delta: async () => (await import('./delta.ts')).delta,
  patch: async () => (await import('./delta.ts')).patch,
  resolve: async () => (await import('./resolve.ts')).resolve,
  repo: async () => (await import('./repo.ts')).repo,
  explain: async () => (await import('./explain.ts')).explain,
  doctor: async () => (await import('./doctor.ts')).doctor,
  pack: async () => (await import('./pack.ts')).pack,
  index: async () => (await import('./pack.ts')).index,
  key: async () => (await import('./key.ts')).key,
  config: async () => (await import('./config.ts')).config,
  dedupe: async () => (await import('./dedupe.ts')).dedupe,
  store: async () => (await import('./store.ts')).store,
  gc: async () => (await import('./gc.ts')).gc,
}
