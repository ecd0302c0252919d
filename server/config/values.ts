/** Readers of single configuration values: from an environment variable (text) or a YAML scalar or list. */
import { isIP, BlockList } from 'node:net'
import { resolve } from 'node:path'

export interface ConfigProblem {
  /** `tvm.yaml:3:1` or the name of the environment variable. */
  readonly at: string
  readonly key: string
  readonly message: string
}

export type Read<T> = { readonly value: T } | { readonly problem: string }
export type Reader<T> = (raw: unknown, base: string) => Read<T>

export interface Listen {
  readonly host: string
  readonly port: number
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1|\[::1\])$/

export const isLoopback = (host: string): boolean => LOOPBACK.test(host)

const text = (raw: unknown): string | null => {
  if (typeof raw === 'string') return raw
  return typeof raw === 'number' || typeof raw === 'boolean' ? String(raw) : null
}

/** `127.0.0.1:8080`, `[::]:8443`, `8080` (then on 127.0.0.1). Port 0 lets the system choose. */
export const listen: Reader<Listen> = (raw) => {
  const match = /^(?:(\[[0-9a-fA-F:.]+\]|[^:[\]]+):)?(\d{1,5})$/.exec(text(raw) ?? '')
  const port = Number(match?.[2])
  const host = (match?.[1] ?? '127.0.0.1').replace(/^\[|\]$/g, '')
  const named = isIP(host) !== 0 || host === 'localhost'
  return match === null || !named || port > 65_535
    ? { problem: 'must be ADDRESS:PORT with an IP address, such as 127.0.0.1:8080 or [::]:8443' }
    : { value: { host, port } }
}

const parsedUrl = (raw: unknown): URL | null => {
  const given = text(raw)
  return given !== null && URL.canParse(given) ? new URL(given) : null
}

const PLAIN = 'must be an https URL without a trailing slash, credentials, query or fragment'

/** An absolute URL as we compare it: byte for byte, so anything that URL parsing would change is refused. */
export const url =
  (shape: { path: boolean; port: boolean }): Reader<string> =>
  (raw) => {
    const parsed = parsedUrl(raw)
    const given = text(raw) ?? ''
    if (parsed === null) return { problem: PLAIN }
    if (`${parsed.username}${parsed.password}` !== '' || /[?#]|\/$/.test(given))
      return { problem: PLAIN }
    if (parsed.href.replace(/\/$/, '') !== given) return { problem: `must be written as ${PLAIN}` }
    const local = isLoopback(parsed.hostname)
    if (parsed.protocol !== 'https:' && !(parsed.protocol === 'http:' && local))
      return { problem: 'must be https (http only on a loopback address)' }
    if (!shape.path && parsed.pathname !== '/') return { problem: 'must have no path' }
    if (!shape.port && parsed.port !== '' && !local)
      return { problem: 'must have no port: AWS accepts none in the URL of an OIDC provider' }
    return { value: given }
  }

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 }

/** `90s`, `10m`, `24h` as milliseconds, between `min` and `max` (the same notation). */
export const duration =
  (min: string, max: string): Reader<number> =>
  (raw) => {
    const value = milliseconds(text(raw) ?? '')
    const [low, high] = [milliseconds(min) ?? 0, milliseconds(max) ?? 0]
    return value === null || value < low || value > high
      ? { problem: `must be a duration from ${min} to ${max}, such as 90s, 10m or 4h` }
      : { value }
  }

const milliseconds = (given: string): number | null => {
  const match = /^(\d{1,7})([smh])$/.exec(given)
  return match === null ? null : Number(match[1]) * (UNITS[match[2] ?? ''] ?? 0) * 1000
}

export const count =
  (min: number, max: number): Reader<number> =>
  (raw) => {
    const given = text(raw) ?? ''
    const value = /^\d{1,12}$/.test(given) ? Number(given) : Number.NaN
    return value >= min && value <= max
      ? { value }
      : { problem: `must be a whole number from ${min} to ${max}` }
  }

export const flag: Reader<boolean> = (raw) => {
  const given = text(raw)
  return given === 'true' || given === 'false'
    ? { value: given === 'true' }
    : { problem: 'must be true or false' }
}

export const choice =
  <T extends string>(...values: readonly T[]): Reader<T> =>
  (raw) => {
    const value = values.find((each) => each === raw)
    return value === undefined ? { problem: `must be one of ${values.join(', ')}` } : { value }
  }

/** A file or folder, relative to the configuration file's folder (or the working directory). */
export const path: Reader<string> = (raw, base) => {
  const given = text(raw)
  return given === null || given === '' || given.includes('\0')
    ? { problem: 'must be a path' }
    : { value: resolve(base, given) }
}

/** An absolute URI or URN, as an OAuth audience is. */
export const uri: Reader<string> = (raw) => {
  const given = text(raw) ?? ''
  return /^[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]{1,255}$/.test(given)
    ? { value: given }
    : { problem: 'must be a URI, such as https://risk.acme.internal' }
}

export const cidr: Reader<string> = (raw) => {
  const given = text(raw) ?? ''
  const [address = '', bits] = given.split('/')
  const family = isIP(address)
  const widest = family === 6 ? 128 : 32
  const fits = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= widest)
  return family !== 0 && fits && given.split('/').length <= 2
    ? { value: given }
    : { problem: 'must be an IP address or a CIDR block, such as 10.0.0.0/8' }
}

/** The blocks as one set to look addresses up in. */
export const blockList = (blocks: readonly string[]): BlockList => {
  const set = new BlockList()
  for (const block of blocks) {
    const [address = '', bits] = block.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    set.addSubnet(
      address,
      bits === undefined ? (family === 'ipv6' ? 128 : 32) : Number(bits),
      family,
    )
  }
  return set
}

/** A YAML list, or a comma-separated environment variable. */
export const list =
  <T>(item: Reader<T>): Reader<readonly T[]> =>
  (raw, base) => {
    const given = typeof raw === 'string' ? raw.split(',').map((each) => each.trim()) : raw
    if (!Array.isArray(given)) return { problem: 'must be a list' }
    const values: T[] = []
    for (const each of given as readonly unknown[]) {
      if (each === '') continue
      const read = item(each, base)
      if ('problem' in read) return { problem: `each item ${read.problem}` }
      values.push(read.value)
    }
    return { value: values }
  }
