import { z } from 'zod'
import type { SessionRequest } from '../api.ts'
import { parseStrictJson } from '../identity/json.ts'
import { accept, refuse, type Result } from '../refusal.ts'

/** Largest body of a request, in bytes. */
export const MAX_BODY = 64 * 1024

const request = z.strictObject({
  grants: z
    .array(z.string().regex(/^[a-z][a-z0-9-]{1,62}$/))
    .min(1)
    .max(10),
  ttl: z.int().min(1).max(3600).optional(),
  delivery: z.enum(['credentials', 'session']).optional(),
})

const MEMBERS = Object.keys(request.shape)

/** The member that is wrong, by a name of ours; what the caller wrote is never repeated. */
const culprit = (error: z.ZodError): string => {
  const named = error.issues
    .map((issue) => issue.path[0])
    .find((name) => MEMBERS.includes(String(name)))
  if (named !== undefined) return `"${String(named)}"`
  return error.issues.some((issue) => issue.code === 'unrecognized_keys')
    ? 'an unknown member'
    : 'the body is not an object'
}

/** The media type, without parameters; a charset other than UTF-8 is refused (RFC 8259 section 8.1). */
const isJson = (contentType: string | undefined): boolean =>
  /^application\/json\s*(;\s*charset\s*=\s*("utf-8"|utf-8)\s*)?$/i.test(contentType ?? '')

/** Judges the body of POST /v1/sessions. */
export const readSessionRequest = (
  contentType: string | undefined,
  bytes: Uint8Array,
): Result<SessionRequest> => {
  if (!isJson(contentType)) return refuse('content_type_unsupported')
  const text = decoded(bytes)
  if (text === null) return refuse('request_malformed', { about: 'the body is not UTF-8' })
  const json = parseStrictJson(text)
  if (!json.ok) return refuse('request_malformed', { about: json.problem })
  const read = request.safeParse(json.value)
  if (!read.success) return refuse('request_invalid', { about: culprit(read.error) })
  const { grants, ttl, delivery } = read.data
  if (new Set(grants).size < grants.length)
    return refuse('request_invalid', { about: '"grants" names one grant twice' })
  if (delivery === 'session') return refuse('delivery_unsupported')
  return accept({ grants, ...(ttl === undefined ? {} : { ttl }) })
}

const decoded = (bytes: Uint8Array): string | null => {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return null
  }
}
