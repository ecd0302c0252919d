import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { FAILURES } from '../../action/failure.ts'
import { readInputs } from '../../action/inputs.ts'
import { ERRORS } from '../../server/http/errors.ts'
import { bundled, Job, keep, openScene, removeBundles } from './harness.ts'
import { aws, azure, created, denied, gcp, idToken, session, token } from './replies.ts'

interface Manifest {
  readonly inputs: Readonly<Record<string, { readonly default?: string }>>
  readonly outputs: Readonly<Record<string, unknown>>
  readonly runs: Readonly<Record<string, string>>
}

let manifest: Manifest
beforeAll(async () => {
  manifest = parse(
    await readFile(join(import.meta.dirname, '../../action.yml'), 'utf8'),
  ) as Manifest
})
afterAll(removeBundles)

const given: Readonly<Record<string, string>> = { url: 'https://tvm.example.com', grants: 'ab' }

describe('action.yml', () => {
  test('declares exactly the inputs that are read', () => {
    const read: string[] = []
    readInputs((name) => {
      read.push(name)
      return given[name] ?? ''
    }, {})
    expect(Object.keys(manifest.inputs).sort()).toEqual([...new Set(read)].sort())
  })

  test('has the defaults that a missing input has', () => {
    const defaults = readInputs((name) => given[name] ?? manifest.inputs[name]?.default ?? '', {})
    expect(defaults).toEqual(readInputs((name) => given[name] ?? '', {}))
  })

  test('declares exactly the outputs that are set', async () => {
    const github = await keep(openScene((_, count) => idToken(count)))
    const granted = created(session(1, 'one', { aws, azure }), session(2, 'two', { gcp, token }))
    const broker = await keep(openScene((_, count) => (count === 1 ? granted : denied())))
    const job = await keep(Job.open(github.url))
    const inputs = { url: broker.url, grants: 'one,two', 'output-credentials': 'true' }
    const first = await job.run('main', { inputs })
    const second = await job.run('main', { inputs })
    const set = Object.keys({ ...first.outputs, ...second.outputs })
    expect(set.sort()).toEqual(Object.keys(manifest.outputs).sort())
  })

  test('runs the bundles that are built, small enough, with their licences', async () => {
    const bundles = await bundled()
    expect(bundles.map(({ path }) => `dist/action/${basename(path)}`)).toEqual([
      manifest.runs['main'],
      manifest.runs['post'],
    ])
    for (const { bytes } of bundles) expect(bytes).toBeLessThan(60_000)
    expect(manifest.runs).toMatchObject({ using: 'node24', 'post-if': 'always()' })
  })
})

describe('the codes of the action', () => {
  test('share no name with those of the broker, so that error-code says who spoke', () => {
    expect(Object.keys(FAILURES).filter((code) => code in ERRORS)).toEqual([])
  })
})
