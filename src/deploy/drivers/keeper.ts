/**
 * The keeper: a shell script that keeps one guest running and owns its trial, so that a new generation falls back to
 * the old one whether or not anybody watches. It outlives the program that starts it.
 *
 * Each start notes in `run/started` what was started, under which token, with which boot id. Keeper and guest hold the
 * lock `run/lock`, so that no guest is ever run twice.
 */
import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { Stage5Error } from '../../base/errors.ts'
import { findTool } from '../../host/run.ts'
import { signalProcess } from '../../host/processes.ts'
import { monotonicMs } from '../../host/clock.ts'
import { bootId } from '../../host/temp.ts'
import { writeWhole } from '../../host/whole-file.ts'
import { CONSOLE_HEAD, CONSOLE_TAIL } from './running.ts'
import type { GuestFolder } from './folder.ts'
import { OWN_DATA } from './snapshot.ts'

/** Bytes of a console that are cut. */
const CONSOLE_MOST = 16_777_216

/** `gen/<generation>/run BOOT-ID` is the guest until it ends; it is replaced by it with `exec`. */
const KEEPER = `#!/bin/sh
# Written by stage5: keeps this guest running on what "trial", or else "good", points to.
cd "$1" || exit 1
exec 9>run/lock
if [ -n "$3" ]; then
  # Nothing starts the guest until whoever asked says so, or is gone.
  flock 9 || exit 1
  (echo held >&3)
  exec 3>&-
  read -r go || :
  exec </dev/null
  [ "$(cat stopped 2>/dev/null)" != "$3" ] || rm -f stopped
else
  flock -n 9 || exit 0
fi
pause=0
# A console that grows for ever: its beginning is kept, which says what runs, and its end.
cut_console() {
  while sleep 20 && kill -0 "$1" 2>/dev/null; do
    [ "$(stat -c %s run/console.log 2>/dev/null || echo 0)" -gt ${CONSOLE_MOST} ] || continue
    [ -e run/console.head ] || { head -c ${CONSOLE_HEAD} run/console.log >run/.head.new && mv run/.head.new run/console.head; }
    tail -c ${CONSOLE_TAIL} run/console.log >run/.tail.new && mv run/.tail.new run/console.tail || continue
    : >run/console.log
    cat run/console.tail >>run/console.log
    # Whoever read the log while it was empty finds the end here.
    sleep 1
    rm -f run/console.tail
  done
}
${OWN_DATA}
while [ ! -e stopped ]; do
  if [ -L trial ]; then
    left=$(cat tries 2>/dev/null)
    if [ "\${left:-0}" -gt 0 ]; then
      echo $((left - 1)) >.tries.new && mv .tries.new tries
      generation=$(readlink trial)
    else
      tail -c 65536 run/console.log >run/fallen.log 2>/dev/null
      mv -T trial fallen
      continue
    fi
  else
    generation=$(readlink good) || break
  fi
  if ! own_data "\${generation#gen/}"; then
    echo "stage5: the data of \${generation#gen/} could not be put back: it is not started"
    sleep 5 9>&-
    continue
  fi
  boot=$(cat /proc/sys/kernel/random/uuid)
  rm -f run/console.head run/console.tail
  [ -e run/console.log ] && mv run/console.log run/console.old
  began=$(cut -d. -f1 /proc/uptime)
  setsid sh "$generation/run" "$boot" </dev/null >>run/output.log 2>&1 &
  child=$! token=$(cat token)
  since=$(sed 's/.*) //' /proc/$child/stat | cut -d' ' -f20)
  echo "\${generation#gen/} $boot $token $child $since $2" >run/.started.new && mv run/.started.new run/started
  cut_console $child 9>&- &
  cutter=$!
  wait $child
  code=$?
  kill $cutter 2>/dev/null
  echo "\${generation#gen/} $boot ended with $code" >>run/ends
  rm -f run/started
  [ $(($(cut -d. -f1 /proc/uptime) - began)) -lt 30 ] || pause=0
  left=$pause
  while [ "$left" -gt 0 ] && [ ! -e stopped ] && [ ! -e run/now ]; do
    sleep 1 9>&-
    left=$((left - 1))
  done
  pause=$((pause * 2 + 1))
  [ $pause -lt 30 ] || pause=30
  if [ -e run/now ]; then
    rm -f run/now
    pause=0
  fi
done
`

export interface Started {
  readonly generation: string
  readonly bootId: string
  readonly token: number
  readonly pid: number
  /** When the process began, in ticks of the machine (proc(5), starttime). */
  readonly since: string
}

/** The start that still runs; undefined when the guest is off. */
export function startedOf(folder: GuestFolder): Started | undefined {
  const [generation = '', boot = '', token = '', pid = '', since = '', machine] = folder
    .read('run/started')
    .split(' ')
  const started = { generation, bootId: boot, token: Number(token), pid: Number(pid), since }
  return machine === bootId() && lives(started) ? started : undefined
}

/** Whether it is still the process that was started: a number may belong to somebody else by now. */
function lives({ pid, since }: Started): boolean {
  try {
    const [state, ...rest] = readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/.*\) /s, '').split(' ')
    return state !== 'Z' && rest[18] === since
  } catch {
    return false
  }
}

/** Starts a keeper; where one runs already the new one ends at once. */
export async function startKeeper(folder: GuestFolder): Promise<void> {
  rmSync(folder.file('stopped'), { force: true })
  const child = await spawnKeeper(folder, [], (log) => ['ignore', log, log])
  child.unref()
}

