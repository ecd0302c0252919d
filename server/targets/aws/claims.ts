import { createHash } from 'node:crypto'
import { runOf, type AwsClaims } from '../../issuer/sign.ts'
import type { AwsGrant } from '../../policy/grant.ts'
import type { MintOrder } from '../target.ts'

/** Longest session tag value, in characters (STS API reference, Tag). */
const MAX_TAG_VALUE = 256

/** What a session tag's key or value may hold. */
const TAG_CHARACTER = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]$/u

/** Longest RoleSessionName. */
const MAX_SESSION_NAME = 64

/**
 * The job's facts as session tags, for trust policies, `aws:PrincipalTag` and CloudTrail. All of ours are
 * transitive: a chained session keeps them and cannot claim others. A fact the job's token lacks gets no tag.
 */
export const awsClaims = (spec: AwsGrant, order: MintOrder): AwsClaims => {
  const facts = jobTags(order)
  return {
    tags: { ...spec.tags, ...facts },
    transitive: Object.keys(facts),
    sourceIdentity: order.sessionId,
    roles: [spec.role],
  }
}

const jobTags = (order: MintOrder): Readonly<Record<string, string>> => {
  const { issuer, repositoryId, job, claims, dialect } = order.principal
  const facts = {
    'tvm:issuer': issuer,
    'tvm:grant': order.grant.name,
    'tvm:repository_id': repositoryId,
    'tvm:repository': claims[dialect.repository],
    'tvm:ref': claims[dialect.ref],
    'tvm:environment': claims[dialect.environment],
    'tvm:run': runOf(order.principal),
    'tvm:job': job,
    'tvm:actor_id': claims[dialect.actorId],
    'tvm:session': order.sessionId,
    'tvm:revision': order.revision,
  }
  return Object.fromEntries(
    Object.entries(facts).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, tagValue(value)]],
    ),
  )
}

/**
 * `text` in AWS's tag alphabet, two texts never alike: what the alphabet lacks, and `=`, becomes `=XX` per UTF-8
 * byte; what is then longer than 256 characters becomes a prefix and `=sha256:` + the digest of the whole.
 */
export const tagValue = (text: string): string => {
  const pieces = Array.from(text, escaped)
  const whole = pieces.join('')
  if (whole.length <= MAX_TAG_VALUE) return whole
  // No escape starts with `=s`, so a shortened value cannot equal a whole one.
  const digest = `=sha256:${createHash('sha256').update(whole).digest('base64url')}`
  return prefix(pieces, MAX_TAG_VALUE - digest.length) + digest
}

const escaped = (character: string): string =>
  character !== '=' && TAG_CHARACTER.test(character)
    ? character
    : Array.from(utf8(character), (byte) => `=${hex(byte)}`).join('')

/** A lone surrogate has no UTF-8 form; encoders make it U+FFFD, which would make two texts alike. */
const utf8 = (character: string): Uint8Array => {
  const code = character.codePointAt(0) ?? 0
  return code >= 0xd800 && code <= 0xdfff
    ? Uint8Array.of(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f))
    : Buffer.from(character, 'utf8')
}

const hex = (byte: number): string => byte.toString(16).toUpperCase().padStart(2, '0')

const prefix = (pieces: readonly string[], length: number): string => {
  let text = ''
  for (const piece of pieces) {
    if (text.length + piece.length > length) break
    text += piece
  }
  return text
}

/**
 * `tvm-<repository>-<job>` in `[\w+=,.@-]{2,64}`, as CloudTrail and `aws:userid` show it. For reading: what
 * identifies the job are the source identity and the tags.
 */
export const roleSessionName = ({ principal }: MintOrder): string => {
  const repository = (principal.claims[principal.dialect.repository] ?? '').split('/').at(-1)
  const job = plain(principal.job.split('/').at(-1) ?? '').slice(0, 48)
  const room = MAX_SESSION_NAME - 'tvm--'.length - job.length
  return `tvm-${plain(repository ?? '').slice(0, room)}-${job}`
}

const plain = (text: string): string => text.replace(/[^A-Za-z0-9_+=,.@-]/g, '_')
