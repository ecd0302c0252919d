#!/usr/bin/env node
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { runProgram } from './cli/program.ts'
import { databasePath } from './config/config.ts'
import { createKeys, openKeys } from './issuer/key-set.ts'
import { openSqliteDesk, openSqliteReadOnly } from './store/sqlite.ts'
import type { World } from './world.ts'

const world: World = {
  now: Date.now,
  random: (bytes) => randomBytes(bytes),
  fetch: globalThis.fetch,
  sleep: (ms, signal) => sleep(ms, undefined, signal === undefined ? {} : { signal }),
}

await runProgram({
  argv: process.argv,
  env: process.env,
  cwd: process.cwd(),
  world,
  // Half of what there is to load, and most commands serve nothing.
  startBroker: async (...given) => (await import('./serve.ts')).startBroker(...given),
  createKeys: ({ data }, { random }) => createKeys(data, random),
  openKeys: ({ data }, { random }) => openKeys(data, random),
  openAudit: (config) => openSqliteReadOnly({ path: databasePath(config) }),
  openDesk: (config) => openSqliteDesk({ path: databasePath(config) }),
})
