/** The stages that pipelines in YAML may name. */
import { acct } from './acct.ts'
import { alternatives } from './alternatives.ts'
import { baselayout } from './baselayout.ts'
import { busybox } from './busybox.ts'
import { certs } from './certs.ts'
import { check } from './check.ts'
import { clamp } from './clamp.ts'
import { envd } from './envd.ts'
import { eselect } from './eselect.ts'
import { etc } from './etc.ts'
import { filecaps } from './filecaps.ts'
import { files } from './files.ts'
import { init } from './init.ts'
import { ldcache } from './ldcache.ts'
import { modules } from './modules.ts'
import { osRelease } from './os-release.ts'
import { scripts } from './scripts.ts'
import { services } from './services.ts'
import type { Stage } from './stage.ts'
import { strip } from './strip.ts'
import { users } from './users.ts'
import { usrmerge } from './usrmerge.ts'

/** Stages by name. */
export const STAGES: ReadonlyMap<string, Stage> = new Map(
  [
    acct,
    alternatives,
    baselayout,
    busybox,
    certs,
    check,
    clamp,
    envd,
    eselect,
    etc,
    filecaps,
    files,
    init,
    ldcache,
    modules,
    osRelease,
    scripts,
    services,
    strip,
    users,
    usrmerge,
  ].map((stage) => [stage.name, stage]),
)
