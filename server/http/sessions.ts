import type { Broker } from '../broker/ports.ts'
import { isId } from '../id.ts'
import type { Presented } from '../identity/verify.ts'
import { accept, refuse, type Result } from '../refusal.ts'
import { revealedJson, Secret } from '../secret.ts'
import { answer, type AppContext } from './call.ts'
import { readSessionRequest } from './body.ts'

const NO_STORE = { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' }

/** POST /v1/sessions: an identity token and a proof in, credentials out. */
export const openSession = async (c: AppContext, broker: Broker): Promise<Response> => {
  const presented = readPresented(c)
  if (!presented.ok) return answer(c, presented)
  const bytes = await c.req.arrayBuffer().then(
    (buffer) => new Uint8Array(buffer),
    () => null,
  )
  if (bytes === null)
    return answer(c, refuse('request_malformed', { about: 'the body ended early' }))
  if ((c.req.header('content-encoding') ?? 'identity') !== 'identity')
    return answer(c, refuse('content_type_unsupported'))
  const request = readSessionRequest(c.req.header('content-type'), bytes)
  if (!request.ok) return answer(c, request)
  const { grants, ttl } = request.value
  const { requestId, address } = c.get('call')
  const exchanged = await broker.exchange({
    requestId,
    address,
    presented: presented.value,
    grants,
    ttl: ttl ?? null,
  })
  if (!exchanged.ok) return answer(c, exchanged, exchanged)
  c.get('told').decisionId = exchanged.reply.decision_id
  return new Response(revealedJson(exchanged.reply), { status: 201, headers: NO_STORE })
}

/** GET /v1/grants: an identity token and a proof in, what the job could ask for out. */
export const listGrants = async (c: AppContext, broker: Broker): Promise<Response> => {
  const presented = readPresented(c)
  if (!presented.ok) return answer(c, presented)
  const { requestId, address } = c.get('call')
  const listed = await broker.list({ requestId, address, presented: presented.value })
  if (!listed.ok) return answer(c, listed, listed)
  c.get('told').decisionId = listed.reply.decision_id
  return new Response(JSON.stringify(listed.reply), { headers: NO_STORE })
}

/** DELETE /v1/sessions/:id with the session's own token: 204, also when it is over already. */
export const endSession = async (c: AppContext, broker: Broker): Promise<Response> => {
  const header = soleHeader(c, 'authorization')
  if (!header.ok) return answer(c, header)
  const token = /^Bearer (tvm_[A-Za-z0-9_-]{43})$/i.exec(header.value ?? '')?.[1]
  const id = c.req.param('id') ?? ''
  if (token === undefined || !isId('ses', id)) return answer(c, refuse('session_token_invalid'))
  const { requestId } = c.get('call')
  const ended = await broker.end({ requestId, id, token: new Secret(token) })
  if (!ended.ok) return answer(c, ended)
  return new Response(null, { status: 204, headers: { 'Cache-Control': 'no-store' } })
}

/** Authorization and DPoP, each at most once; the scheme is not case-sensitive (RFC 9110 section 11.1). */
const readPresented = (c: AppContext): Result<Presented> => {
  const authorization = soleHeader(c, 'authorization')
  const proof = soleHeader(c, 'dpop')
  if (!authorization.ok) return authorization
  if (!proof.ok) return proof
  if (authorization.value === null) return refuse('authorization_missing')
  const match = /^(DPoP|Bearer) +([A-Za-z0-9._~+/-]+=*)$/i.exec(authorization.value)
  const token = match?.[2]
  if (token === undefined) return refuse('authorization_malformed')
  const scheme = match?.[1]?.toLowerCase() === 'dpop' ? 'DPoP' : 'Bearer'
  return accept({ scheme, token, proof: proof.value })
}

/**
 * The header's one value, or null. Node silently keeps the first of two Authorization headers, so the raw
 * list is counted; a Headers object joins repeats with a comma, which no form here contains.
 */
const soleHeader = (c: AppContext, name: string): Result<string | null> => {
  const raw = c.env.incoming?.rawHeaders ?? []
  const times = raw.filter((each, i) => i % 2 === 0 && each.toLowerCase() === name).length
  const value = c.req.header(name) ?? null
  return times > 1 || value?.includes(',') === true
    ? refuse('authorization_malformed')
    : accept(value)
}
