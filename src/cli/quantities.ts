/** Sizes and times as people type them. */
import { Stage5Error } from '../base/errors.ts'

const UNITS: { readonly [unit: string]: number } = { K: 1 / 1024, M: 1, G: 1024 }

/**
 * MiB of `256M`, `1G` or a bare number of MiB, as QEMU's -m takes it.
 * @throws S5_USAGE
 * @example
 * parseMemory('--memory', '1G') // => 1024
 */
export function parseMemory(option: string, text: string): number {
  const found = /^([1-9]\d{0,7})([KMG]?)(?:i?B)?$/i.exec(text)
  const size = found ? Number(found[1]) * (UNITS[(found[2] || 'M').toUpperCase()] as number) : 0
  if (size < 1)
    throw new Stage5Error('S5_USAGE', `${option} expects a size such as 256M, found ${JSON.stringify(text)}`)
  return Math.floor(size)
}

/**
 * Bytes of `20G`, `512M`, `64K` or a bare number of MiB.
 * @throws S5_USAGE
 * @example
 * parseBytes('--max-size', '64K') // => 65536
 */
export function parseBytes(option: string, text: string): number {
  const found = /^(\d{1,8})([KMGT]?)(?:i?B)?$/i.exec(text)
  if (!found)
    throw new Stage5Error('S5_USAGE', `${option} expects a size such as 20G, found ${JSON.stringify(text)}`)
  return Number(found[1]) * 1024 ** (1 + 'KMGT'.indexOf((found[2] || 'M').toUpperCase()))
}

const SECONDS: { readonly [unit: string]: number } = { s: 1, m: 60, h: 3600 }

/**
 * Seconds of `90s`, `2m`, `1h` or a bare number of seconds.
 * @throws S5_USAGE
 * @example
 * parseSeconds('--timeout', '2m') // => 120
 */
export function parseSeconds(option: string, text: string): number {
  const found = /^([1-9]\d{0,6})([smh]?)$/.exec(text)
  if (!found)
    throw new Stage5Error('S5_USAGE', `${option} expects a time such as 90s, found ${JSON.stringify(text)}`)
  return Number(found[1]) * (SECONDS[found[2] || 's'] as number)
}
