const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

export type IdKind = 'ses' | 'dec' | 'req' | 'lck'

/**
 * `<kind>_` + 26 characters of Crockford base32: 48 bits of milliseconds, then 80 random bits, so that
 * ids sort by time (the layout of a ULID).
 */
export const makeId = (kind: IdKind, now: number, random: Uint8Array): string => {
  let bits = BigInt(Math.trunc(now)) & 0xffff_ffff_ffffn
  for (let i = 0; i < 10; i++) bits = (bits << 8n) | BigInt(random[i] ?? 0)
  let text = ''
  for (let i = 0; i < 26; i++) {
    text = ALPHABET.charAt(Number(bits & 31n)) + text
    bits >>= 5n
  }
  return `${kind}_${text}`
}

export const isId = (kind: IdKind, text: string): boolean =>
  new RegExp(`^${kind}_[0-9A-HJKMNP-TV-Z]{26}$`).test(text)
