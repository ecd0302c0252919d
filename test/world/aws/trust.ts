/** The trust policy that a role needs to be assumed through TVM, and by nobody and nothing else. */
export interface TvmTrust {
  /** `arn:aws:iam::<account>:oidc-provider/<host>` */
  readonly providerArn: string
  /** The issuer URL without its scheme, e.g. `tvm.example.com`. */
  readonly host: string
  /** The name of the grant. */
  readonly grant: string
  /** The `aud` of the broker's tokens, e.g. `sts.amazonaws.com`. */
  readonly audience: string
}

/**
 * Binds the role to one grant twice (subject and session tag), to tokens that name this very role
 * (`RoleAuthorizedByIdp`), and to the names that the broker gives to sessions.
 */
export function tvmTrustPolicy({ providerArn, host, grant, audience }: TvmTrust) {
  return {
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Principal: { Federated: providerArn },
        Action: ['sts:AssumeRoleWithWebIdentity', 'sts:TagSession', 'sts:SetSourceIdentity'],
        Condition: {
          StringEquals: {
            [`${host}:aud`]: audience,
            [`${host}:sub`]: `grant:${grant}`,
            'aws:RequestTag/tvm:grant': grant,
          },
          StringLike: { 'sts:RoleSessionName': 'tvm-*', 'sts:SourceIdentity': 'ses_*' },
          Bool: { 'sts:RoleAuthorizedByIdp': 'true' },
        },
      },
    ],
  } as const
}
