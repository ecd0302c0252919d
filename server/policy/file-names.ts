import { hasControl } from './glob.ts'
import type { Finding } from './problem.ts'

export const OWNERS_FILE = '_owners.yaml'
export const GUARDRAILS_FILE = '_guardrails.yaml'

/** What a file below the policy folder is, by its path from there. */
export type FileKind =
  'grants' | 'suite' | 'owners' | 'guardrails' | 'ignored' | 'refused' | 'astray'

/** `astray`: perhaps meant as a law. A law that is not read must not look like no law. */
export const kindOf = (path: string): FileKind => {
  const folders = path.split('/')
  const name = folders.pop() ?? ''
  if (path === OWNERS_FILE) return 'owners'
  if (path === GUARDRAILS_FILE) return 'guardrails'
  if (name.startsWith('_')) return 'astray'
  if (name === 'action.yml') return 'ignored'
  if (name.endsWith('.yml')) return 'refused'
  if (name.endsWith('.test.yaml')) return 'suite'
  if (!name.endsWith('.yaml')) return 'ignored'
  const isOdd = hasControl(path) || folders.some((folder) => /^(?:_.*|\.{0,2})$/.test(folder))
  return isOdd ? 'refused' : 'grants'
}

export const nameProblem = (path: string): Finding => ({
  code: 'file_name_refused',
  at: { file: path, line: 1, column: 1 },
  message: 'a file of this name is not read',
  hint: `policies are *.yaml in folders that do not begin with '_', laws ${OWNERS_FILE} and ${GUARDRAILS_FILE} at the top`,
})
