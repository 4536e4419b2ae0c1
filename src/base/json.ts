/** JSON values with one spelling: equal values give equal bytes. */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json | undefined }

/** JSON with object keys in code unit order and no white space: fit to be hashed. Undefined members are left out. */
export function stableJson(value: Json): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(stableJson).join(',')}]`
  const record = value as { readonly [key: string]: Json | undefined }
  const members = Object.keys(record)
    .filter((key) => record[key] !== undefined)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${stableJson(record[key] as Json)}`)
  return `{${members.join(',')}}`
}

/** An object that somebody else wrote, or what is wrong with the text; each member is still to be looked at. */
export function objectOf(text: string): { readonly [key: string]: unknown } | string {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return 'no JSON'
  }
  if (typeof value !== 'object' || value === null) return 'no JSON object'
  return value as { readonly [key: string]: unknown }
}
