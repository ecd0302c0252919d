import { execFileSync } from 'node:child_process'
import { cpSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DEPLOY_POLICY, freePort, ROOT } from '../world/world.ts'
import { folderWith, inFolder, tvm } from './process.ts'

let folder: string
let main: string

/** The package as it is installed: package.json, dist/, and what it depends on. */
beforeAll(() => {
  folder = folderWith()
  main = join(folder, 'dist/server/main.js')
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const outDir = join(folder, 'dist/server')
  // Whether the types hold is for `npm run types` to say.
  const args = ['-p', 'tsconfig.build.json', '--noCheck', '--outDir', outDir]
  execFileSync(process.execPath, [tsc, ...args], { cwd: ROOT })
  cpSync(join(ROOT, 'package.json'), join(folder, 'package.json'))
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
})
afterAll(() => rmSync(folder, { recursive: true }))

describe('the compiled broker', () => {
  it('tells its version', async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      version: string
    }
    expect(await tvm(['--version'], { main })).toEqual({
      code: 0,
      stdout: `${version}\n`,
      stderr: '',
    })
  })

  it('helps in the same words as its sources', async () => {
    expect(await tvm(['--help'], { main })).toEqual(await tvm(['--help']))
  })

  it('serves until it is told to stop, and leaves a whole chain', async () => {
    const port = await freePort()
    const env = { TVM_LISTEN: String(port), TVM_ADMIN_LISTEN: String(await freePort()) }
    const jwks = async (): Promise<unknown> =>
      (await fetch(`http://127.0.0.1:${port}/.well-known/jwks.json`)).json()
    await inFolder({ 'policies/deploy.yaml': DEPLOY_POLICY }, async (cwd) => {
      const served = Promise.withResolvers<unknown>()
      const ended = await tvm(['serve'], {
        main,
        cwd,
        env,
        started: (child) =>
          child.stdout?.on('data', (text: string) => {
            if (!text.includes('"listening"')) return
            served.resolve(jwks())
            void served.promise.finally(() => child.kill('SIGTERM'))
          }),
      })
      expect(ended).toMatchObject({ code: 0, stderr: '' })
      expect(await served.promise).toMatchObject({ keys: [{ alg: 'RS256', kty: 'RSA' }] })
      const { code, stdout } = await tvm(['audit', 'verify'], { main, cwd })
      expect([code, stdout.split('\n')[0]]).toEqual([0, 'ok: 2 records, an unbroken chain'])
    })
  })
})
