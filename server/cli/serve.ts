import type { Command } from 'commander'
import { makeLog, type Log } from '../log.ts'
import { CONFIG, configOf, type Closable, type ProgramParts } from './parts.ts'

export const serveCommand = (program: Command, parts: ProgramParts): void => {
  program
    .command('serve')
    .description('run the broker until SIGINT or SIGTERM')
    .option(...CONFIG)
    .action(async (options: { config?: string }) => {
      const config = configOf(parts, options.config)
      const log = makeLog(config.log_level, process.stdout)
      if (config.ignored.length > 0)
        log.warn('variables that mean nothing to the broker', { names: config.ignored.join(' ') })
      const running = await parts.startBroker(config, parts.world, log)
      stopOnSignal(running, log)
    })
}

const STOP_MS = 15_000

/** The first signal stops in order; the second one, or a stop that hangs, ends the process. */
const stopOnSignal = (running: Closable, log: Log): void => {
  let stopping = false
  const stop = (signal: string): void => {
    if (stopping) process.exit(1)
    stopping = true
    log.info('stopping', { event: signal })
    setTimeout(() => process.exit(1), STOP_MS).unref()
    running.close().then(
      () => log.info('stopped'),
      (error: unknown) => {
        log.error('stopped badly', { cause: String(error) })
        process.exit(1)
      },
    )
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
}
