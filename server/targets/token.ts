import { signAccessToken } from '../issuer/sign.ts'
import type { Signer } from '../issuer/signer.ts'
import type { TokenGrant } from '../policy/grant.ts'
import type { Secret } from '../secret.ts'
import { rfc3339, type World } from '../world.ts'
import type { Minted, MintOrder, MintRefusal, SealedToken, Target } from './target.ts'

export { audienceProblem, type OwnNames } from './token/audience.ts'

export interface TokenParts {
  /** Holds the token issuer's key, never the cloud issuer's. */
  readonly signer: Signer
  readonly issuerUrl: string
  /** The operator's `token_audiences`: a policy may name no other. */
  readonly audiences: readonly string[]
  readonly world: Pick<World, 'random'>
}

/** A signed token is believed until its `exp`: nobody asks us again. */
const REVOCABLE = 'expiry_only'

/** A JWT (RFC 9068) for a service of the operator's own, bound to the job's key where it proved one. */
export const tokenTarget = (parts: TokenParts): Target<TokenGrant, SealedToken> => ({
  name: 'token',
  revocable: REVOCABLE,
  mint: async (spec, order) => {
    if (!parts.audiences.includes(spec.audience)) return unlisted
    const exp = expiry(spec, order)
    try {
      const token = await accessToken(parts, spec, order, exp)
      return minted(spec, order, exp, token)
    } catch {
      return { ok: false, code: 'signer_unavailable', target: 'token' }
    }
  },
})

/** Told at the last gate too: whoever reads the policies may not know the operator's list. */
const unlisted: MintRefusal = {
  ok: false,
  code: 'target_refused',
  target: 'token',
  about: 'AudienceNotListed',
  cause: "the grant's audience is not one of token_audiences",
}

/** Seconds since the epoch, rounded down: a token never outlives its order. */
const expiry = (spec: TokenGrant, order: MintOrder): number => {
  const ttl = Math.min(spec.ttl, order.ttl) * 1000
  return Math.floor(Math.min(order.now + ttl, order.expiresAt) / 1000)
}

const accessToken = (
  { signer, issuerUrl, world }: TokenParts,
  spec: TokenGrant,
  order: MintOrder,
  exp: number,
): Promise<Secret> =>
  signAccessToken(signer, {
    issuer: issuerUrl,
    audience: spec.audience,
    scope: spec.scope,
    grant: order.grant.name,
    principal: order.principal,
    sessionId: order.sessionId,
    decisionId: order.decisionId,
    revision: order.revision,
    jti: Buffer.from(world.random(16)).toString('base64url'),
    now: order.now,
    exp,
  })

const minted = (
  spec: TokenGrant,
  order: MintOrder,
  exp: number,
  token: Secret,
): Minted<SealedToken> => {
  const { jkt } = order.principal
  const scope = spec.scope.join(' ')
  const expires_at = rfc3339(exp * 1000)
  const token_type = jkt === null ? 'Bearer' : 'DPoP'
  const { audience } = spec
  return {
    ok: true,
    reply: { token, token_type, audience, scope, expires_at, revocable: REVOCABLE },
    facts: { audience, scope, token_type, jkt, expiration: expires_at },
    expiresAt: exp * 1000,
    revocable: REVOCABLE,
  }
}
