import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Revocable, TargetName } from '../../server/api.ts'
import { revealedJson, type Secret } from '../../server/secret.ts'
import type { Minted, MintOrder, MintRefusal, Target } from '../../server/targets/target.ts'
import type { World } from '../../server/world.ts'
import { NOW, order, principal, quickWorld, sessionId } from './orders.ts'
import type { TargetSpecs } from '../../server/policy/grant.ts'

export interface TargetSetup {
  readonly world: World
  /** Milliseconds for one exchange. */
  readonly limit: number
  readonly signer: 'works' | 'broken'
}

/** One target beside its cloud, as a test opens and closes it. */
export interface Rig<Spec, Reply> {
  target(setup: TargetSetup): Target<Spec, Reply>
  readonly specs: TargetSpecs
  readonly spec: Spec
  secrets(reply: Reply): readonly Secret[]
  /** The session that these credentials belong to, as the cloud or the token itself says. */
  holder(reply: Reply): string
  /** Answers of the cloud by name; absent where the target asks none. */
  readonly cloud?: {
    /** The next answers; after them every request is answered well. */
    next(...answers: readonly string[]): void
    requests(): number
    /** What the target showed the cloud to be given credentials. */
    shown(): readonly string[]
  }
  close(): Promise<void>
}

/** Names of answers that the rig's cloud can give. A row per kind is the least. */
export interface CloudAnswers {
  readonly final: readonly [string, ...string[]]
  readonly transient: readonly [string, ...string[]]
  readonly hangs: readonly [string, ...string[]]
  /** Well-formed answers that protect less than was asked, or that are for somebody else. */
  readonly lies: readonly [string, ...string[]]
  /** Answers that say our own secrets back to us. */
  readonly echoes: readonly [string, ...string[]]
  /** A good answer whose credentials end a minute before the order does. */
  readonly shorter: string
}

export interface Harness<Spec, Reply> {
  open(): Promise<Rig<Spec, Reply>>
  /** How the cloud can answer, or why there is none to ask. */
  readonly cloud: CloudAnswers | { readonly none: string }
}

interface Reply {
  readonly expires_at: string
  readonly revocable: Revocable
}

