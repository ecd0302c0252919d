import type { Code } from '../api.ts'

interface Row {
  readonly status: number
  /** One public sentence; `{about}` is replaced by the refusal's `about`, or by the words after `|`. */
  readonly detail: string
  /** How to mend it. */
  readonly hint: string
}

/** Every code with its status and its public words. README's code table is tested against this one. */
export const ERRORS = {
  not_found: {
    status: 404,
    detail: 'There is no such endpoint.',
    hint: 'Check the url: the action takes the address of the broker without a path.',
  },
  method_not_allowed: {
    status: 405,
    detail: 'This endpoint does not take that method.',
    hint: 'Use POST /v1/sessions to ask and DELETE /v1/sessions/:id to end.',
  },
  content_type_unsupported: {
    status: 415,
    detail: 'The body must be sent as application/json.',
    hint: 'Send Content-Type: application/json, and no content encoding.',
  },
  request_too_large: {
    status: 413,
    detail: 'The body is larger than 64 KiB.',
    hint: 'A request names grants and nothing else; send less.',
  },
  headers_too_large: {
    status: 431,
    detail: 'The headers are larger than 24 KiB.',
    hint: 'Send the identity token and the proof once each, and no cookies.',
  },
  request_timeout: {
    status: 408,
    detail: 'The request did not arrive in time.',
    hint: 'Send it again; if it keeps happening, look at the network between runner and broker.',
  },
  request_malformed: {
    status: 400,
    detail: 'The request could not be read: {about|it is not well-formed HTTP or JSON}.',
    hint: 'Send one JSON object in UTF-8 without duplicate keys, such as {"grants":["payments-deploy"]}.',
  },
  request_invalid: {
    status: 400,
    detail:
      'The request has a member that is unknown, missing or of the wrong type: {about|see the hint}.',
    hint: 'Send {"grants":[1 to 10 grant names],"ttl":seconds?,"delivery":"credentials"?} and nothing else.',
  },
  delivery_unsupported: {
    status: 400,
    detail:
      'This broker hands out credentials directly; live delivery is not part of this version.',
    hint: 'Leave out "delivery", or ask for "credentials".',
  },
  authorization_missing: {
    status: 401,
    detail: 'The request carries no Authorization header.',
    hint: 'Send the job\'s identity token as "Authorization: DPoP <token>" with a DPoP header.',
  },
  authorization_malformed: {
    status: 400,
    detail:
      'The Authorization or DPoP header is repeated or is not of a form that this endpoint takes.',
    hint: 'Send exactly one "Authorization: DPoP <token>" and one "DPoP: <proof>" header.',
  },
  token_too_large: {
    status: 400,
    detail: 'The identity token is larger than 16 KiB.',
    hint: 'Send the token exactly as the CI system issued it.',
  },
  token_malformed: {
    status: 401,
    detail: 'The identity token is not a well-formed JWT of the expected kind.',
    hint: 'Send the token exactly as the CI system issued it, without quotes or line breaks.',
  },
  token_algorithm_refused: {
    status: 401,
    detail: 'The identity token is not signed with RS256.',
    hint: 'Only tokens of a configured CI issuer are accepted.',
  },
  token_issuer_unknown: {
    status: 401,
    detail: 'The identity token comes from an issuer that this broker does not know.',
    hint: 'Ask the operator to add the issuer under "issuers" in tvm.yaml, or use the broker of your company.',
  },
  token_key_unknown: {
    status: 401,
    detail: 'The identity token names a signing key that its issuer does not publish.',
    hint: 'Ask for a new identity token and try again.',
  },
  token_signature_invalid: {
    status: 401,
    detail: 'The signature of the identity token does not hold.',
    hint: 'Send the token exactly as the CI system issued it.',
  },
  token_audience_refused: {
    status: 401,
    detail: 'The identity token was made for another audience than this broker.',
    hint: "Ask for the token with the audience that the broker expects: its public URL, then /jkt/ and the thumbprint of your key. Check that the url input is exactly the broker's public URL.",
  },
  token_expired: {
    status: 401,
    detail: 'The identity token has expired.',
    hint: 'Ask for a new identity token for each request; check the clock of a self-hosted runner.',
  },
  token_not_yet_valid: {
    status: 401,
    detail: 'The identity token is not valid yet.',
    hint: 'Check the clocks of the issuer, the runner and the broker.',
  },
  token_too_old: {
    status: 401,
    detail: 'The identity token was issued longer ago than this broker accepts.',
    hint: 'Ask for a new identity token for each request.',
  },
  token_claim_missing: {
    status: 401,
    detail:
      'The identity token lacks a claim that this broker needs: {about|one of the mandatory claims}.',
    hint: 'Tokens of this issuer always carry it; an old self-hosted server may need an upgrade.',
  },
  token_claim_invalid: {
    status: 401,
    detail:
      'A claim of the identity token is not of its documented form: {about|one of the claims}.',
    hint: 'Claims are strings of at most 1 KiB without control characters; ids are digits.',
  },
  token_replayed: {
    status: 409,
    detail: 'This identity token was already used; each one is good for one request.',
    hint: 'Ask for a new identity token for each request. If your job did not use it before, tell your security team: somebody else did.',
  },
  no_job_identity: {
    status: 403,
    detail: 'The identity token does not say which job it belongs to.',
    hint: 'GitHub sends check_run_id since November 2025; for a GitHub Enterprise Server that does not, the operator can set job_key: run, and the job must use proof of possession.',
  },
  proof_missing: {
    status: 401,
    detail: 'The identity token came without a proof that the caller holds its key.',
    hint: 'Use the action, or send a DPoP proof (RFC 9449) with a token whose audience ends in /jkt/<thumbprint>.',
  },
  proof_malformed: {
    status: 401,
    detail: 'The DPoP proof is not well formed.',
    hint: 'Send a dpop+jwt signed with ES256 whose header carries the public key as jwk.',
  },
  proof_invalid: {
    status: 401,
    detail:
      'The DPoP proof does not fit this request: {about|its signature, method, address or token hash}.',
    hint: 'Make a new proof for each request: htm POST, htu the public URL plus path, ath the hash of this token.',
  },
  proof_stale: {
    status: 401,
    detail: 'The DPoP proof was not made within a minute of now.',
    hint: 'Make a new proof for each request; check the clock of a self-hosted runner.',
  },
  proof_key_mismatch: {
    status: 401,
    detail: 'The DPoP proof was made with another key than the identity token names.',
    hint: 'Ask for the token with the thumbprint of the key that makes the proof.',
  },
  proof_replayed: {
    status: 409,
    detail: 'This DPoP proof was already used; each one is good for one request.',
    hint: 'Make a new proof for each request.',
  },
  owner_unknown: {
    status: 403,
    detail: 'No policy of this broker names the owner of this repository.',
    hint: "Check the url input. If this is your company's broker, add a grant for this repository to its policy repository.",
  },
  rate_limited: {
    status: 429,
    detail: 'There were too many requests: {about|from this address}.',
    hint: 'Wait for the time in Retry-After, then try again.',
  },
  locked: {
    status: 403,
    detail: 'An operator has stopped this.',
    hint: 'Ask the operators of the broker, with the decision id.',
  },
  grant_refused: {
    status: 403,
    detail: 'There is no such grant for this job.',
    hint: 'Compare the claims of this job with the policy; a grant is added or changed by a pull request to the policy repository.',
  },
  ttl_refused: {
    status: 400,
    detail: 'The grant does not allow credentials that live that long.',
    hint: 'Leave the duration out, or ask for less.',
  },
  template_value_refused: {
    status: 403,
    detail:
      'A claim that the policy puts into a session policy is absent or holds characters that it may not hold: {about|one of the claims}.',
    hint: 'Only A-Z a-z 0-9 . _ @ / = + : - may stand there; rename the branch or environment, or change the policy.',
  },
  address_unpinnable: {
    status: 403,
    detail:
      "The grant pins credentials to the runner's address, and the broker sees none that AWS would see.",
    hint: 'Reach the broker over the public internet, or have the operator set trusted_proxies, or list CIDR blocks in pin_source_ip.',
  },
  session_bound: {
    status: 409,
    detail: 'This job already holds this grant, with another key.',
    hint: 'Use one key for the whole job, as the action does. If nothing in your job asked before, tell your security team.',
  },
  session_exhausted: {
    status: 403,
    detail: 'This job has held this grant for as long as the policy allows.',
    hint: 'Raise "session" of the grant, or split the job.',
  },
  session_token_invalid: {
    status: 401,
    detail: 'There is no session with this id and token.',
    hint: 'A session is ended with the token that came with it; a renewal brings a new one.',
  },
  withheld: {
    status: 403,
    detail:
      'An operator stopped this, or the job ended it, while the credentials were being made; none were handed out.',
    hint: 'Ask the operators of the broker, with the decision id.',
  },
  target_refused: {
    status: 502,
    detail: 'The policy allows this, but the cloud refused it: {about|without a code}.',
    hint: 'Check the trust policy of the role against the documentation of the grant, and that it exists; nothing was handed out.',
  },
  target_unavailable: {
    status: 502,
    detail:
      'The policy allows this, but the cloud did not answer usefully in time: {about|no answer}.',
    hint: 'Try again later; nothing was handed out.',
  },
  issuer_keys_unavailable: {
    status: 503,
    detail: "The signing keys of the token's issuer cannot be fetched at the moment.",
    hint: 'Try again later.',
  },
  policy_unavailable: {
    status: 503,
    detail: 'The broker has no policies that are fresh enough to decide with.',
    hint: 'Try again later; operators find the reason at /readyz.',
  },
  store_unavailable: {
    status: 503,
    detail: 'The broker cannot record what it does at the moment, so it does nothing.',
    hint: 'Try again later; operators find the reason at /readyz.',
  },
  signer_unavailable: {
    status: 503,
    detail: 'The broker cannot sign at the moment.',
    hint: 'Try again later; operators find the reason at /readyz.',
  },
  internal_error: {
    status: 500,
    detail: 'The broker failed in a way that it should not.',
    hint: 'Tell the operators of the broker the request id.',
  },
} as const satisfies Record<Code, Row>
