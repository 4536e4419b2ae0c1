/** OpenPGP signatures of a Gentoo package that is packed, made by gpg with a key of the person who packs. */
import { run } from '../host/run.ts'

const GPG = ['gpg', '--batch', '--yes', '--no-tty', '--armor', '--digest-algo', 'SHA512', '--output', '-']

/**
 * An armoured detached signature.
 * @param key as gpg names keys: a fingerprint, an address
 * @param member its bytes, or the path of its file
 * @throws S5_TOOL_MISSING, S5_TOOL_FAILED
 * @see GLEP 78, “Container format”: `.sig`
 */
export async function signMember(
  key: string,
  member: Uint8Array | string,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const argv = [...GPG, '--local-user', key, '--detach-sign']
  const isFile = typeof member === 'string'
  const { stdout } = await run(isFile ? [...argv, member] : argv, {
    ...(!isFile && { input: member }),
    ...(signal && { signal }),
  })
  return stdout
}

/**
 * The text, clear-signed: no line of a Manifest begins with a dash.
 * @throws S5_TOOL_MISSING, S5_TOOL_FAILED
 */
export async function signManifest(key: string, text: string, signal?: AbortSignal): Promise<Uint8Array> {
  const argv = [...GPG, '--local-user', key, '--clear-sign']
  const { stdout } = await run(argv, { input: text, ...(signal && { signal }) })
  return stdout
}
