import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { principalOf, readClaims } from '../../server/identity/claims.ts'
import {
  DIALECTS,
  defines,
  withoutJobClaim,
  type Dialect,
  type DialectName,
} from '../../server/identity/dialects.ts'
import { makeJob, type JobOptions } from '../world/job.ts'

const rows = Object.entries(DIALECTS) as [DialectName, Dialect][]
const SERVER: Dialect = DIALECTS['github-enterprise-server']

const JKT = 'SBPFGo8bPOMBkZU7zYDmpp9dJyIuyVnbLI4jJQFS7NE'

const claimsOf = (options: JobOptions = {}) =>
  makeJob(options, { run: 1, check: 1 }, 'http://127.0.0.1').claims

/** The job key, or the code of the refusal and what it is about. */
const jobOf = (
  dialect: Dialect,
  options: JobOptions = {},
  { jkt = JKT, issuer = 'ci' }: { jkt?: string | null; issuer?: string } = {},
): string => {
  const result = principalOf(claimsOf(options), {
    issuer,
    dialect,
    jti: 'j',
    kid: 'k',
    tokenHash: 'h',
    replayableUntil: 0,
    jkt,
    proofJti: null,
  })
  return result.ok ? result.value.job : `${result.code} ${result.about ?? ''}`.trim()
}

const AGE: JobOptions = { runId: '7', runAttempt: '1', checkRunId: '51725241954' }

const documented = readFileSync(join(import.meta.dirname, '../../docs/github.md'), 'utf8')

describe.each(rows)('the row %s', (name, dialect) => {
  it('stands in docs/github.md, with its key, its issuer and its keys', () => {
    const key = Object.keys(dialect.parameters).map((each) => `\`${each}\``)
    const cells = [`\`${name}\``, key.join(), `\`${dialect.issuer}\``, `\`${dialect.jwks}\``]
    expect(documented).toContain(`| ${cells.join(' | ')} |`.replace('|  |', '| |'))
  })

  it('demands the claims that docs/github.md says, and no others', () => {
    const [, said = ''] = /## Claims that must be there\n\n([^|]*?)\n\n/.exec(documented) ?? []
    const names = [...said.matchAll(/`(\w+)`/g)].map((match) => match[1])
    const demanded = [...dialect.registered, ...dialect.mandatory]
    expect(names.filter((each) => each !== 'token_claim_missing').sort()).toEqual(demanded.sort())
  })

  it.each(['mandatory', 'literal', 'ids', 'templates', 'run', 'workflows'] as const)(
    'names in `%s` only claims that it defines',
    (list) => {
      expect(dialect[list].filter((name) => !defines(dialect, name))).toEqual([])
    },
  )

  it('names nothing that it does not define', () => {
    const { repositoryId, repository, repositoryVisibility, ownerId, actorId } = dialect
    const named = [repositoryId, repository, repositoryVisibility, ownerId, actorId]
    const others = [dialect.ref, dialect.environment, dialect.job, dialect.event]
    expect([...named, ...others].filter((name) => !defines(dialect, name))).toEqual([])
  })

  it('lets nothing without ids and the facts of the run in', () => {
    for (const name of dialect.mandatory) {
      expect(readClaims({ ...claimsOf(), [name]: undefined }, dialect).ok).toBe(false)
      expect(jobOf(dialect, { claims: { [name]: undefined } })).toBe(`token_claim_missing ${name}`)
    }
  })

  it('has no wildcard for an id, an event or what GitHub counts', () => {
    const fixed = [...dialect.ids, ...dialect.run, dialect.event, 'runner_environment', 'sha']
    expect(fixed.filter((name) => !dialect.literal.includes(name))).toEqual([])
  })

  it('fills every place of its URLs, and asks for nothing else', () => {
    const places = [...`${dialect.issuer} ${dialect.jwks}`.matchAll(/\{(\w+)\}/g)]
    const named = new Set(places.map((match) => match[1]))
    expect([...named]).toEqual(Object.keys(dialect.parameters))
  })

  it('refuses a token without its job, unless an operator may say otherwise', () => {
    expect(jobOf(dialect, { ...AGE, checkRunId: null })).toBe('no_job_identity')
    if (!dialect.mayLackJob) expect(() => withoutJobClaim(dialect)).toThrow(/always name the job/)
  })

  it.each(['immutable', 'legacy'] as const)('takes a sub in the %s format', (subject) => {
    const claims = readClaims(claimsOf({ subject }), dialect)
    expect(claims).toMatchObject({ ok: true, value: { repository_id: '99120' } })
    expect(jobOf(dialect, { ...AGE, subject })).toBe('ci/99120/7/1/51725241954')
  })

  it('gives equal ids of another issuer another job', () => {
    expect(jobOf(dialect, AGE, { issuer: 'other' })).toBe('other/99120/7/1/51725241954')
  })
})

describe('only a server of our own', () => {
  it('may lack the job', () => {
    expect(rows.filter(([, { mayLackJob }]) => mayLackJob).map(([name]) => name)).toEqual([
      'github-enterprise-server',
    ])
  })

  it.each(['environment_node_id', 'issuer_scope', 'repo_property_tier'])(
    'has no claim %s, so that no policy can lean on it',
    (name) => {
      const defining = rows.filter(([, dialect]) => defines(dialect, name)).map(([row]) => row)
      expect(defining).toHaveLength(rows.length - 1)
      expect(defining).not.toContain('github-enterprise-server')
      const claims = readClaims(claimsOf({ claims: { [name]: 'x' } }), SERVER)
      expect(claims.ok && Object.hasOwn(claims.value, name)).toBe(false)
    },
  )

  it.each(['runner_environment', 'workflow_ref'])('older than 3.9 lacks %s: refused', (name) => {
    expect(jobOf(SERVER, { claims: { [name]: undefined } })).toBe(`token_claim_missing ${name}`)
  })
})

describe('a server without check_run_id that was told so', () => {
  const told = withoutJobClaim(SERVER)
  const job: JobOptions = { ...AGE, checkRunId: null }

  it('names the job by the key that it proved', () => {
    expect(jobOf(told, job)).toBe(`ci/99120/7/1/jkt:${JKT}`)
  })

  it('names no job without one', () => {
    expect(jobOf(told, job, { jkt: null })).toBe('no_job_identity')
  })

  it('names the job by check_run_id as soon as it is sent', () => {
    expect(jobOf(told, AGE)).toBe('ci/99120/7/1/51725241954')
  })

  it.each(['', 'jkt:x', '0', '1/2'])('takes no check_run_id %j for one', (checkRunId) => {
    const expected =
      checkRunId === '' ? `ci/99120/7/1/jkt:${JKT}` : 'token_claim_invalid check_run_id'
    expect(jobOf(told, { ...AGE, checkRunId })).toBe(expected)
  })

  it('still needs everything else', () => {
    const claims = { run_attempt: undefined }
    expect(jobOf(told, { ...job, claims })).toBe('token_claim_missing run_attempt')
  })
})
