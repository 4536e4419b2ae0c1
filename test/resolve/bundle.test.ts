import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadPipeline, loadProfile, loadStripClasses } from '../../src/resolve/load-profile.ts'
import { loadRepository } from '../../src/resolve/load-repository.ts'
import type { Project } from '../../src/resolve/project.ts'
import { STAGES } from '../../src/stage/registry.ts'

const TOP = join(import.meta.dirname, '../..')

const bundle: Project = {
  read: async (path) => {
    try {
      return readFileSync(join(TOP, path))
    } catch {
      return undefined
    }
  },
  list: async (path) =>
    readdirSync(join(TOP, path), { withFileTypes: true }).map((entry) => ({
      name: entry.name,
      type: entry.isDirectory() ? 'dir' : 'file',
      executable: (statSync(join(TOP, path, entry.name)).mode & 0o100) !== 0,
      size: entry.isFile() ? statSync(join(TOP, path, entry.name)).size : 0,
      target: '',
    })),
}

function yamlFiles(folder: string): string[] {
  const names = readdirSync(join(TOP, folder)).filter(
    (name) => name.endsWith('.yaml') && !name.endsWith('.lock.yaml'),
  )
  return names.map((name) => name.replace(/\.yaml$/, ''))
}

const FIRST_LINE = /^# yaml-language-server: \$schema=\.\/([a-z]+)\.schema\.json$/

test('every bundled file names its schema in the first line', () => {
  const schemas: { [folder: string]: string } = {
    profiles: 'profile',
    repos: 'repository',
    stages: 'pipeline',
  }
  for (const [folder, schema] of Object.entries(schemas))
    for (const name of yamlFiles(folder)) {
      const line = readFileSync(join(TOP, folder, `${name}.yaml`), 'utf8').split('\n')[0] ?? ''
      assert.equal(
        FIRST_LINE.exec(line)?.[1],
        name === 'strip' ? 'strip' : schema,
        `${folder}/${name}.yaml: ${line}`,
      )
    }
})

test('every bundled profile and variant loads, with repositories, stages and classes that exist', async () => {
  const classes = await loadStripClasses(bundle)
  for (const name of yamlFiles('profiles')) {
    const text = readFileSync(join(TOP, `profiles/${name}.yaml`), 'utf8')
    const variants = [...text.matchAll(/^ {2}([a-z0-9-]+):$/gm)].map((found) => found[1] ?? '')
    for (const full of [
      name,
      ...(/^variants:$/m.test(text) ? variants.slice(-1) : []).map((variant) => `${name}@${variant}`),
    ]) {
      const { profile } = await loadProfile(full, bundle.read, bundle.list)
      for (const repository of profile.repositories)
        await loadRepository(repository, bundle.read, bundle.list)
      for (const stage of await loadPipeline(profile.pipeline, bundle)) assert.ok(STAGES.has(stage), stage)
      for (const each of profile.strip.classes)
        assert.ok(Object.hasOwn(classes, each), `${full}: strip class ${each}`)
    }
  }
})
