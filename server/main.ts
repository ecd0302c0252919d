#!/usr/bin/env node
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { runProgram } from './cli/program.ts'
import { createKeys } from './issuer/key-set.ts'
import { databasePath, startBroker } from './serve.ts'
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
  startBroker,
  createKeys: ({ data }, { random }) => createKeys(data, random),
  openAudit: (config) => openSqliteReadOnly({ path: databasePath(config) }),
  openDesk: (config) => openSqliteDesk({ path: databasePath(config) }),
})
