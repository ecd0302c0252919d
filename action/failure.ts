/**
 * Every way in which the step can end without an answer of the broker, with how to mend it. The broker's own
 * codes stand in server/api.ts; the two sets share no name, so `error-code` says which side spoke.
 */
export const FAILURES = {
  input_invalid: 'Correct the inputs of this step; action.yml describes each of them.',
  not_on_a_runner:
    'Run this action in a job of GitHub Actions; ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN can point at a local issuer for trials.',
  no_id_token_act:
    'nektos/act has no OIDC issuer. Run the job on GitHub, or set ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN to a local issuer that the broker trusts.',
  no_id_token_fork:
    'GitHub gives no ID token to pull requests from forks, whatever the workflow asks for. Do what needs credentials after the merge (on: push), or skip this step for forks: if: github.event.pull_request.head.repo.full_name == github.repository',
  no_id_token_dependabot:
    "Runs that Dependabot starts get a read-only token. Skip this step for them (if: github.actor != 'dependabot[bot]'), or name the permission in this very job:",
  no_id_token_permission: 'Add the permission to this job:',
  id_token_refused:
    'Check that the job has the permission id-token: write and is still running; GitHub says no to finished and cancelled jobs.',
  id_token_unavailable:
    "GitHub's ID token endpoint did not answer usefully. Run the job again; githubstatus.com tells of outages.",
  id_token_malformed:
    'What came is not an ID token. Check that nothing in the job overwrites ACTIONS_ID_TOKEN_REQUEST_URL.',
  runner_temp_unusable:
    'The action keeps its files in RUNNER_TEMP and nowhere else. Give the runner a temporary folder that it can write to, outside the workspace.',
  job_key_unusable:
    'The key that an earlier use of the action left in RUNNER_TEMP is not as it was left. Empty the temporary folder of the runner and run the job again.',
  broker_unreachable:
    'Check the url input and that the runner can reach the broker (DNS, firewall, proxy).',
  broker_timeout:
    'Check that the runner can reach the broker, or raise timeout-seconds. Asking again is safe: the job keeps its key, so the same session is renewed.',
  broker_certificate_refused:
    "The broker's certificate does not hold for this url. If a private CA signed it, give that CA in ca-certificate.",
  broker_reply_unexpected: 'Check that the url input is the address of the broker itself.',
  broker_reply_malformed:
    'Check that the url input is the address of the broker, and that broker and action are of versions that fit.',
  broker_reply_too_large: 'Check that the url input is the address of the broker itself.',
  target_conflict:
    'Two credentials of one kind would overwrite each other. Ask for one of these grants in this job, and for the other in another job.',
  target_unsupported: 'Use a newer version of this action.',
  export_failed: 'The credentials could not be handed to the job; the session was ended.',
  action_failed: 'This should not happen. Report it with the version of the action.',
} as const satisfies Record<string, string>

export type FailureCode = keyof typeof FAILURES

/** Ends the step. `message` and `hint` are for people: our own words, or text that passed `plain`. */
export class Failure extends Error {
  readonly code: FailureCode
  readonly hint: string

  constructor(code: FailureCode, message: string, hint: string = FAILURES[code]) {
    super(message)
    this.code = code
    this.hint = hint
  }
}
