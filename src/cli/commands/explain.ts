/** `stage5 explain CODE`: what an error code means and what to do. */
import { CODES } from '../../base/codes.ts'
import { Stage5Error } from '../../base/errors.ts'
import { nearest } from '../../base/near.ts'
import type { Command } from '../command.ts'
import { explainCode } from '../render/error.ts'

export const explain: Command = {
  name: 'explain',
  summary: 'say what an error code means and what to do',
  arguments: [{ name: '[code]', description: 'S5_…; without it all codes are listed' }],
  options: [],
  examples: ['stage5 explain S5_COLLISION'],
  run: async (_, words) => {
    const code = words.arguments[0]?.toUpperCase()
    if (code === undefined) {
      const text = Object.entries(CODES).map(([name, { summary }]) => `${name.padEnd(24)} ${summary}\n`)
      return { data: { codes: CODES }, text: text.join('') }
    }
    const text = explainCode(code)
    if (text === undefined) {
      const near = nearest(code, Object.keys(CODES), 1)[0]
      throw new Stage5Error('S5_USAGE', `unknown code ${code}${near ? `, did you mean ${near}` : ''}`, {
        hint: 'stage5 explain lists all codes',
      })
    }
    return { data: { code, ...CODES[code as keyof typeof CODES] }, text }
  },
}
