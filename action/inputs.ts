import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { Failure } from './failure.ts'
import { plain } from './text.ts'

/** What the workflow asked of this step, judged. */
export interface Inputs {
  /** Origin of the broker, without a trailing slash. */
  readonly url: string
  /** One to ten names, each once. */
  readonly grants: readonly string[]
  /** Overrides the region of the grant; null leaves it. */
  readonly awsRegion: string | null
  /** Seconds; null asks for what the grant gives by default. */
  readonly ttl: number | null
  /** PEM; null trusts the runner's CAs. */
  readonly ca: string | null
  /** Milliseconds from the first ID token request to the last byte of the broker's reply, tries and pauses included. */
  readonly timeoutMs: number
  /** How often a failed exchange is tried again. */
  readonly retries: number
  readonly outputCredentials: boolean
  readonly summary: 'on' | 'errors' | 'off'
  readonly failOnDenied: boolean
}

/** `getInput` of @actions/core, or its like. */
type GetInput = (name: string) => string

const MAX_CA = 1024 * 1024

/** Reads every input of action.yml, and names all that are wrong at once. */
export const readInputs = (get: GetInput, env: NodeJS.ProcessEnv): Inputs => {
  const wrong: string[] = []
  const read = <T>(name: string, judge: (text: string) => T): T | null => {
    try {
      return judge(get(name))
    } catch (error) {
      wrong.push(`${name}: ${error instanceof Error ? error.message : ''}`)
      return null
    }
  }
  const inputs = {
    url: read('url', (text) => brokerUrl(text === '' ? (env['TVM_URL'] ?? '').trim() : text)),
    grants: read('grants', grantNames),
    awsRegion: read('aws-region', region),
    ttl: read('duration', duration),
    ca: read('ca-certificate', certificate),
    timeoutMs: read('timeout-seconds', (text) => whole(text, [1, 300], 30) * 1000),
    retries: read('retries', (text) => whole(text, [0, 10], 4)),
    outputCredentials: read('output-credentials', (text) => flag(text, false)),
    summary: read('summary', summaryMode),
    failOnDenied: read('fail-on-denied', (text) => flag(text, true)),
  }
  if (wrong.length > 0) throw new Failure('input_invalid', wrong.join('\n'))
  return inputs as Inputs
}

/** The CA alone, for the post step: it talks to the broker that main talked to, whatever the url is now. */
export const readCa = (get: GetInput): string | null => certificate(get('ca-certificate'))

const quoted = (text: string): string => `"${plain(text, 80)}"`

const brokerUrl = (text: string): string => {
  if (text === '') throw new Error('missing; give the address of the broker here or in env TVM_URL')
  const url = URL.parse(text)
  if (url === null) throw new Error(`${quoted(text)} is not a URL`)
  if (url.username !== '' || url.password !== '')
    throw new Error('must not hold a user or password')
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(url.hostname)))
    throw new Error('must begin with https:// (http:// is taken for loopback only)')
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '')
    throw new Error(`${quoted(text)} must not have a path, query or fragment`)
  return url.origin
}

/** `localhost` is resolved by the machine and could be pointed elsewhere, so it counts only as browsers count it (RFC 6761). */
const isLoopback = (hostname: string): boolean =>
  hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname)

const grantNames = (text: string): readonly string[] => {
  const names = text.split(/[\n,]/).flatMap((name) => (name.trim() === '' ? [] : [name.trim()]))
  if (names.length === 0) throw new Error('missing; name at least one grant')
  if (names.length > 10) throw new Error('at most 10 grants in one step')
  const bad = names.find((name) => !/^[a-z][a-z0-9-]{1,62}$/.test(name))
  if (bad !== undefined)
    throw new Error(
      `${quoted(bad)} is not the name of a grant (a-z, 0-9 and -, such as payments-deploy)`,
    )
  if (new Set(names).size < names.length) throw new Error('one grant is named twice')
  return names
}

const region = (text: string): string | null => {
  if (text === '') return null
  if (!/^[a-z]{2,4}(-[a-z]{2,12}){1,3}-\d{1,2}$/.test(text))
    throw new Error(`${quoted(text)} is not an AWS region such as eu-west-1`)
  return text
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 }

const duration = (text: string): number | null => {
  if (text === '') return null
  const [, digits, unit] = /^([1-9]\d{0,5})([smh])$/.exec(text) ?? []
  if (digits === undefined || unit === undefined)
    throw new Error(`${quoted(text)} is not a duration such as 15m, 1h or 900s`)
  const seconds = Number(digits) * (UNITS[unit] ?? 0)
  if (seconds > 3600) throw new Error(`${quoted(text)} is longer than 1h, the most any grant gives`)
  return seconds
}

const certificate = (text: string): string | null => {
  if (text === '') return null
  const pem = text.includes('-----BEGIN') ? text : readPem(text)
  try {
    new X509Certificate(pem)
  } catch {
    throw new Error('neither a certificate in PEM nor the path of a file that holds one')
  }
  return pem
}

const readPem = (path: string): string => {
  try {
    if (statSync(path).size <= MAX_CA) return readFileSync(path, 'utf8')
  } catch {
    throw new Error(`${quoted(path)} cannot be read`)
  }
  throw new Error(`${quoted(path)} is larger than 1 MiB`)
}

const whole = (
  text: string,
  [least, most]: readonly [number, number],
  otherwise: number,
): number => {
  if (text === '') return otherwise
  const value = /^\d{1,4}$/.test(text) ? Number(text) : NaN
  if (value >= least && value <= most) return value
  throw new Error(`${quoted(text)} is not a whole number from ${least} to ${most}`)
}

const flag = (text: string, otherwise: boolean): boolean => {
  if (text === '') return otherwise
  if (/^(true|True|TRUE)$/.test(text)) return true
  if (/^(false|False|FALSE)$/.test(text)) return false
  throw new Error(`${quoted(text)} is neither true nor false`)
}

const summaryMode = (text: string): Inputs['summary'] => {
  if (text === '') return 'on'
  if (text === 'on' || text === 'errors' || text === 'off') return text
  throw new Error(`${quoted(text)} is none of on, errors, off`)
}
