/** Types one command at the console of a guest that a driver runs. */
import { join } from 'node:path'
import { connectUnix } from '../../src/deploy/qmp.ts'

let asked = 0

/** @returns what the guest printed */
export async function shellOn(project: string, guest: string, command: string): Promise<string> {
  const socket = connectUnix(join(project, '.stage5/guests', guest, 'run/console.sock'))
  const end = `end-of-${++asked}`
  try {
    return await new Promise<string>((done, failed) => {
      let seen = ''
      const timer = setTimeout(() => failed(new Error(`${guest}: ${command}: ${seen.slice(-500)}`)), 600_000)
      socket.on('error', failed)
      socket.on('data', (bytes: Buffer) => {
        seen += bytes.toString('latin1').replaceAll('\r', '')
        const at = seen.indexOf(`${end}\n`)
        if (at === -1) return
        clearTimeout(timer)
        const begin = `begin-of-${asked}\n`
        done(seen.slice(seen.indexOf(begin) + begin.length, at))
      })
      socket.write(`\necho begin""-of-${asked}; ${command}; echo end""-of-${asked}\n`)
    })
  } finally {
    socket.destroy()
  }
}
