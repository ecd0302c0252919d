import { kindOf, nameProblem } from './file-names.ts'
import type { PolicyContext } from './grant-file.ts'
import type { Guardrail, PolicyProblem } from './grant.ts'
import { readGuardrails } from './guardrails.ts'
import { readOwners, type Owners } from './owners.ts'
import type { PolicyFile } from './policy-file.ts'
import { faultOf } from './policy-file.ts'
import { collectFindings } from './problem.ts'

export interface Laws {
  /** null: there is no `_owners.yaml`, or none that can be read. */
  readonly owners: Owners | null
  readonly guardrails: readonly Guardrail[]
  /** Any of them means: nothing is granted. */
  readonly problems: readonly PolicyProblem[]
}

/** The files that speak about all grants, and those that may have been meant to. */
export const readLaws = (files: readonly PolicyFile[], context: PolicyContext): Laws => {
  const { say, problems } = collectFindings()
  let owners: Owners | null = null
  let guardrails: readonly Guardrail[] = []
  for (const file of files) {
    const kind = kindOf(file.path)
    const fault = faultOf(file)
    if (kind === 'astray') say(nameProblem(file.path))
    else if (kind !== 'owners' && kind !== 'guardrails') continue
    else if (fault !== null) say(fault)
    else if (kind === 'owners') owners = readOwners(file.path, file.text, context, say)
    else guardrails = readGuardrails(file.path, file.text, context, say)
  }
  return { owners, guardrails, problems }
}

/** Why nothing is granted at all. */
export const closedBy = ({ at, message, hint }: PolicyProblem): PolicyProblem => ({
  code: 'laws_malformed',
  at,
  message: `nothing is granted until this is mended: ${message}`,
  hint,
})
