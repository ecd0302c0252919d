/** What the broker itself is called: a token of ours with such an audience could be shown to us. */
export interface OwnNames {
  readonly publicUrl: string
  readonly issuerUrl: string
  readonly audience: string
}

/** Audiences that a cloud trades for credentials. One place names them; a new cloud target adds its row. */
const CLOUDS: readonly (readonly [RegExp, string])[] = [
  [/(^|\/)sts(-fips)?\.([a-z0-9-]+\.)*(amazonaws\.|api\.aws)/, 'AWS'],
  [/^api:\/\/azureadtokenexchange/, 'Entra'],
  [/iam\.googleapis\.com/, 'Google Cloud'],
]

/**
 * Why the operator's `token_audiences` may not hold `audience`, or null when it may. A token for such an audience
 * could be traded for more than its grant says. Letter case, a trailing slash and a default port make no difference.
 */
export const audienceProblem = (audience: string, own: OwnNames): string | null => {
  if (!/^[\x21-\x7e]{1,255}$/.test(audience)) return 'an audience is 1 to 255 printable characters'
  if (audience.includes('*')) return `${audience}: an audience is written out, without wildcards`
  const cloud = CLOUDS.find(([pattern]) => pattern.test(decoded(audience)))
  if (cloud) return `${audience}: ${cloud[1]} trades tokens with this audience for credentials`
  const names = [own.publicUrl, own.issuerUrl, own.audience]
  return names.some((name) => isBelow(audience, name))
    ? `${audience}: this is an address of the broker itself`
    : null
}

const isBelow = (audience: string, name: string): boolean => {
  const [given, ours] = [canonical(audience), canonical(name)]
  return given === ours || given.startsWith(`${ours}/`)
}

/** For comparing only. The scheme is left out: http://us is us too. */
const canonical = (text: string): string => {
  const plain = URL.canParse(text) && new URL(text).host !== '' ? new URL(text) : null
  const name = plain === null ? text : `${plain.hostname}${port(plain)}${plain.pathname}`
  return decoded(name).replace(/\/+$/, '')
}

const port = ({ port }: URL): string =>
  port === '' || port === '80' || port === '443' ? '' : `:${port}`

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text).toLowerCase()
  } catch {
    return text.toLowerCase()
  }
}
