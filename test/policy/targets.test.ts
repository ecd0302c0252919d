import { describe, expect, it } from 'vitest'
import { formatProblem } from '../../server/policy/problem.ts'
import { fileWith, load, ROLE } from './make.ts'

const single = (text: string) => load({ 'a.yaml': text })
const aws = (more: string, base = `role: '${ROLE}', region: eu-west-1`): string =>
  fileWith({ aws: `{${[base, more].filter((part) => part !== '').join(', ')}}` })
const role = (arn: string): string => aws('', `role: '${arn}', region: eu-west-1`)
const region = (name: string): string => aws('', `role: '${ROLE}', region: ${name}`)
const policy = (statement: string): string =>
  aws(`session_policy: {Version: "2012-10-17", Statement: [${statement}]}`)
const statement = (more: string): string =>
  policy(`{Effect: Allow, Action: "s3:GetObject", Resource: "*", ${more}}`)
const resource = (text: string): string =>
  policy(`{Effect: Allow, Action: "s3:GetObject", Resource: '${text}'}`)
const token = (text: string): string => fileWith({ aws: null, more: `token: {${text}}` })

const AUDIENCE = 'audience: https://risk.acme.internal'

describe('a target is refused for', () => {
  it.each<[string, string, string]>([
    ['an unknown key', 'key_unknown', aws('duration: 1h')],
    ['no role', 'key_missing', aws('', 'region: eu-west-1')],
    ['no region', 'key_missing', aws('', `role: '${ROLE}'`)],
    ['a user for a role', 'value_invalid', role('arn:aws:iam::111122223333:user/x')],
    ['an account of 11 digits', 'value_invalid', role('arn:aws:iam::11112222333:role/x')],
    ['a wildcard in the role', 'value_invalid', role('arn:aws:iam::111122223333:role/*')],
    [
      'a template in the role',
      'value_invalid',
      role('arn:aws:iam::111122223333:role/${claims.sha}'),
    ],
    ['a parent segment in the role', 'value_invalid', role('arn:aws:iam::111122223333:role/../x')],
    ['an empty segment in the role', 'value_invalid', role('arn:aws:iam::111122223333:role//x')],
    [
      'a newline behind the role',
      'yaml_malformed',
      aws('', `role: "${ROLE}\\r", region: eu-west-1`),
    ],
    ['a region that is a host', 'value_invalid', region('evil.example.com')],
    ['a region with a slash', 'value_invalid', region('eu-west-1/x')],
    ['a region with an at sign', 'value_invalid', region('"x@eu-west-1"')],
    ['a global region', 'value_invalid', region('aws-global')],
    [
      'empty managed policies that would bound nothing',
      'value_invalid',
      aws('managed_policies: []'),
    ],
    ['a managed policy that is a role', 'value_invalid', aws(`managed_policies: ['${ROLE}']`)],
    [
      'a managed policy of another account',
      'value_invalid',
      aws('managed_policies: ["arn:aws:iam::999988887777:policy/x"]'),
    ],
    [
      'a managed policy twice',
      'value_invalid',
      aws('managed_policies: ["arn:aws:iam::aws:policy/x", "arn:aws:iam::aws:policy/x"]'),
    ],
    [
      '11 managed policies',
      'value_invalid',
      aws(
        `managed_policies: [${Array.from({ length: 11 }, (_, i) => `"arn:aws:iam::aws:policy/x${i}"`).join(', ')}]`,
      ),
    ],
    ['a tag of the broker', 'value_invalid', aws('tags: {"tvm:grant": x}')],
    ['a tag of the broker in capitals', 'value_invalid', aws('tags: {"TVM:grant": x}')],
    ['a tag of AWS', 'value_invalid', aws('tags: {"aws:x": x}')],
    ['a tag that repeats another without case', 'value_invalid', aws('tags: {Team: a, team: b}')],
    ['a tag key outside the alphabet', 'value_invalid', aws('tags: {"te#am": a}')],
    ['a tag value outside the alphabet', 'value_invalid', aws('tags: {team: "a#b"}')],
    ['a tag value that is a number', 'value_invalid', aws('tags: {team: 7}')],
    ['a tag value of 257 characters', 'value_invalid', aws(`tags: {team: ${'a'.repeat(257)}}`)],
    [
      '39 tags',
      'value_invalid',
      aws(`tags: {${Array.from({ length: 39 }, (_, i) => `t${i}: a`).join(', ')}}`),
    ],
    ['empty tags', 'value_invalid', aws('tags: {}')],
    ['pinning to an address without block', 'value_invalid', aws('pin_source_ip: [203.0.113.7]')],
    ['pinning to everything', 'value_invalid', aws('pin_source_ip: [0.0.0.0/0]')],
    ['pinning to every IPv6 address', 'value_invalid', aws('pin_source_ip: ["::/0"]')],
    ['pinning to no address', 'value_invalid', aws('pin_source_ip: []')],
    ['an IPv4 block of /33', 'value_invalid', aws('pin_source_ip: [203.0.113.0/33]')],
    ['an IPv4 number over 255', 'value_invalid', aws('pin_source_ip: [203.0.256.0/24]')],
    ['a broken IPv6 block', 'value_invalid', aws('pin_source_ip: ["2001:db8:::/32"]')],
    ['pin_source_ip: "true"', 'value_invalid', aws('pin_source_ip: "true"')],
    ['chaining: sometimes', 'value_invalid', aws('chaining: sometimes')],
    // session policy
    [
      'a session policy without version',
      'key_missing',
      aws('session_policy: {Statement: [{Effect: Allow, Action: "*", Resource: "*"}]}'),
    ],
    [
      'a session policy of 2008',
      'value_invalid',
      aws(
        'session_policy: {Version: "2008-10-17", Statement: [{Effect: Allow, Action: "*", Resource: "*"}]}',
      ),
    ],
    [
      'an Id beside the statements',
      'key_unknown',
      aws(
        'session_policy: {Id: x, Version: "2012-10-17", Statement: [{Effect: Allow, Action: "*", Resource: "*"}]}',
      ),
    ],
    ['no statement', 'value_invalid', policy('')],
    ['a Principal', 'key_unknown', statement('Principal: "*"')],
    ['Effect: allow', 'value_invalid', policy('{Effect: allow, Action: "*", Resource: "*"}')],
    ['no Effect', 'key_missing', policy('{Action: "*", Resource: "*"}')],
    ['no Action', 'value_invalid', policy('{Effect: Allow, Resource: "*"}')],
    ['Action and NotAction', 'value_invalid', statement('NotAction: "s3:*"')],
    ['no Resource', 'value_invalid', policy('{Effect: Allow, Action: "*"}')],
    [
      'an empty list of actions',
      'value_invalid',
      policy('{Effect: Allow, Action: [], Resource: "*"}'),
    ],
    [
      'an action without service',
      'value_invalid',
      policy('{Effect: Allow, Action: GetObject, Resource: "*"}'),
    ],
    [
      'a template in an action',
      'value_invalid',
      policy("{Effect: Allow, Action: 's3:${claims.ref}', Resource: '*'}"),
    ],
    ['a template in a Sid', 'value_invalid', statement("Sid: '${claims.sha}'")],
    [
      'two statements of one Sid',
      'value_invalid',
      policy(
        '{Sid: A, Effect: Allow, Action: "*", Resource: "*"}, {Sid: A, Effect: Deny, Action: "*", Resource: "*"}',
      ),
    ],
    ['a resource that is no ARN', 'value_invalid', resource('bucket')],
    ['an empty resource', 'value_invalid', resource('')],
    ['a resource that is only a template', 'value_invalid', resource('${claims.ref}')],
    ['a template of a free claim', 'template_refused', resource('arn:aws:s3:::b/${claims.actor}')],
    ['a template of head_ref', 'template_refused', resource('arn:aws:s3:::b/${claims.head_ref}')],
    ['a template of __proto__', 'template_refused', resource('arn:aws:s3:::b/${claims.__proto__}')],
    ['a template of nothing', 'template_refused', resource('arn:aws:s3:::b/${claims.}')],
    ['a template of something else', 'template_refused', resource('arn:aws:s3:::b/${env.HOME}')],
    [
      'a template in a template',
      'template_refused',
      resource('arn:aws:s3:::b/${claims.${claims.ref}}'),
    ],
    ['an open template', 'template_refused', resource('arn:aws:s3:::b/${claims.ref')],
    ['a character beyond Latin-1', 'value_invalid', resource('arn:aws:s3:::b/\u0142')],
    [
      'a condition operator that does not exist',
      'value_invalid',
      statement('Condition: {StringMatches: {"aws:x": a}}'),
    ],
    [
      'a template in a condition operator',
      'value_invalid',
      statement("Condition: {'${claims.sha}': {'aws:x': a}}"),
    ],
    [
      'a template in a condition key',
      'value_invalid',
      statement("Condition: {StringEquals: {'s3:${claims.sha}': a}}"),
    ],
    [
      'a condition that is a boolean',
      'value_invalid',
      statement('Condition: {Bool: {"aws:SecureTransport": true}}'),
    ],
    ['an empty condition', 'value_invalid', statement('Condition: {}')],
    [
      'an empty list in a condition',
      'value_invalid',
      statement('Condition: {StringEquals: {"aws:x": []}}'),
    ],
    // token
    [
      'an audience the operator did not list',
      'value_invalid',
      token('audience: https://evil.example, scope: [a]'),
    ],
    [
      'an audience in capitals',
      'value_invalid',
      token('audience: https://RISK.acme.internal, scope: [a]'),
    ],
    ['no scope', 'key_missing', token(AUDIENCE)],
    ['an empty scope', 'value_invalid', token(`${AUDIENCE}, scope: []`)],
    ['a scope with a space', 'value_invalid', token(`${AUDIENCE}, scope: ["a b"]`)],
    ['a scope with a quote', 'value_invalid', token(`${AUDIENCE}, scope: ['a"b']`)],
    ['a scope twice', 'value_invalid', token(`${AUDIENCE}, scope: [a, a]`)],
    ['a ttl above the grant’s', 'value_invalid', token(`${AUDIENCE}, scope: [a], ttl: 16m`)],
  ])('%s', (_, code, text) => {
    const set = single(text)
    expect(set.problems.map((problem) => problem.code)).toContain(code)
    expect(set.grants.size).toBe(0)
  })
})

