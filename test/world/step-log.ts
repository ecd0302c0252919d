import type { Masker } from './mask.ts'
import { parseCommand, type Command } from './workflow-commands.ts'

export type Level = 'error' | 'warning' | 'notice'

export interface Annotation {
  readonly level: Level
  /** Masked, and cut at 4,096 characters. */
  readonly message: string
  /** The runner masks the message alone: a secret in here is shown. */
  readonly title?: string
  readonly file?: string
  readonly line?: string
  readonly endLine?: string
  readonly col?: string
  readonly endColumn?: string
}

/** Where the commands of a step's output have effect. */
export interface Effects {
  output(name: string, value: string): void
  state(name: string, value: string): void
}

export interface StepLogOptions {
  readonly masker: Masker
  readonly effects: Effects
  /** Show debug messages, as a re-run with debug logging does. */
  readonly debug: boolean
  /** Each entry of the log as it is written, masked. */
  readonly onLine: (line: string) => void
}

const MAX_MESSAGE = 4096
const MAX_OF_A_LEVEL = 10
const DISABLED = (name: string): string =>
  `The \`${name}\` command is disabled. Please upgrade to using Environment Files or opt into unsecure command execution by setting the \`ACTIONS_ALLOW_UNSECURE_COMMANDS\` environment variable to \`true\`. For more information see: https://github.blog/changelog/2020-10-01-github-actions-deprecating-set-env-and-add-path-commands/`
const DEPRECATED = (name: string): string =>
  `The \`${name}\` command is deprecated and will be disabled soon. Please upgrade to using Environment Files. For more information see: https://github.blog/changelog/2022-10-11-github-actions-deprecating-save-state-and-set-output-commands/`
const BAD_STOP_TOKEN =
  "You cannot use a endToken that is an empty string, the string 'pause-logging', or another workflow command. For more information see: https://docs.github.com/actions/learn-github-actions/workflow-commands-for-github-actions#example-stopping-and-starting-workflow-commands or opt into insecure command execution by setting the `ACTIONS_ALLOW_UNSECURE_STOPCOMMAND_TOKENS` environment variable to `true`."

/** The log of one step: takes its raw output line by line, obeys the commands in it, masks the rest. */
export class StepLog {
  readonly annotations: Annotation[] = []
  readonly entries: string[] = []
  /** A command or a command file was malformed; the step fails whatever its exit code. */
  failed = false
  readonly #options: StepLogOptions
  readonly #known = new Set([...Object.keys(COMMANDS), 'stop-commands'])
  #stopToken: string | null = null
  echo = false

  constructor(options: StepLogOptions) {
    this.#options = options
  }

  /** One line of the process's output, standard error included. */
  take(line: string): void {
    const command = parseCommand(line, this.#known)
    if (command === null || !this.#obey(command, line)) this.write(line)
  }

  write(text: string): void {
    const masked = this.#options.masker.mask(text)
    this.entries.push(masked)
    this.#options.onLine(masked)
  }

  debug(text: string): void {
    if (this.#options.debug) this.write(`##[debug]${text}`)
  }

  issue(level: Level, message: string, properties: ReadonlyMap<string, string> = new Map()): void {
    const masked = this.#options.masker.mask(message).slice(0, MAX_MESSAGE)
    const place = Object.fromEntries(
      Object.entries(PLACES).flatMap(([key, name]) => {
        const value = properties.get(key)
        return value === undefined ? [] : [[name, value]]
      }),
    )
    if (this.annotations.filter((each) => each.level === level).length < MAX_OF_A_LEVEL)
      this.annotations.push({ level, message: masked, ...place })
    if (masked !== '') this.write(`##[${level}]${masked}`)
  }

  /** Something malformed in what the step said. */
  fail(what: string, why: unknown): void {
    this.issue('error', what)
    this.issue('error', why instanceof Error ? why.message : String(why))
    this.failed = true
  }

  addMask(value: string): void {
    this.#options.masker.add(value)
  }

  get effects(): Effects {
    return this.#options.effects
  }

  /** False: the line was no command after all, and is output. */
  #obey(command: Command, line: string): boolean {
    if (this.#stopToken !== null) return this.#resume(command, line)
    const { quiet = false, run } = COMMANDS[command.name] ?? { quiet: true }
    if (this.echo && !quiet) this.write(line)
    try {
      if (run === undefined) this.#stop(command, line)
      else run(this, command)
    } catch (error) {
      this.fail(`Unable to process command '${quiet ? command.name : line}' successfully.`, error)
    }
    return true
  }

  #stop({ data }: Command, line: string): void {
    const token = data.toLowerCase()
    if (token === '' || token === 'pause-logging' || this.#known.has(token))
      throw new Error(BAD_STOP_TOKEN)
    this.#stopToken = token
    this.#known.add(token)
    if (data.length > 6) this.addMask(data)
    this.write(line)
  }

  #resume(command: Command, line: string): boolean {
    if (command.name !== this.#stopToken) return false
    this.#known.delete(this.#stopToken)
    this.#stopToken = null
    this.write(line)
    return true
  }
}

const PLACES: Readonly<Record<string, keyof Annotation>> = {
  title: 'title',
  file: 'file',
  line: 'line',
  endline: 'endLine',
  col: 'col',
  endcolumn: 'endColumn',
}

interface Handler {
  /** The runner never echoes this command. */
  readonly quiet?: boolean
  readonly run: (log: StepLog, command: Command) => void
}

const annotate = (level: Level): Handler => ({
  quiet: true,
  run: (log, { data, properties }) => {
    log.issue(level, data, properties)
  },
})

const disabled = (name: string): Handler => ({
  run: () => {
    throw new Error(DISABLED(name))
  },
})

const store = (name: string, into: keyof Effects): Handler => ({
  run: (log, { properties, data }) => {
    log.issue('warning', DEPRECATED(name))
    const key = properties.get('name')
    if (key === undefined)
      throw new Error(`Required field 'name' is missing in ##[${name}] command.`)
    log.effects[into](key, data)
  },
})

const nothing: Handler = { run: () => undefined }

/** Every workflow command of the runner (ActionCommandManager.cs); problem matchers are taken and have no effect. */
const COMMANDS: Readonly<Record<string, Handler | undefined>> = {
  'add-mask': {
    quiet: true,
    run: (log, { data }) => {
      if (data.trim() === '')
        log.issue('warning', "Can't add secret mask for empty string in ##[add-mask] command.")
      else {
        if (log.echo) log.write('::add-mask::***')
        log.addMask(data)
      }
    },
  },
  'add-matcher': nothing,
  'remove-matcher': nothing,
  'add-path': disabled('add-path'),
  'set-env': disabled('set-env'),
  'set-output': store('set-output', 'output'),
  'save-state': store('save-state', 'state'),
  debug: {
    quiet: true,
    run: (log, { data }) => {
      log.debug(data)
    },
  },
  error: annotate('error'),
  warning: annotate('warning'),
  notice: annotate('notice'),
  group: {
    run: (log, { data }) => {
      log.write(`##[group]${data}`)
    },
  },
  endgroup: {
    run: (log) => {
      log.write('##[endgroup]')
    },
  },
  echo: {
    run: (log, { data }) => {
      const wish = data.trim().toLowerCase()
      if (wish !== 'on' && wish !== 'off')
        throw new Error(
          `Invalid echo command value. Possible values can be: 'on', 'off'. Current value is: '${data}'.`,
        )
      log.echo = wish === 'on'
    },
  },
}
