import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const SERVER = resolve(import.meta.dirname, '../../server')

const options: ts.CompilerOptions = {
  module: ts.ModuleKind.ESNext,
  target: ts.ScriptTarget.ES2024,
  verbatimModuleSyntax: true,
  rewriteRelativeImportExtensions: true,
}

let folder: string

/** The server as the package ships it: each file compiled by itself, which is what erasable syntax allows. */
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tvm-compiled-'))
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  for (const file of readdirSync(SERVER, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue
    const to = join(folder, 'server', file.replace(/\.ts$/, '.js'))
    const source = readFileSync(join(SERVER, file), 'utf8')
    mkdirSync(dirname(to), { recursive: true })
    writeFileSync(
      to,
      ts.transpileModule(source, { compilerOptions: options, fileName: file }).outputText,
    )
  }
})

afterAll(() => {
  rmSync(folder, { recursive: true })
})

describe('the compiled store', () => {
  it('finds its worker and commits', () => {
    const script = join(folder, 'try.js')
    writeFileSync(
      script,
      `import { openSqlite } from './server/store/sqlite.js'
       const store = await openSqlite({ path: process.argv[2] })
       const { receipt } = await store.commit({ kind: 'note', now: 1, body: { event: 'broker.started' } })
       await store.close()
       process.stdout.write(JSON.stringify(receipt))`,
    )
    const said = execFileSync(process.execPath, [script, join(folder, 'tvm.db')], {
      encoding: 'utf8',
    })
    expect(JSON.parse(said)).toMatchObject({ position: 1 })
    expect(readdirSync(join(folder, 'server/store'))).not.toContain('sqlite-worker.ts')
  })
})