describe('a target takes', () => {
  it.each<[string, string]>([
    ['a role with a path', role('arn:aws:iam::111122223333:role/a/b.c/d_e+f=g,h@i-j')],
    ['a role of another partition', role('arn:aws-us-gov:iam::111122223333:role/x')],
    ['a region of the sovereign cloud', region('eusc-de-east-1')],
    ['a region of GovCloud', region('us-gov-west-1')],
    [
      'managed policies',
      aws(
        `managed_policies: ["arn:aws:iam::111122223333:policy/a/b", "arn:aws:iam::aws:policy/ReadOnlyAccess"]`,
      ),
    ],
    [
      'tags with letters of the world and an empty value',
      aws('tags: {"Köln site": "a b", empty: ""}'),
    ],
    [
      'a template in a resource and in a condition',
      statement(`Condition: {StringEquals: {'s3:ExistingObjectTag/ref': ['\${claims.ref}', x]}}`),
    ],
    [
      'variables that IAM fills in itself',
      resource('arn:aws:s3:::b/${aws:PrincipalTag/tvm:repository_id}/${*}'),
    ],
    [
      'NotAction, NotResource and a Deny',
      policy('{Effect: Deny, NotAction: ["s3:*"], NotResource: ["arn:aws:s3:::b"]}'),
    ],
    [
      'a version without quotes',
      aws(
        'session_policy: {Version: 2012-10-17, Statement: [{Effect: Allow, Action: "*", Resource: "*"}]}',
      ),
    ],
    [
      'a qualified condition operator',
      statement('Condition: {"ForAnyValue:StringLikeIfExists": {"aws:TagKeys": "a*"}}'),
    ],
  ])('%s', (_, text) => {
    expect(single(text).problems.map(formatProblem)).toEqual([])
  })
})