/** What every target must do, whatever it vends. */
export const targetConformance = <Spec, R extends Reply>(
  name: TargetName,
  harness: Harness<Spec, R>,
): void => {
  const none = 'none' in harness.cloud ? ` (asks no cloud: ${harness.cloud.none})` : ''
  describe(`the target ${name} as every target${none}`, () => {
    const world = quickWorld()
    let rig: Rig<Spec, R>
    beforeEach(async () => {
      rig = await harness.open()
    })
    afterEach(() => rig.close())

    const target = (setup: Partial<TargetSetup> = {}) =>
      rig.target({ world, limit: 20_000, signer: 'works', ...setup })
    const mint = (changes: Partial<MintOrder> = {}, setup: Partial<TargetSetup> = {}) =>
      target(setup).mint(rig.spec, order(rig.specs, changes))

    it('mints what its name says', async () => {
      expect(target().name).toBe(name)
      expect(await mint()).toMatchObject({ ok: true })
    })

    it('refuses without its signer, and asks nobody', async () => {
      expect(await mint({}, { signer: 'broken' })).toMatchObject({
        ok: false,
        code: 'signer_unavailable',
        target: name,
      })
      expect(rig.cloud?.requests() ?? 0).toBe(0)
    })

    it('tells expiry and revocability truly', async () => {
      const minted = granted(await mint({ ttl: 900 }))
      expect(minted.expiresAt).toBeLessThanOrEqual(NOW + 900_000)
      expect(minted.expiresAt).toBeGreaterThan(NOW)
      expect(Date.parse(minted.reply.expires_at)).toBe(minted.expiresAt)
      expect(minted.revocable).toBe(target().revocable)
      expect(minted.reply.revocable).toBe(target().revocable)
    })

    it('tells the order as expiry where the order ends first', async () => {
      const minted = granted(await mint({ ttl: 60 }))
      expect(minted.expiresAt).toBeLessThanOrEqual(NOW + 60_000)
    })

    it('keeps its secrets out of everything that prints', async () => {
      const { result, printed } = await watched(() => mint())
      const secrets = rig.secrets(granted(result).reply).map((secret) => secret.reveal())
      expect(secrets.length).toBeGreaterThan(0)
      expectNone([...secrets, ...(rig.cloud?.shown() ?? [])], [...shapes(result), printed])
      for (const secret of secrets)
        expect(revealedJson(granted(result).reply)).toContain(JSON.stringify(secret))
    })

    it('has no secret in the facts for the audit, not even revealed', async () => {
      const minted = granted(await mint())
      const secrets = rig.secrets(minted.reply).map((secret) => secret.reveal())
      expectNone(secrets, [revealedJson(minted.facts)])
    })

    it('gives each of many jobs at once its own credentials', async () => {
      const shared = target()
      const jobs = Array.from({ length: 24 }, (_, i) => ({
        sessionId: sessionId(i),
        principal: principal({ repository_id: String(1000 + i), check_run_id: String(7000 + i) }),
      }))
      const minted = await Promise.all(
        jobs.map((job) => shared.mint(rig.spec, order(rig.specs, job))),
      )
      expect(minted.map((each) => rig.holder(granted(each).reply))).toEqual(
        jobs.map((job) => job.sessionId),
      )
    })

    if ('none' in harness.cloud) return
    const answers = harness.cloud
    const next = (...names: readonly string[]) => rig.cloud!.next(...names)
    const requests = () => rig.cloud!.requests()

    it.each(answers.final)('refuses at once, without asking again: %s', async (answer) => {
      next(answer)
      expect(await mint()).toMatchObject({ ok: false, code: 'target_refused', target: name })
      expect(requests()).toBe(1)
    })

    it.each(answers.lies)('takes no less protection than it asked for: %s', async (answer) => {
      next(answer)
      expect(await mint()).toMatchObject({ ok: false, code: 'target_refused', target: name })
      expect(requests()).toBe(1)
    })

    it.each(answers.transient)('asks again after what may pass: %s', async (answer) => {
      next(answer)
      expect(await mint()).toMatchObject({ ok: true })
      expect(requests()).toBe(2)
    })

    it.each(answers.transient)('gives up on what does not pass: %s', async (answer) => {
      next(...Array.from({ length: 50 }, () => answer))
      expect(await mint()).toMatchObject({ ok: false, code: 'target_unavailable', target: name })
      expect(requests()).toBeGreaterThan(1)
      expect(requests()).toBeLessThan(10)
    })

    it.each(answers.hangs)('gives up within its own bound: %s', async (answer) => {
      next(...Array.from({ length: 50 }, () => answer))
      expect(await mint({}, { limit: 150 })).toMatchObject({
        ok: false,
        code: 'target_unavailable',
        target: name,
      })
    })

    it.each(answers.hangs)('gives up when the order is called off: %s', async (answer) => {
      next(...Array.from({ length: 50 }, () => answer))
      const calledOff = new AbortController()
      const minting = mint({ signal: calledOff.signal }, { limit: 3_600_000 })
      await vi.waitUntil(() => requests() > 0)
      calledOff.abort()
      expect(await minting).toMatchObject({ ok: false, code: 'target_unavailable', target: name })
      expect(requests()).toBe(1)
    })

    it('asks nobody for an order that is called off already', async () => {
      expect(await mint({ signal: AbortSignal.abort() })).toMatchObject({
        ok: false,
        code: 'target_unavailable',
      })
      expect(requests()).toBe(0)
    })

    it.each([...answers.echoes, ...answers.final, ...answers.lies])(
      'keeps what it showed the cloud out of its refusal: %s',
      async (answer) => {
        next(answer)
        const { result, printed } = await watched(() => mint())
        expect(result.ok).toBe(false)
        expect(rig.cloud!.shown().length).toBeGreaterThan(0)
        expectNone(rig.cloud!.shown(), [...shapes(result), printed])
      },
    )

    it('says so when the cloud gives a shorter time', async () => {
      next(answers.shorter)
      expect(granted(await mint({ ttl: 900 })).expiresAt).toBe(NOW + 840_000)
    })
  })
}

const granted = <R>(result: Minted<R> | MintRefusal): Minted<R> => {
  if (!result.ok) throw new Error(`refused: ${inspect(result)}`)
  return result
}

/** Every way in which a value commonly ends up as text. */
const shapes = (value: unknown): readonly string[] => [
  JSON.stringify(value),
  inspect(value, { depth: Infinity, showHidden: true }),
  String(value),
]

/** Not even a piece: a JWT is looked for by each of its parts. */
const expectNone = (secrets: readonly string[], texts: readonly string[]): void => {
  const pieces = secrets.flatMap((secret) => secret.split('.')).filter((piece) => piece.length > 15)
  expect(pieces.length).toBeGreaterThan(0)
  for (const text of texts) for (const piece of pieces) expect(text).not.toContain(piece)
}

/** Runs `work` and keeps what it wrote to the console or the process's streams. */
const watched = async <T>(
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly printed: string }> => {
  const printed: string[] = []
  const note = (...values: readonly unknown[]): boolean => {
    printed.push(values.map((value) => inspect(value, { depth: Infinity })).join(' '))
    return true
  }
  const spies = [
    vi.spyOn(process.stdout, 'write').mockImplementation(note),
    vi.spyOn(process.stderr, 'write').mockImplementation(note),
    ...(['debug', 'log', 'info', 'warn', 'error', 'trace'] as const).map((method) =>
      vi.spyOn(console, method).mockImplementation(note),
    ),
  ]
  try {
    return { result: await work(), printed: printed.join('\n') }
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
}
