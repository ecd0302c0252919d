import { describe, expect, it } from 'vitest'
import {
  admit,
  admitOwner,
  buckets,
  commitRefusal,
  DEFAULT_LIMITS,
  lockSubjects,
  onceValues,
  parseLockSubject,
} from '../../server/session/admit.ts'
import type { Lock, Looked } from '../../server/session/store.ts'
import { MINUTE, NOW, principal } from './rows.ts'

const nothing: Looked = { locks: [], full: [], used: [], sessions: [] }

const lock = (subject: string): Lock => ({
  id: 'lck_01J00000000000000000000001',
  subject,
  reason: 'a leak in the night',
  createdAt: NOW,
  expiresAt: null,
})

describe('step 3', () => {
  it.each([
    ['an owner that no grant names', ['github/1']],
    ['the same number at another issuer', ['ghes/8841']],
    ['no owner at all', []],
  ])('refuses %s', (_, owners) => {
    expect(admitOwner(new Set(owners), principal())).toMatchObject({ code: 'owner_unknown' })
  })

  it('lets an owner on that a grant names', () => {
    expect(admitOwner(new Set(['github/8841']), principal()).ok).toBe(true)
  })
})

describe('steps 4 to 6', () => {
  const used = onceValues(principal()).map(({ key }) => key)
  const full = ['repository:github:99120', 'job:github/99120/17/1/555']

  it.each<[string, Partial<Looked>, string, string | undefined]>([
    ['a lock', { locks: [lock('actor:github:4242')] }, 'locked', 'actor'],
    ['a full bucket', { full }, 'rate_limited', 'repository'],
    ['a used token', { used }, 'token_replayed', undefined],
    ['a used proof', { used: used.slice(1) }, 'proof_replayed', undefined],
    ['a lock before a full bucket', { locks: [lock('all')], full, used }, 'locked', 'all'],
    ['a full bucket before a replay', { full, used }, 'rate_limited', 'repository'],
  ])('refuse %s', (_, found, code, about) => {
    const result = admit({ ...nothing, ...found })
    expect(result).toMatchObject({ ok: false, code })
    expect('about' in result ? result.about : undefined).toBe(about)
  })

  it('tell the caller neither who locked nor why', () => {
    const { cause, ...shown } = { cause: '', ...admit({ ...nothing, locks: [lock('all')] }) }
    expect(cause).toContain('lck_')
    expect(JSON.stringify(shown)).not.toMatch(/leak|lck_/)
  })

  it('let on where nothing was found', () => {
    expect(admit(nothing).ok).toBe(true)
  })
})

describe('a commit that was not done', () => {
  const [token = '', proof = ''] = onceValues(principal()).map(({ key }) => key)

  it.each([
    ['replayed', [token, proof], 'token_replayed'],
    ['replayed', [proof], 'proof_replayed'],
    ['limited', ['job:x'], 'rate_limited'],
    ['raced', ['ses_1'], 'session_bound'],
    ['withheld', ['grant:deploy'], 'withheld'],
  ] as const)('%s of %j is %s', (because, keys, code) => {
    expect(commitRefusal({ done: false, because, keys })).toMatchObject({ ok: false, code })
  })
})

