import { join } from 'node:path'
import type { TokenReply } from '../../server/api.ts'
import type { ExportPlace, Exported } from './export.ts'

const FILE = 'token'

/**
 * A token for your own services: in TVM_TOKEN, and in the file that TVM_TOKEN_FILE names. TVM_TOKEN_TYPE is the scheme of
 * the Authorization header. A `DPoP` token works only with proofs by the job's key, the private JWK (ES256) in TVM_TOKEN_KEY_FILE.
 */
export const exportToken = (token: TokenReply, { env, folder, keyFile }: ExportPlace): Exported => {
  const bound = token.token_type === 'DPoP'
  const stale = (env['TVM_TOKEN_KEY_FILE'] ?? '') !== ''
  return {
    variables: [
      { name: 'TVM_TOKEN', value: token.token, after: '' },
      { name: 'TVM_TOKEN_FILE', value: join(folder, FILE), after: '' },
      { name: 'TVM_TOKEN_TYPE', value: token.token_type, after: '' },
      ...(bound || stale
        ? [{ name: 'TVM_TOKEN_KEY_FILE', value: bound ? keyFile : '', after: '' }]
        : []),
    ],
    files: [{ name: FILE, text: token.token }],
    secrets: { token: token.token },
  }
}
