import { GcpError, json, type Answer } from './answer.ts'
import type { State, Token } from './project.ts'
import { nameOf, permits } from './roles.ts'
import { handOut, isAlive, SCOPE, type About } from './sts.ts'

/** The IAM Service Account Credentials API: `generateAccessToken`, of a direct request. */

/** Seconds; no organization policy of this cloud allows more. */
const LONGEST = 3600
const SUFFICIENT = ['cloud-platform', 'iam'].map(
  (name) => `https://www.googleapis.com/auth/${name}`,
)

export interface IamCall {
  readonly state: State
  /** Milliseconds. */
  readonly now: number
  readonly about: About
}

/** `name` is `projects/-/serviceAccounts/<e-mail address>`. Throws GcpError, with a google.rpc.Code. */
export function generateAccessToken(
  name: string,
  request: { readonly authorization: string | undefined; readonly body: string },
  { state, now, about }: IamCall,
): Answer {
  const caller = authenticate(request.authorization, state, now)
  about['principal'] = nameOf(state.number, caller.identity)
  const email = /^projects\/-\/serviceAccounts\/([^/]+)$/.exec(name)?.[1]
  if (email === undefined) throw invalid('Invalid form of account ID')
  about['account'] = email
  const { scopes, seconds } = readBody(request.body)
  if (caller.boundary !== null || !caller.scopes.some((scope) => SUFFICIENT.includes(scope))) {
    throw new GcpError(
      'PERMISSION_DENIED',
      'Request had insufficient authentication scopes.',
      'ACCESS_TOKEN_SCOPE_INSUFFICIENT',
    )
  }
  const account = state.accounts.get(email)
  const may = 'iam.serviceAccounts.getAccessToken'
  const asking = { number: state.number, identity: caller.identity }
  if (account === undefined || !permits(account.policy, asking, may)) {
    throw new GcpError(
      'PERMISSION_DENIED',
      `Permission '${may}' denied on resource (or it may not exist).`,
      account === undefined ? 'there is no such account' : 'no binding',
    )
  }
  if (account.disabled) {
    throw new GcpError('FAILED_PRECONDITION', 'The service account is disabled.')
  }
  about['lifetime'] = `${seconds}s`
  about['scope'] = scopes.join(' ')
  // The answer tells whole seconds, so the token ends with one.
  const expiresAt = Math.floor(now / 1000 + seconds) * 1000
  const identity = { kind: 'account', account } as const
  const accessToken = handOut(state, 'c', { identity, scopes, expiresAt, boundary: null })
  return json(200, {
    accessToken,
    expireTime: new Date(expiresAt).toISOString().replace('.000Z', 'Z'),
  })
}

/** Who a request comes from. Throws GcpError `UNAUTHENTICATED`. */
export function authenticate(
  authorization: string | undefined,
  { tokens }: State,
  now: number,
): Token {
  const text = /^Bearer ([\w.-]+)$/.exec(authorization ?? '')?.[1]
  const token = text === undefined ? undefined : tokens.get(text)
  if (token !== undefined && isAlive(token, now)) return token
  throw new GcpError(
    'UNAUTHENTICATED',
    authorization === undefined
      ? 'Request is missing required authentication credential.'
      : 'Request had invalid authentication credentials.',
    token === undefined ? 'no token of this cloud' : 'expired or switched off',
  )
}

interface Wanted {
  readonly scopes: readonly string[]
  readonly seconds: number
}

function readBody(body: string): Wanted {
  const { scope, lifetime = '3600s', delegates = [], ...rest } = fields(body)
  const [unknown] = Object.keys(rest)
  if (unknown !== undefined) throw invalid('Invalid JSON payload received. Unknown name.')
  if (!Array.isArray(delegates) || delegates.length > 0) throw invalid('No delegates here.')
  if (!Array.isArray(scope) || scope.length === 0) throw invalid('At least one scope is required.')
  const scopes = (scope as unknown[]).filter((one) => typeof one === 'string' && SCOPE.test(one))
  if (scopes.length < scope.length) throw invalid('A scope is none of Google’s.')
  const seconds = Number(/^(\d{1,6})s$/.exec(typeof lifetime === 'string' ? lifetime : '')?.[1])
  if (!(seconds >= 1 && seconds <= LONGEST)) {
    throw invalid('Request contains an invalid argument.', `lifetime ${String(seconds)}`)
  }
  return { scopes: scopes as string[], seconds }
}

function fields(body: string): Readonly<Record<string, unknown>> {
  try {
    const value = JSON.parse(body) as unknown
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>
    }
  } catch {
    // Falls through: not JSON is no better than not an object.
  }
  throw invalid('Invalid JSON payload received.')
}

function invalid(message: string, why: string | null = null): GcpError {
  return new GcpError('INVALID_ARGUMENT', message, why)
}
