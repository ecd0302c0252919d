/** The meaning of a glob, written to be read: no regular expression, no library. */
export const referenceMatches = (pattern: string, value: string): boolean => {
  if (!/[*?]/.test(pattern)) return pattern === value
  const segments = value.split('/')
  if (segments.some((segment) => ['', '.', '..'].includes(segment))) return false
  if (/\p{Cc}|\p{Zl}|\p{Zp}/u.test(value) || INVISIBLE.some((sign) => value.includes(sign)))
    return false
  return path(pattern.split('/'), segments)
}

const INVISIBLE = Array.from(
  '\u00ad\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064\u2065\u2066\u2067\u2068\u2069\ufeff',
)

const path = (wanted: readonly string[], got: readonly string[]): boolean => {
  const [first, ...rest] = wanted
  if (first === undefined) return got.length === 0
  if (first !== '**')
    return got[0] !== undefined && segment(first, got[0]) && path(rest, got.slice(1))
  return got.some((_, i) => path(rest, got.slice(i + 1)))
}

const segment = (wanted: string, got: string): boolean => {
  if (wanted === '') return got === ''
  const rest = wanted.slice(1)
  if (wanted.startsWith('*'))
    return Array.from({ length: got.length + 1 }, (_, i) => got.slice(i)).some((tail) =>
      segment(rest, tail),
    )
  const same = wanted.startsWith('?') || got.startsWith(wanted.charAt(0))
  return got !== '' && same && segment(rest, got.slice(1))
}
