/** `stage5 doctor`: which tools are there, which are missing, what each is for. */
import { findTool, TOOLS } from '../../host/run.ts'
import type { Command } from '../command.ts'

export const doctor: Command = {
  name: 'doctor',
  summary: 'show which tools are there, which are missing, and what each is for',
  arguments: [],
  options: [],
  examples: ['stage5 doctor', 'stage5 doctor --json'],
  run: async () => {
    const tools = TOOLS.map(({ name, debianPackage, purpose }) => ({
      name,
      debianPackage,
      purpose,
      path: findTool(name) ?? null,
    }))
    const missing = tools.filter(({ path }) => path === null)
    const packages = [...new Set(missing.map(({ debianPackage }) => debianPackage))]
    const line = `apt-get install --no-install-recommends ${packages.join(' ')}`
    return {
      data: { node: process.versions.node, tools, install: missing.length > 0 ? line : null },
      text: [
        `ok       node ${process.versions.node}\n`,
        ...tools.map(
          ({ name, path, purpose }) =>
            `${path === null ? 'missing' : 'ok     '}  ${name.padEnd(20)} ${purpose}\n`,
        ),
        missing.length > 0 ? `\nto install what is missing: ${line}\n` : '',
      ].join(''),
    }
  },
}
