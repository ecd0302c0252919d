import { pino, type DestinationStream } from 'pino'

/**
 * The only fields a log line can have. What is not listed is dropped, so a token, a header or a body cannot
 * reach the log by being passed along.
 */
const FIELDS = [
  'event',
  'request_id',
  'decision_id',
  'session_id',
  'code',
  'about',
  'cause',
  'status',
  'method',
  'route',
  'issuer',
  'repository_id',
  'owner_id',
  'job',
  'grants',
  'revision',
  'duration_ms',
  'count',
  'address',
  'part',
  'file',
  'line',
  'column',
  'hint',
  'listen',
  'public_url',
  'issuer_url',
  'kid',
  'path',
  'names',
] as const

export type LogFields = Partial<Record<(typeof FIELDS)[number], string | number | boolean | null>>

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

const MAX = 600

const allowed = (fields: LogFields): Record<string, unknown> => {
  const out: Record<string, unknown> = {}
  for (const name of FIELDS) {
    const value = fields[name]
    if (value === undefined) continue
    out[name] = typeof value === 'string' ? value.slice(0, MAX) : value
  }
  return out
}

/** JSON lines on `stream`; the text of a line is ours, its values come from the allow-list. */
export const makeLog = (level: LogLevel, stream: DestinationStream): Log => {
  const out = pino(
    {
      level,
      base: null,
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  )
  return {
    debug: (message, fields = {}) => out.debug(allowed(fields), message),
    info: (message, fields = {}) => out.info(allowed(fields), message),
    warn: (message, fields = {}) => out.warn(allowed(fields), message),
    error: (message, fields = {}) => out.error(allowed(fields), message),
  }
}

/** Name and first frame. The message of an exception that nobody foresaw may hold anything, so it stays out. */
export const described = (error: unknown): string => {
  if (!(error instanceof Error)) return 'something other than an Error was thrown'
  const frame = error.stack
    ?.replace(error.message, '')
    .split('\n')
    .find((line) => /^\s+at /.test(line))
  return `${error.constructor.name}${frame?.replace(/\s+/, ' ') ?? ''}`
}