async function spawnKeeper(
  folder: GuestFolder,
  words: readonly string[],
  stdio: (log: number) => StdioOptions,
): Promise<ChildProcess> {
  const shell = findTool('sh')
  const flock = findTool('flock')
  if (shell === undefined || flock === undefined)
    throw new Stage5Error('S5_TOOL_MISSING', 'flock is not installed', { hint: 'apt install util-linux' })
  mkdirSync(folder.file('run'), { recursive: true, mode: 0o700 })
  await writeWhole(folder.file('run', 'keeper'), KEEPER)
  const log = openSync(folder.file('run', 'output.log'), 'a', 0o600)
  try {
    const child = spawn(shell, [folder.file('run', 'keeper'), folder.path, bootId(), ...words], {
      detached: true,
      stdio: stdio(log),
      cwd: '/',
    })
    await new Promise<void>((started, failed) => {
      child.once('spawn', started)
      child.once('error', failed)
    })
    return child
  } finally {
    closeSync(log)
  }
}

/** A guest that is off, and that nobody can start. */
interface HeldOff {
  /** It starts on what the pointers say. */
  readonly go: () => void
}

const HELD_MS = 180_000

/**
 * Ends what runs and takes the lock of its keeper, by a keeper of ours that waits. Whatever becomes of this process, that
 * one starts the guest again.
 * @param halt ends what runs of it, if anything does
 * @throws S5_TOOL_FAILED when something keeps the lock; the guest goes on then
 */
export async function holdOff(
  folder: GuestFolder,
  halt: () => Promise<void>,
  signal: AbortSignal,
): Promise<HeldOff> {
  const mark = randomUUID()
  const child = await spawnKeeper(folder, [mark], (log) => ['pipe', log, log, 'pipe'])
  const words = child.stdio[3] as Readable
  const stdin = child.stdin as Writable
  for (const pipe of [words, stdin]) pipe.on('error', () => undefined)
  let isHeld = false
  const held = once(words, 'data', { signal }).then(
    () => {
      isHeld = true
    },
    () => undefined,
  )
  const leave = (): void => {
    stdin.end()
    words.destroy()
    child.unref()
  }
  try {
    await folder.write('stopped', mark)
    // What was about to start when it was asked is there the next time.
    for (const until = monotonicMs() + HELD_MS; !isHeld; ) {
      await halt()
      await Promise.race([held, sleep(STEP_MS * 4)])
      signal.throwIfAborted()
      if (!isHeld && (child.exitCode !== null || monotonicMs() >= until))
        throw new Stage5Error('S5_TOOL_FAILED', `${folder.name}: its lock run/lock is not given back`, {
          data: { guest: folder.name },
        })
    }
  } catch (error) {
    if (child.pid !== undefined && child.exitCode === null) signalProcess(-child.pid, 'SIGKILL')
    leave()
    await rm(folder.file('stopped'), { force: true })
    await startKeeper(folder)
    throw error
  }
  return { go: leave }
}

const STEP_MS = 50

/**
 * Ends what runs and waits until it is gone: first `ask`, then SIGTERM, then SIGKILL.
 * @param graceMs how long each of the first two may take in all
 */
export async function endGuest(
  folder: GuestFolder,
  started: Started,
  ask: () => Promise<void>,
  graceMs: number,
  signal: AbortSignal,
): Promise<void> {
  const isGone = (): boolean => !lives(started)
  const gone = async (ms: number): Promise<boolean> => {
    const until = monotonicMs() + ms
    while (!isGone()) {
      if (monotonicMs() >= until) return false
      await sleep(STEP_MS, undefined, { signal })
    }
    return true
  }
  // Not a crash: the keeper is not to wait before the next start.
  await writeFile(folder.file('run', 'now'), '')
  await ask()
  if (await gone(graceMs)) return await noted(folder, started)
  for (const [name, ms] of [
    ['SIGTERM', 2_000],
    ['SIGKILL', 30_000],
  ] as const) {
    kill(started, name)
    if (await gone(ms)) return await noted(folder, started)
  }
  throw new Stage5Error('S5_TOOL_FAILED', `${folder.name}: process ${started.pid} does not end`, {
    data: { pid: started.pid },
  })
}

/** Waits until the keeper, if there is one, has seen the end too. */
async function noted(folder: GuestFolder, { bootId: boot }: Started): Promise<void> {
  for (let left = NOTED_STEPS; left > 0 && folder.read('run/started').includes(boot); left--)
    await sleep(STEP_MS)
}

const NOTED_STEPS = 20

/** It leads a process group of its own. */
function kill(started: Started, signal: NodeJS.Signals): void {
  if (lives(started)) signalProcess(-started.pid, signal)
}

/** Waits until the keeper has started what the pointers say. @returns undefined when that did not happen in time */
export async function awaitStart(
  folder: GuestFolder,
  isWanted: (started: Started) => boolean,
  ms: number,
  signal: AbortSignal,
): Promise<Started | undefined> {
  const until = monotonicMs() + ms
  let again = monotonicMs() + AGAIN_MS
  for (;;) {
    const started = startedOf(folder)
    if (started && isWanted(started)) return started
    if (monotonicMs() >= until) return undefined
    if (monotonicMs() >= again) {
      await startKeeper(folder)
      again = monotonicMs() + AGAIN_MS
    }
    await sleep(STEP_MS, undefined, { signal })
  }
}

/** A keeper that was about to end held the lock when ours came. */
const AGAIN_MS = 2_000
