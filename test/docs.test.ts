import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { FAILURES } from '../action/failure.ts'
import { KEYS, readConfig } from '../server/config/config.ts'
import { ERRORS } from '../server/http/errors.ts'
import { DIALECTS } from '../server/identity/dialects.ts'
import { parsePolicySet } from '../server/policy/parse.ts'
import { formatProblem } from '../server/policy/problem.ts'

const ROOT = resolve(import.meta.dirname, '..')
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const readme = read('README.md')

/** Rows of the table whose head names these columns, cell by cell. */
const rowsOf = (text: string, head: string): string[][] => {
  const [, after] = text.split(`| ${head} |\n`)
  expect(after, `a table with the head ${head}`).toBeDefined()
  const [, ...lines] = (after ?? '').split('\n')
  const end = lines.findIndex((line) => !line.startsWith('|'))
  return lines.slice(0, end).map((line) =>
    line
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim()),
  )
}

const ticked = (cell: string | undefined): string[] =>
  [...(cell ?? '').matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '')

interface Action {
  readonly inputs: Readonly<Record<string, { description: string; default?: string }>>
  readonly outputs: Readonly<Record<string, { description: string }>>
}
const action = parse(read('action.yml')) as Action

describe('the README lists what the code has, and nothing else', () => {
  it('codes, with their status', () => {
    const documented = rowsOf(readme, 'code | status | what it says').map(([code, status]) => [
      ticked(code)[0],
      Number(status),
    ])
    expect(documented).toEqual(Object.entries(ERRORS).map(([code, { status }]) => [code, status]))
  })

  it('keys of the configuration', () => {
    const rows = rowsOf(readme, 'key | default | what it is')
    const documented = rows.flatMap(([key]) => ticked(key))
    expect(documented.sort()).toEqual([...Object.keys(KEYS), 'issuers'].sort())
  })

  it('inputs of the action', () => {
    const documented = rowsOf(readme, 'input | default | what it is').map(
      ([name]) => ticked(name)[0],
    )
    expect(documented).toEqual(Object.keys(action.inputs))
  })

  it('outputs of the action', () => {
    const documented = rowsOf(readme, 'output | what it is').map(([name]) => ticked(name)[0])
    expect(documented).toEqual(Object.keys(action.outputs))
  })

  it("the action's own codes", () => {
    const documented = rowsOf(readme, 'code | how to mend it').map(([code]) => ticked(code)[0])
    expect(documented).toEqual(Object.keys(FAILURES))
  })

  it('endpoints', () => {
    const documented = rowsOf(readme, 'endpoint | listener | what it does').flatMap(([cell]) =>
      ticked(cell),
    )
    const sources = ['app', 'admin'].map((name) => read(`server/http/${name}.ts`)).join('\n')
    const routes = [...sources.matchAll(/app\.(get|post|delete)\('(\/[^']*)'/g)].map(
      (match) => `${(match[1] ?? '').toUpperCase()} ${match[2] ?? ''}`,
    )
    const published = documented.filter((endpoint) => endpoint.includes('/.well-known/'))
    expect(published).toHaveLength(5)
    expect(documented.filter((endpoint) => !published.includes(endpoint)).sort()).toEqual(
      routes.sort(),
    )
  })
})

describe('every sentence of a refusal is fit to be read', () => {
  it.each(Object.entries(ERRORS))('%s', (_, { detail, hint }) => {
    expect(detail).toMatch(/^[A-Z].*\.$/)
    expect(hint).toMatch(/^[A-Z].*\.$/)
  })
})

const documents = ['.', 'docs', 'policies'].flatMap((folder) =>
  readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name)),
)

/** Code blocks of a document that begin with this comment. */
const blocksOf = (file: string, comment: string): string[] =>
  [...read(file).matchAll(/```yaml\n([^]*?)```/g)]
    .map(([, text]) => text ?? '')
    .filter((text) => text.startsWith(comment))

describe('what the documents show can be used as it stands', () => {
  const configs = documents.flatMap((file) =>
    blocksOf(file, '# tvm.yaml\n').map((text) => [file, text] as const),
  )

  it.each(configs)('the configuration in %s', (_, text) => {
    const found = readConfig({ env: {}, cwd: '/etc/tvm', file: { path: 'tvm.yaml', text } })
    expect(found).toHaveProperty('public_url')
  })

  it('the policy in the README', () => {
    const [text = ''] = blocksOf('README.md', '# policies/payments/deploy.yaml\n')
    const issuers = new Map([['github', { dialect: DIALECTS.github, default: true }]])
    const files = [{ path: 'payments/deploy.yaml', text }]
    const set = parsePolicySet(files, { issuers, tokenAudiences: [] }, 'rev1')
    expect(set.problems.map(formatProblem)).toEqual([])
    expect([...set.grants.keys()]).toEqual(['payments-deploy'])
  })
})

describe('links of the documents lead somewhere', () => {
  it.each(documents)('%s', (file) => {
    const links = [...read(file).matchAll(/\]\((?!https?:)([^)#\s]+)[^)]*\)/g)].map(
      (match) => match[1] ?? '',
    )
    expect(links.filter((link) => !existsSync(join(ROOT, dirname(file), link)))).toEqual([])
  })
})
