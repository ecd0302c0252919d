import type { ExplainedBlock, ExplainedGrant, ExplainedLine } from '../api.ts'
import type { Principal } from '../identity/principal.ts'
import type { Block, BlockTrace, Decision, LineTrace } from './grant.ts'
import { claimOf } from './hold.ts'
import { formatPlace } from './problem.ts'

/**
 * What the caller may see of a decision: only blocks that speak of its own repository (or, where a block pins none, of
 * its owner); of those, in a public repository, only the names of the claims that failed. Never a deny line. A grant
 * that does not exist and one of which nothing may be shown give the same.
 */
export const explainForCaller = (decision: Decision, principal: Principal): ExplainedGrant => ({
  grant: decision.name,
  blocks: decision.blocks
    .filter((trace) => speaksOfCaller(trace, decision, principal))
    .map(isPrivate(principal) ? openly : discreetly)
    .filter(({ lines }) => lines.length > 0),
})

const speaksOfCaller = (
  trace: BlockTrace,
  { grant }: Decision,
  { dialect }: Principal,
): boolean => {
  const block = grant?.allow.find(({ at }) => at === trace.at)
  if (block === undefined) return false
  const pin = pins(block, dialect.repositoryId) ? dialect.repositoryId : dialect.ownerId
  return pins(block, pin) && trace.lines.some(({ claim, held }) => claim === pin && held)
}

/** A `not` holds for strangers too: it pins nothing. */
const pins = (block: Block, claim: string): boolean =>
  block.lines.some((line) => line.claim === claim && line.test.is === 'any_of')

/** Whoever reads the log of a public repository reads the answer: an unknown visibility counts as public. */
const isPrivate = ({ claims, dialect }: Principal): boolean =>
  ['private', 'internal'].includes(claimOf(claims, dialect.repositoryVisibility) ?? '')

const openly = ({ at, lines }: BlockTrace): ExplainedBlock => ({
  at: formatPlace(at),
  lines: lines.map((line) => ({ ...named(line), wanted: line.wanted })),
})

const discreetly = ({ lines }: BlockTrace): ExplainedBlock => ({
  lines: lines.filter(({ held }) => !held).map(named),
})

const named = ({ claim, held, got }: LineTrace): ExplainedLine => ({ claim, held, got })

export type Json =
  string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }

/** A record must not grow with the policy: the claims and the revision are enough to decide again in full. */
const BLOCKS_TOLD = 5
const WANTED_TOLD = 256

/** For whoever runs the broker: found by decision id in the audit. Of the blocks, those that came nearest. */
export const explainForOperator = (decision: Decision): Readonly<Record<string, Json>> => ({
  verdict: decision.verdict,
  reason: decision.reason,
  missing: decision.missing,
  grant: decision.name,
  owner: decision.grant?.owner ?? null,
  issuer: decision.grant?.issuer ?? null,
  at: decision.grant === null ? null : formatPlace(decision.grant.at),
  blocks: decision.blocks.slice(0, BLOCKS_TOLD).map(inFull),
  blocks_in_all: decision.blocks.length,
  denies: decision.denies.slice(0, BLOCKS_TOLD).map(inFull),
  denies_in_all: decision.denies.length,
  guardrails: decision.guardrails,
  ttl: decision.ttl,
  revision: decision.revision,
})

const inFull = ({ at, held, lines }: BlockTrace): Json => ({
  at: formatPlace(at),
  held,
  lines: lines.map((line) => ({
    claim: line.claim,
    wanted: line.wanted.slice(0, WANTED_TOLD),
    got: line.got,
    held: line.held,
    at: formatPlace(line.at),
  })),
})
