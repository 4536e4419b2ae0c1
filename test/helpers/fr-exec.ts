/**
 * Guests as files, for the driver `exec`: `node fr-exec.ts FOLDER ACTION` with a JSON on stdin. A generation whose number
 * stands in FOLDER/sick never gets healthy.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

interface Guest {
  readonly good: string
  readonly runs: string
  readonly pointer: 'good' | 'trial'
  readonly boots: number
  readonly token: number
}

const [folder = '', action = ''] = process.argv.slice(2)
const asked = JSON.parse(readFileSync(0, 'utf8')) as {
  readonly guest: { readonly name: string }
  readonly generation?: { readonly manifest: string; readonly seq: number } | null
  readonly token?: number
}
mkdirSync(folder, { recursive: true })
const path = join(folder, `${asked.guest.name}.json`)
const guest: Guest = existsSync(path)
  ? (JSON.parse(readFileSync(path, 'utf8')) as Guest)
  : { good: '', runs: '', pointer: 'good', boots: 0, token: 0 }
const save = (next: Partial<Guest>): void => writeFileSync(path, JSON.stringify({ ...guest, ...next }))
const digest = asked.generation?.manifest ?? ''
const token = asked.token ?? 0

if (action === 'switch' && token > guest.token)
  save({ runs: digest, pointer: 'trial', boots: guest.boots + 1, token })
if (action === 'commit') save({ good: digest, pointer: 'good' })
if (action === 'rollback' && token > guest.token)
  save({ runs: digest, good: digest, pointer: 'good', boots: guest.boots + 1, token })
if (action === 'status') {
  const sick = existsSync(join(folder, 'sick')) ? readFileSync(join(folder, 'sick'), 'utf8').trim() : ''
  const isSick = sick !== '' && guest.runs === sick
  const answer = {
    power: guest.runs === '' ? 'off' : 'on',
    bootId: `boot-${guest.boots}`,
    digest: guest.runs,
    pointer: guest.pointer,
    health: guest.runs === '' || isSick ? 'fail' : 'pass',
    detail: isSick ? 'GET / said 500' : '',
  }
  process.stdout.write(JSON.stringify(answer))
}