describe('the size of a session policy', () => {
  const actions = (n: number): string =>
    policy(
      `{Effect: Allow, Action: "s3:${'a'.repeat(100)}", Resource: ["arn:aws:s3:::${'b'.repeat(n)}"]}`,
    )

  it('is checked with the denies of the broker', () => {
    const fits = [...Array(2048).keys()].filter((n) => n > 0 && n % 16 === 0)
    const refused = fits.filter((n) => single(actions(n)).problems.length > 0)
    expect(refused[0]).toBeGreaterThan(1500)
    expect(refused[0]).toBeLessThan(1800)
    expect(single(actions(2000)).problems.map(({ code }) => code)).toEqual([
      'session_policy_too_long',
    ])
  })

  it('is checked with templates at their longest', () => {
    const times = (claim: string, n: number): string =>
      resource(`arn:aws:s3:::b/${`\${claims.${claim}}`.repeat(n)}`)
    expect(single(times('ref', 6)).problems).toEqual([])
    expect(single(times('ref', 7)).problems.map(({ code }) => code)).toEqual([
      'session_policy_too_long',
    ])
    expect(single(times('repository_id', 20)).problems).toEqual([])
  })

  it('counts the ARNs of managed policies', () => {
    const arn = (i: number): string => `"arn:aws:iam::111122223333:policy/${'a'.repeat(127)}${i}"`
    const many = [...Array(10).keys()].map(arn).join(', ')
    expect(single(aws(`managed_policies: [${many}]`)).problems).toEqual([])
    const both = `managed_policies: [${many}], pin_source_ip: true, session_policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:${'a'.repeat(120)}", Resource: "*"}]}`
    expect(single(aws(both)).problems.map(({ code }) => code)).toEqual(['session_policy_too_long'])
  })
})
