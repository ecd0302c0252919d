import type { TargetName } from '../api.ts'
import type { Signer } from '../issuer/signer.ts'
import { described } from '../log.ts'
import type { TargetSpecs } from '../policy/grant.ts'
import type { World } from '../world.ts'
import { awsTarget } from './aws.ts'
import { azureTarget } from './azure.ts'
import { within } from './bounded.ts'
import { gcpTarget } from './gcp.ts'
import type {
  MintAll,
  MintedAll,
  MintedGrant,
  MintOrder,
  MintOutcome,
  MintRefusal,
  SealedReplies,
  Target,
} from './target.ts'
import { tokenTarget } from './token.ts'

/** What targets are made from. */
export interface TargetParts {
  /** Holds the cloud issuer's key. */
  readonly signer: Signer
  /** Holds the token issuer's key: another one. */
  readonly tokenSigner: Signer
  readonly issuerUrl: string
  readonly tokenIssuerUrl: string
  readonly world: Pick<World, 'now' | 'random' | 'sleep' | 'fetch'>
  readonly aws: {
    /** Where STS answers; null: the regional endpoint of each grant's region. */
    readonly endpoint: string | null
  }
  readonly azure: {
    /** Origin of the login host; null: the public cloud's. */
    readonly authority: string | null
  }
  readonly gcp: {
    /** Where STS and IAM Credentials answer; null: Google's own hosts. */
    readonly endpoint: string | null
  }
  readonly token: {
    /** The operator's `token_audiences`, each of which `audienceProblem` has passed. */
    readonly audiences: readonly string[]
  }
}

export type TargetSpec<Name extends TargetName> = NonNullable<TargetSpecs[Name]>
export type TargetReply<Name extends TargetName> = NonNullable<SealedReplies[Name]>

export type Targets = {
  readonly [Name in TargetName]: Target<TargetSpec<Name>, TargetReply<Name>>
}

/** The only list of targets. */
const MAKERS = {
  aws: (parts) =>
    awsTarget({
      signer: parts.signer,
      issuerUrl: parts.issuerUrl,
      endpoint: parts.aws.endpoint,
      world: parts.world,
    }),
  azure: (parts) =>
    azureTarget({
      signer: parts.signer,
      issuerUrl: parts.issuerUrl,
      authority: parts.azure.authority,
      world: parts.world,
    }),
  gcp: (parts) =>
    gcpTarget({
      signer: parts.signer,
      issuerUrl: parts.issuerUrl,
      endpoint: parts.gcp.endpoint,
      world: parts.world,
    }),
  token: (parts) =>
    tokenTarget({
      signer: parts.tokenSigner,
      issuerUrl: parts.tokenIssuerUrl,
      audiences: parts.token.audiences,
      world: parts.world,
    }),
} as const satisfies { readonly [Name in TargetName]: (parts: TargetParts) => Targets[Name] }

export const TARGET_NAMES = Object.keys(MAKERS) as readonly TargetName[]

export const makeTargets = (parts: TargetParts): Targets => ({
  aws: MAKERS.aws(parts),
  azure: MAKERS.azure(parts),
  gcp: MAKERS.gcp(parts),
  token: MAKERS.token(parts),
})

/** Milliseconds that each target has, retries included. */
const LIMIT = 10_000

type Order = Omit<MintOrder, 'signal'>

/**
 * Every target of every order, side by side, each within `limit` ms: all, or the first refusal. Waits for
 * the others even when one has failed, so that the audit knows what each cloud has made.
 */
export const mintAllWith =
  (targets: Targets, limit = LIMIT): MintAll =>
  async (orders) => {
    const minting = orders.map(async (order) => ({
      order,
      outcomes: await Promise.all(asked(order).map((name) => mintOne(targets, name, order, limit))),
    }))
    return allOrNone(await Promise.all(minting))
  }

interface Done {
  readonly order: Order
  readonly outcomes: readonly MintOutcome[]
}

const asked = ({ grant }: Order): readonly TargetName[] =>
  TARGET_NAMES.filter((name) => grant.targets[name] !== undefined)

const allOrNone = (done: readonly Done[]): MintedAll => {
  const outcomes = done.flatMap((each) => each.outcomes)
  for (const { result } of outcomes) if (!result.ok) return { ok: false, refusal: result, outcomes }
  return { ok: true, grants: done.map(mintedGrant), outcomes }
}

const mintedGrant = ({ order, outcomes }: Done): MintedGrant => {
  let replies: SealedReplies = {}
  let expiresAt = order.expiresAt
  for (const { target, result } of outcomes) {
    if (!result.ok) continue
    replies = { ...replies, [target]: result.reply }
    expiresAt = Math.min(expiresAt, result.expiresAt)
  }
  return { grant: order.grant.name, sessionId: order.sessionId, replies, expiresAt }
}

const mintOne = async <Name extends TargetName>(
  targets: Pick<Targets, Name>,
  target: Name,
  order: Order,
  limit: number,
): Promise<MintOutcome> => {
  const signal = AbortSignal.timeout(limit)
  const mint = async () => {
    const spec = order.grant.targets[target]
    if (spec === undefined) throw new Error('not a target of this grant')
    return targets[target].mint(spec, { ...order, signal })
  }
  const result = await within(signal, mint()).then(
    (minted) => minted ?? unavailable(target, 'Timeout', 'the target did not answer in time'),
    (error: unknown) => unavailable(target, 'TargetBroken', described(error)),
  )
  return { grant: order.grant.name, sessionId: order.sessionId, target, result }
}

const unavailable = (target: TargetName, about: string, cause: string): MintRefusal => ({
  ok: false,
  code: 'target_unavailable',
  target,
  about,
  cause,
})