describe('what a lock may name', () => {
  const subjects = lockSubjects(principal(), ['deploy', 'read'], ['ses_01J00000000000000000000001'])

  it('is everything about an exchange that an operator can know', () => {
    expect(subjects).toEqual([
      'all',
      'issuer:github',
      'key:github:key-1',
      'owner:github:8841',
      'repository:github:99120',
      'workflow:github:octo-org/octo-repo/.github/workflows/deploy.yml',
      'workflow:github:octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main',
      'workflow:github:octo-org/shared/.github/workflows/release.yml',
      'workflow:github:octo-org/shared/.github/workflows/release.yml@refs/tags/v1',
      'actor:github:4242',
      'grant:deploy',
      'grant:read',
      'job:github/99120/17/1/555',
      'session:ses_01J00000000000000000000001',
    ])
  })

  it('all of which an operator can write', () => {
    for (const subject of subjects)
      expect(parseLockSubject(subject)).toEqual({ ok: true, value: subject })
  })

  it.each([
    ['in its file name', 'o/r/.github/workflows/a@b.yml', 'refs/heads/main'],
    ['in its ref', 'o/r/.github/workflows/a.yml', 'refs/heads/a@b'],
    ['in both', 'o/r/.github/workflows/a@b.yaml', 'refs/heads/x@y@z'],
  ])('a workflow is locked whatever its ref, with an @ %s', (_, path, ref) => {
    const claims = { workflow_ref: `${path}@${ref}` }
    expect(lockSubjects(principal({ claims }), [])).toContain(`workflow:github:${path}`)
  })

  it('a claim that is not there names nothing', () => {
    const named = lockSubjects(principal({ claims: {} }), [])
    expect(named.filter((subject) => /undefined|workflow|actor/.test(subject))).toEqual([])
  })

  it.each([
    '',
    'all:',
    'all:x',
    'everything',
    'toString:x',
    'issuer:',
    'issuer:GitHub',
    'key:github',
    'owner:8841',
    'owner:github:0',
    'owner:github:octo-org',
    'repository:github:099120',
    'repository:github:99120 ',
    'workflow:github:deploy.yml',
    'workflow:github:octo-org/octo-repo/a b.yml',
    'actor:github:octocat',
    'grant:Deploy',
    'grant:deploy:x',
    'job:555',
    'session:dec_01J00000000000000000000001',
    'session:ses_1',
    'all\n',
  ])('%j is refused, for it could never hold', (text) => {
    expect(parseLockSubject(text)).toMatchObject({ ok: false, code: 'request_invalid' })
  })
})

describe('one-time values', () => {
  const keys = (changes: Parameters<typeof principal>[0]) =>
    onceValues(principal(changes)).map(({ key }) => key)

  it.each([
    ['another issuer', { issuer: 'ghes' }, 0],
    ['another jti', { jti: 'token-2' }, 0],
    ['another key', { jkt: 'second' }, 1],
    ['another proof', { proofJti: 'proof-2' }, 1],
  ])('differ by %s', (_, changes, place) => {
    const [own, other] = [keys({}), keys(changes)]
    expect(own.map((key, at) => key === other[at])).toEqual([place !== 0, place !== 1])
  })

  it('are the token alone where nothing was proved', () => {
    expect(keys({ jkt: null, proofJti: null })).toEqual(keys({}).slice(0, 1))
  })

  it('have one size, whoever wrote the jti', () => {
    const long = keys({ proofJti: 'x'.repeat(4000), jti: '\u0000:\n' })
    expect(long.map((key) => key.length)).toEqual(keys({}).map((key) => key.length))
    expect(long.join('')).toMatch(/^[\w:-]+$/)
  })

  it('are remembered for longer than they can be shown', () => {
    const { replayableUntil } = principal()
    expect(onceValues(principal()).map(({ until }) => until - replayableUntil)).toEqual([
      MINUTE,
      MINUTE,
    ])
  })
})

describe('buckets', () => {
  it('are fixed windows per issuer, owner, repository and job', () => {
    const at = NOW + 61_234
    expect(buckets(principal(), DEFAULT_LIMITS, at)).toEqual([
      { key: 'issuer:github', limit: 12_000, start: NOW + MINUTE, length: MINUTE },
      { key: 'owner:github:8841', limit: 3_000, start: NOW + MINUTE, length: MINUTE },
      { key: 'repository:github:99120', limit: 600, start: NOW + MINUTE, length: MINUTE },
      { key: 'job:github/99120/17/1/555', limit: 20, start: NOW + MINUTE, length: MINUTE },
    ])
  })
})
