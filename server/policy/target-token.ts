import type { TokenGrant } from './grant.ts'
import type { Say } from './problem.ts'
import { invalid, readDuration, readFields, readString, readTexts } from './read.ts'
import type { Node } from './yaml.ts'

const KEYS = { required: ['audience', 'scope'], optional: ['ttl'] }

/** RFC 6749 section 3.3 */
export const SCOPE = {
  pattern: /^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/,
  hint: 'a scope of RFC 6749: printable ASCII without space, quote and backslash',
}
const MAX_SCOPES = 32

export interface TokenScope {
  /** What the operator's configuration lets tokens be made for. */
  readonly audiences: readonly string[]
  /** Seconds: the grant's. */
  readonly ttl: number
  readonly say: Say
}

/** The `token` section. */
export const readToken = (node: Node, { audiences, ttl, say }: TokenScope): TokenGrant | null => {
  const fields = readFields(node, 'token', KEYS, say)
  if (fields === null) return null
  const [audience, scope, own] = ['audience', 'scope', 'ttl'].map(fields.get)
  return {
    audience: audience ? readAudience(audience, audiences, say) : '',
    scope: scope ? readScope(scope, say) : [],
    ttl: own ? readOwnTtl(own, ttl, say) : ttl,
  }
}

const readAudience = (node: Node, audiences: readonly string[], say: Say): string => {
  const text = readString(node, 'audience', say)?.text ?? ''
  if (!audiences.includes(text))
    say(
      invalid(
        node.at,
        'the operator lets no token be made for this audience',
        'the audiences are the configuration’s token_audiences, letter for letter',
      ),
    )
  return text
}

const readScope = (node: Node, say: Say): readonly string[] => {
  const scopes = readTexts(node, 'scope', SCOPE, say) ?? []
  if (scopes.length > MAX_SCOPES) say(invalid(node.at, 'too many scopes', `at most ${MAX_SCOPES}`))
  return scopes
}

const readOwnTtl = (node: Node, cap: number, say: Say): number =>
  readDuration(node, "the token's ttl", cap, say) ?? cap
