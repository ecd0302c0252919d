import type { AzureGrant } from './grant.ts'
import type { Say } from './problem.ts'
import { invalid, readFields, readText, readTexts, type Fields } from './read.ts'
import type { Node } from './yaml.ts'

/** What the section depends on beside itself. */
export interface AzureScope {
  /** Seconds: the grant's `accept_lifetime`; null where it has none. */
  readonly acceptLifetime: number | null
  readonly say: Say
}

const KEYS = { required: ['tenant', 'client', 'scopes'], optional: ['subscription'] }

const HEX_GUID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
/** No name and no domain: `common`, `organizations` and whatever DNS says today would choose another tenant. */
export const GUID = {
  pattern: new RegExp(`^${HEX_GUID}$`),
  hint: 'a GUID in lower case, e.g. 6f1f0d8b-4e0c-4f6e-9b1b-0a2f6f3c7d11; no name, no domain',
}

const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
const HOST = `(?=[^/]{1,253}/)${LABEL}(?:\\.${LABEL})*\\.[a-z](?:[a-z0-9-]{0,61}[a-z0-9])`
const PATH = '(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,127}){0,4}'
const SCOPE = {
  pattern: new RegExp(`^(?:https://${HOST}${PATH}|${HEX_GUID})/\\.default$`),
  hint: 'https://<host>/.default, e.g. https://management.azure.com/.default, or <GUID>/.default',
}
const MAX_SCOPES = 5

/** Entra draws each lifetime from 60 to 90 minutes: whoever accepts less is refused now and then, by chance. */
const LONGEST_LIFETIME = 90 * 60

/** The `azure` section; null when there is nothing to read. */
export const readAzure = (node: Node, { acceptLifetime, say }: AzureScope): AzureGrant | null => {
  const fields = readFields(node, 'azure', KEYS, say)
  if (fields === null) return null
  refuseLifetime(fields, acceptLifetime, say)
  return {
    tenant: readGuid(fields, 'tenant', say) ?? '',
    client: readGuid(fields, 'client', say) ?? '',
    subscription: readGuid(fields, 'subscription', say),
    scopes: readScopes(fields, say),
  }
}

const readGuid = (fields: Fields, key: string, say: Say): string | null => {
  const node = fields.get(key)
  return node === null ? null : readText(node, key, GUID, say)
}

const readScopes = (fields: Fields, say: Say): readonly string[] => {
  const node = fields.get('scopes')
  const scopes = (node && readTexts(node, 'scopes', SCOPE, say)) ?? []
  if (node !== null && scopes.length > MAX_SCOPES)
    say(invalid(node.at, 'too many scopes', `at most ${MAX_SCOPES}`))
  return scopes
}

/** Who writes an azure grant must have said that its tokens outlive `ttl`. */
const refuseLifetime = ({ at }: Fields, accepted: number | null, say: Say): void => {
  if (accepted === null)
    say({
      code: 'key_missing',
      at,
      message: "azure needs 'accept_lifetime' in the grant",
      hint: 'Entra decides how long a token lives, 60 to 90 minutes, whatever the ttl: write accept_lifetime: 90m beside ttl to accept that',
    })
  else if (accepted < LONGEST_LIFETIME)
    say(
      invalid(
        at,
        'accept_lifetime is shorter than azure can hold',
        'Entra draws 60 to 90 minutes for each token: at least 90m (24h for a managed identity)',
      ),
    )
}
