/** npm run bench [-- action | exchange | policy]: figures with what they were measured beside. Nothing here passes or fails. */
import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { DIALECTS } from '../../server/identity/dialects.ts'
import { decide } from '../../server/policy/decide.ts'
import { parsePolicySet } from '../../server/policy/parse.ts'
import { principalWith } from '../policy/make.ts'
import { ask, makeKey } from '../world/caller.ts'
import { DEPLOY_POLICY, ROOT, startWorld } from '../world/world.ts'

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

const timed = (act: () => void): number => {
  const started = performance.now()
  act()
  return performance.now() - started
}

const row = (...cells: readonly (string | number)[]): void =>
  console.log(
    cells
      .map((cell) => (typeof cell === 'number' ? cell.toFixed(1) : cell))
      .map((cell, i) => (i === 0 ? cell.padEnd(44) : cell.padStart(12)))
      .join(''),
  )

/** Start of the bundles, without inputs, beside a bare node; in turn, medians of 9. */
const benchAction = (): void => {
  const bundles = ['main', 'post'].map((name) => join(ROOT, `dist/action/${name}.cjs`))
  const runs = [['-e', '0'], ...bundles.map((file) => [file])]
  const start = (args: string[]): number =>
    timed(() => void spawnSync(process.execPath, args, { env: { PATH: '' } }))
  const times = runs.map((): number[] => [])
  for (let i = 0; i < 10; i++)
    runs.forEach((args, which) => {
      const ms = start(args)
      if (i > 0) times[which]?.push(ms)
    })
  const bare = median(times[0] ?? [])
  row('start of a process', 'median ms', 'over bare', 'bytes')
  row('node -e 0', bare, 0, '')
  bundles.forEach((file, i) => {
    const ms = median(times[i + 1] ?? [])
    row(file.slice(ROOT.length + 1), ms, ms - bare, String(statSync(file).size))
  })
}

const ROUNDS = 40

/** Whole exchanges over loopback, AWS's part included, beside the same request refused. */
const benchExchange = async (): Promise<void> => {
  const world = await startWorld({
    broker: 'process',
    config: { limit_repository: 100_000, limit_address: 100_000, log_level: 'warn' },
  })
  try {
    const allowed: number[] = []
    const refused: number[] = []
    for (let i = 0; i < ROUNDS; i++) {
      const key = await makeKey()
      for (const [times, ref] of [
        [allowed, 'refs/heads/main'],
        [refused, 'refs/heads/x'],
      ] as const) {
        const job = world.github.job({ environment: 'production', ref })
        const started = performance.now()
        await ask(world, { key, job })
        times.push(performance.now() - started)
      }
    }
    row(`exchange over loopback (${ROUNDS} each, in turn)`, 'median ms')
    row('allowed, with the local AWS', median(allowed))
    row('refused', median(refused))
  } finally {
    await world.close()
  }
}

/** One decision with 1 and with 10,000 grants loaded. */
const benchPolicy = (): void => {
  const context = {
    issuers: new Map([['github', { dialect: DIALECTS.github, default: true }]]),
    tokenAudiences: [],
  }
  const principal = principalWith({ environment: 'production', ref: 'refs/heads/main' })
  row('decision on one grant', 'µs')
  for (const count of [1, 10_000]) {
    const files = Array.from({ length: count }, (_, i) => ({
      path: `p${i}.yaml`,
      text: DEPLOY_POLICY.replaceAll('payments-deploy', `payments-deploy-${i}`),
    }))
    const set = parsePolicySet(files, context, 'bench')
    const once = (): void =>
      void decide(set, principal, { grant: 'payments-deploy-0', ttl: null }, 0)
    for (let i = 0; i < 2000; i++) once()
    const ms = median(
      Array.from({ length: 9 }, () => timed(() => Array.from({ length: 2000 }, once))),
    )
    row(`${count} grants loaded`, (ms / 2000) * 1000)
  }
}

const BENCHES = { action: benchAction, exchange: benchExchange, policy: benchPolicy }
const asked = process.argv.slice(2)
for (const [name, bench] of Object.entries(BENCHES))
  if (asked.length === 0 || asked.includes(name)) {
    await bench()
    console.log()
  }
