import { createHash } from 'node:crypto'
import type { Receipt } from '../api.ts'
import type { AuditBody, AuditRecord } from './record.ts'

/** The JSON that a chain or a MAC may stand on. A member that is undefined counts as absent. */
export type CanonicalValue =
  | string
  | number
  | boolean
  | null
  | readonly CanonicalValue[]
  | { readonly [key: string]: CanonicalValue | undefined }

/** What the first record names as the one before it. */
export const GENESIS = '0'.repeat(64)

/**
 * RFC 8785 (JCS): members sorted by UTF-16 code units, numbers and strings as ECMAScript writes them. Throws
 * TypeError for what JSON cannot say without loss: numbers that are not finite, lone surrogates.
 */
export const canonicalJson = (value: CanonicalValue): string => {
  if (typeof value === 'string') return text(value)
  if (typeof value === 'number') return number(value)
  if (typeof value === 'boolean' || value === null) return String(value)
  if (typeof value !== 'object') throw new TypeError(`not a JSON value: ${typeof value}`)
  return isList(value) ? `[${value.map(canonicalJson).join(',')}]` : object(value)
}

/** Array.isArray alone does not narrow a readonly array. */
const isList = (value: object): value is readonly CanonicalValue[] => Array.isArray(value)

const text = (value: string): string => {
  if (!value.isWellFormed()) throw new TypeError('a string with a lone surrogate')
  return JSON.stringify(value)
}

const number = (value: number): string => {
  if (!Number.isFinite(value)) throw new TypeError('a number that is not finite')
  return JSON.stringify(value)
}

/** The default sort of JavaScript is the one RFC 8785 section 3.2.3 asks for. */
const object = (value: Readonly<Record<string, CanonicalValue | undefined>>): string => {
  const members = Object.keys(value)
    .sort()
    .flatMap((key) => {
      const member = value[key]
      return member === undefined ? [] : [`${text(key)}:${canonicalJson(member)}`]
    })
  return `{${members.join(',')}}`
}

/** The record that follows `previous` (null: the first of its chain). `at` in milliseconds. */
export const link = (previous: Receipt | null, at: number, body: AuditBody): AuditRecord => {
  const unsigned = {
    position: (previous?.position ?? 0) + 1,
    at,
    previous: previous?.hash ?? GENESIS,
    body,
  }
  return { ...unsigned, hash: hashOf(unsigned) }
}

/** Does the record carry the hash of what it says? Says nothing about its place in a chain: see `verifyChain`. */
export const verifyRecord = (record: AuditRecord): boolean => {
  const { position, at, previous, body } = record
  return record.hash === hashOf({ position, at, previous, body })
}

/** One line of an export: the whole record as canonical JSON, without the line feed. */
export const recordLine = (record: AuditRecord): string => canonicalJson({ ...record })

const hashOf = (unsigned: Omit<AuditRecord, 'hash'>): string =>
  createHash('sha256')
    .update(canonicalJson({ ...unsigned }))
    .digest('hex')
