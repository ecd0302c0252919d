import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { startWorld } from '../world/world.ts'
import { expectComplaint, folderWith, inFolder, tvm } from './process.ts'

const KEYS = ['cloud.pem', 'session.key', 'tokens.pem']

describe('tvm keys create', () => {
  it('makes the keys for their owner alone, once, and tells the kid', () =>
    inFolder({}, async (cwd) => {
      const first = await tvm(['keys', 'create'], { cwd })
      const folder = join(cwd, 'data/keys')
      expect(first).toMatchObject({ code: 0, stderr: '' })
      expect(first.stdout).toMatch(new RegExp(`^${folder}: kid \\S+\n$`))
      expect(readdirSync(folder).sort()).toEqual(KEYS)
      for (const name of KEYS) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600)
      const made = KEYS.map((name) => readFileSync(join(folder, name), 'base64'))

      expect(await tvm(['keys', 'create'], { cwd })).toEqual(first)
      expect(KEYS.map((name) => readFileSync(join(folder, name), 'base64'))).toEqual(made)
    }))

  it.each(['create', 'export'])('%s refuses a key that its group may read', (command) =>
    inFolder({}, async (cwd) => {
      await tvm(['keys', 'create'], { cwd })
      chmodSync(join(cwd, 'data/keys/tokens.pem'), 0o640)
      const args = command === 'export' ? ['--out', 'issuer'] : []
      expectComplaint(await tvm(['keys', command, ...args], { cwd }), 2, [
        /error: \S+tokens\.pem: others than its owner may use it \(mode 0640\)$/,
        /hint: Make a new key if it was exposed; otherwise chmod 600 \S+tokens\.pem$/,
      ])
      expect(existsSync(join(cwd, 'issuer'))).toBe(false)
    }),
  )
})

describe('tvm keys export', () => {
  it('makes no keys: a wrong data folder is an error', () =>
    inFolder({}, async (cwd) => {
      expectComplaint(await tvm(['keys', 'export', '--out', 'issuer'], { cwd }), 2, [
        /error: \S+data\/keys: lacks cloud\.pem, tokens\.pem, session\.key$/,
        /hint: .*tvm keys create/,
      ])
      expect(readdirSync(cwd)).toEqual([])
    }))

  it('says when it cannot write', () =>
    inFolder({ issuer: 'a file' }, async (cwd) => {
      await tvm(['keys', 'create'], { cwd })
      const ended = await tvm(['keys', 'export', '--out', 'issuer'], { cwd })
      expectComplaint(ended, 2, [/error: .*issuer/])
    }))

  it('writes the two documents that a running broker serves, and nothing else', async () => {
    const world = await startWorld()
    const out = folderWith()
    try {
      const args = ['--out', out, '--config', world.configFile]
      const ended = await tvm(['keys', 'export', ...args])
      const names = ['openid-configuration', 'jwks.json'].map((name) => `.well-known/${name}`)
      expect(ended).toEqual({
        code: 0,
        stdout: names.map((name) => `${join(out, name)}\n`).join(''),
        stderr: '',
      })
      expect(readdirSync(out, { recursive: true }).sort()).toEqual(['.well-known', ...names].sort())
      for (const name of names) {
        const written = JSON.parse(readFileSync(join(out, name), 'utf8')) as unknown
        expect(written).toEqual(await (await fetch(`${world.url}/${name}`)).json())
      }
      expect(readFileSync(join(out, names[1] ?? ''), 'utf8')).not.toMatch(/"(d|p|q|dp|dq|qi)"/)
    } finally {
      await world.close()
      rmSync(out, { recursive: true })
    }
  })
})
