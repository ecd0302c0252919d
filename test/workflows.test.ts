import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'

const FOLDER = resolve(import.meta.dirname, '../.github/workflows')

interface Workflow {
  readonly permissions?: unknown
  readonly jobs: Readonly<
    Record<string, { readonly permissions?: unknown; readonly 'timeout-minutes'?: number }>
  >
}

const workflows = readdirSync(FOLDER).map((name) => {
  const text = readFileSync(join(FOLDER, name), 'utf8')
  return { name, text, workflow: parse(text) as Workflow }
})

describe.each(workflows)('$name', ({ text, workflow }) => {
  it('gives no permission that a job does not name', () => {
    expect(workflow.permissions).toEqual({})
    for (const job of Object.values(workflow.jobs)) expect(job.permissions).toBeTypeOf('object')
  })

  it('pins every action by its full commit, and says which version that is', () => {
    const used = [...text.matchAll(/^ +- uses:(.*)/gm)].map((match) => match[1] ?? '')
    expect(used.length).toBeGreaterThan(0)
    for (const each of used) expect(each).toMatch(/^ [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/)
  })

  it('puts no expression into a script, where its value would be code', () => {
    const scripts = [...text.matchAll(/run: (?:\|\n((?: {10}.*\n)+)|(.*)\n)/g)].map(
      (match) => match[1] ?? match[2] ?? '',
    )
    expect(scripts.length).toBeGreaterThan(0)
    for (const script of scripts) expect(script).not.toContain('${{')
  })

  it('never runs with the rights of the base on the code of a pull request', () => {
    expect(text).not.toMatch(/pull_request_target|workflow_run/)
  })

  it('ends by itself', () => {
    for (const job of Object.values(workflow.jobs))
      expect(job['timeout-minutes']).toBeTypeOf('number')
  })
})
