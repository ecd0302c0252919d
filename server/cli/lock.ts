import { makeId } from '../id.ts'
import { parseLockSubject, type LockKind } from '../session/admit.ts'
import type { Lock, SessionStore } from '../session/store.ts'
import { rfc3339, type World } from '../world.ts'
import type { Command } from 'commander'
import { duration } from '../config/values.ts'
import type { Config } from '../config/config.ts'
import { CONFIG, configOf, format, notes, type ProgramParts } from './parts.ts'
import { CommandError, table, type ExitCode, type Format, type Terminal } from './terminal.ts'

export interface LockDesk extends Pick<SessionStore, 'commit'> {
  locks(): Promise<readonly Lock[]>
}

export interface LockAsk {
  readonly subject: string
  readonly reason: string
  /** Milliseconds; null: until it is removed. */
  readonly forMs: number | null
  /** Aliases of the configured issuers. */
  readonly issuers: readonly string[]
}

/** `tvm lock add SUBJECT --reason TEXT [--for 2h]`: stops at the next step 4 or 10 of any exchange it names. */
export const lockAdd = async (
  desk: LockDesk,
  ask: LockAsk,
  world: World,
  terminal: Terminal,
): Promise<ExitCode> => {
  if (ask.reason.trim() === '') throw new CommandError('--reason says nothing')
  const subject = readSubject(ask)
  const now = world.now()
  const id = makeId('lck', now, world.random(10))
  const expiresAt = ask.forMs === null ? null : now + ask.forMs
  const lock: Lock = { id, subject, reason: ask.reason, createdAt: now, expiresAt }
  const body = {
    event: 'lock.added' as const,
    lock: id,
    subject: lock.subject,
    reason: lock.reason,
    expires_at: expiresAt,
    by: 'local',
  }
  await desk.commit({ kind: 'lock', now, add: [lock], remove: [], body })
  terminal.out(`${id}\n`)
  return 0
}

/** How each kind of subject is written. */
const FORMS = {
  all: 'all',
  issuer: 'issuer:github',
  key: 'key:github:<kid of the signing key>',
  owner: 'owner:github:8841',
  repository: 'repository:github:99120',
  workflow: 'workflow:github:acme/payments/.github/workflows/deploy.yml[@refs/heads/main]',
  actor: 'actor:github:583231',
  grant: 'grant:payments-deploy',
  job: 'job:<job as tvm audit list prints it>',
  session: 'session:ses_<id as tvm audit list prints it>',
} as const satisfies Record<LockKind, string>

const ISSUER = /^(?:issuer|key|owner|repository|workflow|actor|job):([^:/]+)/

/** A subject that names something; a slip of the pen must not pass for a stop. */
const readSubject = ({ subject, issuers }: LockAsk): string => {
  const read = parseLockSubject(subject)
  if (!read.ok) {
    const form = Object.entries(FORMS).find(([kind]) => kind === subject.split(':', 1)[0])?.[1]
    throw new CommandError(`not a lock subject: ${read.cause ?? ''}`, [
      form === undefined
        ? `Such as ${FORMS.repository} or ${FORMS.grant}.`
        : `Write it as ${form}.`,
    ])
  }
  const alias = ISSUER.exec(read.value)?.[1]
  if (alias !== undefined && !issuers.includes(alias))
    throw new CommandError(`no issuer is called ${alias} in this configuration`, [
      `There is ${issuers.join(', ')}.`,
    ])
  return read.value
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
  world: World,
  terminal: Terminal,
): Promise<ExitCode> => {
  const locks = await desk.locks()
  const now = world.now()
  if (format === 'json') terminal.out(`${JSON.stringify(locks)}\n`)
  else
    terminal.out(
      table(
        ['id', 'subject', 'since', 'until', 'reason'],
        locks.map((lock) => row(lock, now)),
      ),
    )
  return 0
}

const row = (lock: Lock, now: number): string[] => [
  lock.id,
  lock.subject,
  rfc3339(lock.createdAt),
  until(lock.expiresAt, now),
  lock.reason,
]

const until = (expiresAt: number | null, now: number): string => {
  if (expiresAt === null) return 'it is removed'
  return `${rfc3339(expiresAt)}${now < expiresAt ? '' : ' (over)'}`
}

const EXAMPLES = [
  'tvm lock add repository:github:99120 --reason "incident 7" --for 2h',
  'tvm lock list',
  'tvm lock remove lck_01M80Z9CHVKZQQZWPZCPDM979W    the id that add and list print',
]

const ADD_NOTES = `
Subjects:
${Object.values(FORMS)
  .map((form) => `  ${form}`)
  .join('\n')}
${notes(
  '0 the lock holds from now on (its id is printed), 2 bad input or use',
  'tvm lock add repository:github:99120 --reason "incident 7" --for 2h',
  'tvm lock add all --reason "key ceremony"',
)}`
const REMOVE_NOTES = notes(
  '0 removed, 1 there is no such lock, 2 bad input or use',
  ...EXAMPLES.slice(2),
)
const LIST_NOTES = notes(
  '0 done, 2 bad input or use',
  'tvm lock list',
  'tvm lock list --format json',
)

export const lockCommands = (program: Command, parts: ProgramParts, terminal: Terminal): void => {
  const lock = program
    .command('lock')
    .description("an operator's stop, on this machine's database")
    .addHelpText('after', notes('0 done, 1 no such lock, 2 bad input or use', ...EXAMPLES))
  addCommand(lock, parts, terminal)
  lock
    .command('remove <id>')
    .description('remove a lock')
    .option(...CONFIG)
    .addHelpText('after', REMOVE_NOTES)
    .action((id: string, options: { config?: string }) =>
      atDesk(parts, options.config, (desk) => lockRemove(desk, id, parts.world, terminal)),
    )
  lock
    .command('list')
    .description('the locks, those that ran out as well')
    .option(...CONFIG)
    .addOption(format())
    .addHelpText('after', LIST_NOTES)
    .action((options: { config?: string; format: Format }) =>
      atDesk(parts, options.config, (desk) =>
        lockList(desk, options.format, parts.world, terminal),
      ),
    )
}

const addCommand = (lock: Command, parts: ProgramParts, terminal: Terminal): void => {
  lock
    .command('add <subject>')
    .description('stop whatever the subject names, at once')
    .option(...CONFIG)
    .requiredOption('--reason <text>', 'why; shown to operators only')
    .option('--for <duration>', 'how long, such as 30m or 2h (default: until it is removed)')
    .addHelpText('after', ADD_NOTES)
    .action((subject: string, options: { config?: string; reason: string; for?: string }) =>
      atDesk(parts, options.config, (desk, config) => {
        const issuers = config.issuers.map(({ alias }) => alias)
        const ask = { subject, reason: options.reason, forMs: durationOf(options.for), issuers }
        return lockAdd(desk, ask, parts.world, terminal)
      }),
    )
}

const atDesk = async (
  parts: ProgramParts,
  file: string | undefined,
  act: (desk: LockDesk, config: Config) => Promise<ExitCode>,
): Promise<void> => {
  const config = configOf(parts, file)
  const desk = await parts.openDesk(config)
  process.exitCode = await act(desk, config).finally(() => desk.close())
}

const durationOf = (text: string | undefined): number | null => {
  if (text === undefined) return null
  const read = duration('1s', '9999h')(text, '')
  if ('problem' in read) throw new CommandError(`--for ${read.problem}`)
  return read.value
}
