/** The agent of guests that update themselves, as a folder that `stage5 pack` makes a package of. */
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { rootFile } from './trust.ts'
import { shownPath, type World } from './world.ts'

interface AgentSettings {
  readonly url: string
  readonly line: string
  /** Folder of the guest that outlives its base. */
  readonly state: string
  readonly report: string | undefined
  /** Seconds since 1970: no guest believes an earlier clock. */
  readonly built: number
}

/** A word of the settings, which the agent reads as shell. */
const PLAIN = /^[A-Za-z0-9_./:@%+=,-]+$/

/** @throws S5_USAGE, S5_DIRECTORY_EXISTS, S5_FILE_MISSING before `stage5 trust init` */
export async function writeAgent(
  world: World,
  folder: string,
  settings: AgentSettings,
): Promise<readonly string[]> {
  const { url, line, state, report, built } = settings
  for (const [option, value] of Object.entries({ url, line, state, report: report ?? '-' }))
    if (!PLAIN.test(value))
      throw new Stage5Error(
        'S5_USAGE',
        `--${option} expects no blanks or quotes, found ${JSON.stringify(value)}`,
      )
  if (!/^https?:\/\//.test(url))
    throw new Stage5Error('S5_USAGE', `--url expects http(s)://…, found ${JSON.stringify(url)}`)
  if (!state.startsWith('/'))
    throw new Stage5Error(
      'S5_USAGE',
      `--state expects a folder of the guest such as /data/pull, found ${state}`,
    )
  if (await stat(folder).catch(() => undefined))
    throw new Stage5Error('S5_DIRECTORY_EXISTS', `${shownPath(folder)} is there already`)
  const root = await readFile(rootFile(world)).catch((cause: unknown) => {
    throw new Stage5Error('S5_FILE_MISSING', 'nobody is named yet who may sign what this project publishes', {
      cause,
      hint: 'stage5 trust init --to PLACE --root KEY',
    })
  })
  const agent = await world.read('stages/boot/pull')
  if (!agent) throw new Error('stages/boot/pull is part of stage5')
  const lines = [`URL=${url.replace(/\/$/, '')}`, `LINE=${line}`, `STATE=${state}`, `BUILT=${built}`]
  if (report !== undefined) lines.push(`REPORT=${report.replace(/\/$/, '')}`)
  const files: readonly (readonly [string, Uint8Array | string, number])[] = [
    ['usr/sbin/stage5-pull', agent, 0o755],
    ['etc/stage5/pull/root.json', root, 0o644],
    ['etc/stage5/pull/config', `${lines.join('\n')}\n`, 0o644],
  ]
  for (const [path, content, mode] of files) {
    const to = join(folder, path)
    await mkdir(dirname(to), { recursive: true })
    await writeFile(to, content)
    await chmod(to, mode)
  }
  return files.map(([path]) => path)
}
