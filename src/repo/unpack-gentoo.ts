/** A Gentoo package of either form: told apart by its first bytes, as Portage does, or by its name. */
import { posix } from 'node:path'
import type { Bodies } from '../tree/bodies.ts'
import type { Unpacked } from '../tree/unpacked.ts'
import { checkTrust, type Trust } from './package-trust.ts'
import { type RandomSource, withSource } from './source.ts'
import { readGpkgInfo, unpackGpkgFrom, verifyGpkg } from './unpack-gpkg.ts'
import { checkBuildInfo } from './unpack-metadata.ts'
import { refusing } from './unpack.ts'
import { type GentooOptions, readXpak, unpackXpakFrom } from './unpack-xpak.ts'

/** @throws as `unpackGpkg` and `unpackXpak` */
export function unpackGentoo(file: string, bodies: Bodies, options: GentooOptions): Promise<Unpacked> {
  return withSource(file, options.label, async (source) =>
    (await isGpkg(source))
      ? unpackGpkgFrom(source, bodies, options)
      : unpackXpakFrom(source, bodies, options),
  )
}

/**
 * What can be said of a package without unpacking it: whole in its form, and signed as it must be.
 * @param options `path`: where the index has it, for messages
 * @throws S5_ARCHIVE_REFUSED, S5_SIGNATURE_BAD
 */
export function verifyGentoo(
  file: string,
  options: {
    readonly label: string
    readonly path: string
    readonly signal: AbortSignal
    readonly trust: Trust
  },
): Promise<void> {
  const { label, path, signal, trust } = options
  return withSource(file, label, (opened) => {
    const source: RandomSource = { ...opened, name: posix.basename(path) }
    return refusing(source, options, async (name) => {
      if (await isGpkg(source)) return void (await verifyGpkg(source, name, signal, trust))
      checkTrust(trust, false, name)
      await readXpak(source, name)
    })
  })
}

/**
 * Build-info of a package whose form is whole, as byte strings by name; signatures are not looked at.
 * @throws S5_ARCHIVE_REFUSED
 */
export function readBuildInfo(
  file: string,
  options: { readonly label: string; readonly signal: AbortSignal },
): Promise<{ readonly [key: string]: string }> {
  return withSource(file, options.label, (source) =>
    refusing(source, options, async (name) => {
      const values = (await isGpkg(source))
        ? await readGpkgInfo(source, name, options.signal)
        : (await readXpak(source, name)).values
      checkBuildInfo(name, values)
      return values
    }),
  )
}

async function isGpkg(source: RandomSource): Promise<boolean> {
  if (source.name.endsWith('.gpkg.tar')) return true
  return Buffer.from(await source.read(0, 100)).includes('/gpkg-1\0')
}
