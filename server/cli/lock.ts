import { makeId } from '../id.ts'
import { parseLockSubject } from '../session/admit.ts'
import type { Lock, SessionStore } from '../session/store.ts'
import { rfc3339, type World } from '../world.ts'
import type { Command } from 'commander'
import { duration } from '../config/values.ts'
import { CONFIG, configOf, format, type ProgramParts } from './parts.ts'
import { CommandError, table, type ExitCode, type Format, type Terminal } from './terminal.ts'

export interface LockDesk extends Pick<SessionStore, 'commit'> {
  locks(): Promise<readonly Lock[]>
}

/** `tvm lock add SUBJECT --reason TEXT [--for 2h]`: stops at the next step 4 or 10 of any exchange it names. */
export const lockAdd = async (
  desk: LockDesk,
  ask: { readonly subject: string; readonly reason: string; readonly forMs: number | null },
  world: World,
  terminal: Terminal,
): Promise<ExitCode> => {
  const subject = parseLockSubject(ask.subject)
  if (!subject.ok)
    throw new CommandError(`not a lock subject: ${subject.cause ?? ''}`, [
      'Such as repository:github:99120, grant:payments-deploy or all.',
    ])
  const now = world.now()
  const id = makeId('lck', now, world.random(10))
  const expiresAt = ask.forMs === null ? null : now + ask.forMs
  const lock: Lock = { id, subject: subject.value, reason: ask.reason, createdAt: now, expiresAt }
  const body = {
    event: 'lock.added' as const,
    lock: id,
    subject: lock.subject,
    reason: lock.reason,
    by: 'local',
  }
  await desk.commit({ kind: 'lock', now, add: [lock], remove: [], body })
  terminal.out(`${id}\n`)
  return 0
}

/** `tvm lock remove ID` */
export const lockRemove = async (
  desk: LockDesk,
  id: string,
  world: World,
  terminal: Terminal,
): Promise<ExitCode> => {
  const lock = (await desk.locks()).find((each) => each.id === id)
  if (lock === undefined)
    throw new CommandError('there is no lock of that id', ['See tvm lock list.'], 1)
  const body = { event: 'lock.removed' as const, lock: id, subject: lock.subject, by: 'local' }
  await desk.commit({ kind: 'lock', now: world.now(), add: [], remove: [id], body })
  terminal.out(`removed ${id}\n`)
  return 0
}

/** `tvm lock list` */
export const lockList = async (
  desk: Pick<LockDesk, 'locks'>,
  format: Format,
  terminal: Terminal,
): Promise<ExitCode> => {
  const locks = await desk.locks()
  if (format === 'json') terminal.out(`${JSON.stringify(locks)}\n`)
  else terminal.out(table(['id', 'subject', 'since', 'until', 'reason'], locks.map(row)))
  return 0
}

const row = (lock: Lock): string[] => [
  lock.id,
  lock.subject,
  rfc3339(lock.createdAt),
  lock.expiresAt === null ? 'removed' : rfc3339(lock.expiresAt),
  lock.reason,
]

export const lockCommands = (program: Command, parts: ProgramParts, terminal: Terminal): void => {
  const lock = program.command('lock').description("an operator's stop, on this machine's database")
  const desk = async (config: string | undefined, act: (desk: LockDesk) => Promise<ExitCode>) => {
    const open = await parts.openDesk(configOf(parts, config))
    process.exitCode = await act(open).finally(() => open.close())
  }
  lock
    .command('add <subject>')
    .description(
      'lock all, issuer:, key:, owner:, repository:, workflow:, actor:, grant:, job: or session:',
    )
    .option(...CONFIG)
    .requiredOption('--reason <text>', 'why; shown to operators only')
    .option('--for <duration>', 'how long, such as 30m or 2h (default: until it is removed)')
    .action((subject: string, options: { config?: string; reason: string; for?: string }) =>
      desk(options.config, (open) =>
        lockAdd(
          open,
          { subject, reason: options.reason, forMs: durationOf(options.for) },
          parts.world,
          terminal,
        ),
      ),
    )
  lock
    .command('remove <id>')
    .description('remove a lock')
    .option(...CONFIG)
    .action((id: string, options: { config?: string }) =>
      desk(options.config, (open) => lockRemove(open, id, parts.world, terminal)),
    )
  lock
    .command('list')
    .description('the locks')
    .option(...CONFIG)
    .addOption(format())
    .action((options: { config?: string; format: Format }) =>
      desk(options.config, (open) => lockList(open, options.format, terminal)),
    )
}

const durationOf = (text: string | undefined): number | null => {
  if (text === undefined) return null
  const read = duration('1s', '9999h')(text, '')
  if ('problem' in read) throw new CommandError(`--for ${read.problem}`)
  return read.value
}
