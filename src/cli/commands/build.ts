/** `stage5 build PROFILE`: locked packages to a folder of images. */
import { readdir } from 'node:fs/promises'
import type { Json } from '../../base/json.ts'
import { verifyIncremental } from '../clean-build.ts'
import { type Command, listOption } from '../command.ts'
import { build as buildProfile, plan } from '../flow.ts'
import { addGeneration } from '../generations.ts'
import { keep, keepProject } from '../kept.ts'
import { settledLock, writeLock } from '../lock-file.ts'
import { readManifest } from '../manifest.ts'
import { loadRecipe } from '../recipe.ts'
import { mebibytes } from '../render/progress.ts'
import { shownPath } from '../world.ts'
import { wantedImages } from '../wanted-images.ts'

export const build: Command = {
  name: 'build',
  summary: 'compose the locked packages and write the images',
  arguments: [{ name: '<profile>', description: 'name of a profile, with @variant' }],
  options: [
    {
      flags: '--format <format>',
      description: 'write this instead of the images of the profile, such as dir or tar',
      many: true,
    },
    {
      flags: '--verify-incremental',
      description: 'build a second time with nothing remembered but downloads, and compare every byte',
    },
  ],
  examples: [
    'stage5 build www-nginx',
    'stage5 build www-nginx@php --locked --offline',
    'stage5 build www-nginx --format dir',
    'stage5 build www-nginx --verify-incremental',
  ],
  run: async (world, words) => {
    const recipe = await loadRecipe(world, words.arguments[0] as string)
    const formats = listOption(words, 'format')
    const images = formats.map((format) => ({ format, options: {} }))
    const wanted = formats.length === 0 ? recipe : { ...recipe, profile: { ...recipe.profile, images } }
    wantedImages(wanted.profile)
    const settled = await settledLock(world, recipe.profile, plan)
    const { lock, directory } = await buildProfile(world, wanted, settled)
    const isVerified = words.options['verifyIncremental'] === true
    const verified = isVerified ? await verifyIncremental(world, wanted, settled, directory) : undefined
    if (!world.options.locked) await writeLock(world, lock)
    const manifest = await readManifest(directory)
    await keepProject(world)
    await keep(await world.store(), 'output', directory, manifest.root)
    const { line, name } = await addGeneration(world, directory)
    const roots = (await readdir(directory)).filter((name) => name.endsWith('.dir'))
    const files = [
      ...roots.map((name) => `${'folder'.padStart(12)}  ${name}\n`),
      ...manifest.files.map(({ name, size }) => `${mebibytes(size).padStart(12)}  ${name}\n`),
    ]
    return {
      data: {
        directory,
        generation: `${line}/${name}`,
        ...(verified !== undefined && { verified }),
        manifest: manifest as unknown as Json,
      },
      text: `${shownPath(directory)}\n${files.join('')}generation ${line}/${name}\n${verified === undefined ? '' : `${verified} files are what a clean build makes\n`}`,
    }
  },
}
