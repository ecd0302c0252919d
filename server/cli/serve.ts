import type { Command } from 'commander'
import { makeLog, type Log } from '../log.ts'
import { CONFIG, configOf, notes, type Closable, type ProgramParts } from './parts.ts'
import { codeOf, complain, type Terminal } from './terminal.ts'

const NOTES = notes(
  '0 stopped in order, 1 stopped badly, 2 did not start',
  'tvm serve                                  on 127.0.0.1:8080, with ./policies and ./data',
  'tvm serve --config /etc/tvm/tvm.yaml',
  'TVM_LISTEN=127.0.0.1:9000 tvm serve        an environment variable wins over tvm.yaml',
)

export const serveCommand = (program: Command, parts: ProgramParts, terminal: Terminal): void => {
  program
    .command('serve')
    .description('run the broker until SIGINT or SIGTERM')
    .option(...CONFIG)
    .addHelpText('after', NOTES)
    .action(async (options: { config?: string }) => {
      const config = configOf(parts, options.config)
      const log = makeLog(config.log_level, process.stdout)
      const stopAsked = listenForStop(log, terminal)
      if (config.ignored.length > 0)
        log.warn('variables that mean nothing to the broker', { names: config.ignored.join(' ') })
      const running = await parts.startBroker(config, parts.world, log)
      void stopAsked.then(() => stop(running, log))
    })
}

const STOP_MS = 15_000

/**
 * Resolves with the first signal, or when the log cannot be written any more. A second signal, or a stop that hangs, ends the
 * process. It listens before the start, so that a signal in the midst of that stops in order as well.
 */
const listenForStop = (log: Log, terminal: Terminal): Promise<void> =>
  new Promise((resolve) => {
    let asked = false
    const ask = (event: string): void => {
      if (asked) process.exit(1)
      asked = true
      log.info('stopping', { event })
      setTimeout(() => process.exit(1), STOP_MS).unref()
      resolve()
    }
    process.on('SIGINT', ask)
    process.on('SIGTERM', ask)
    process.stdout.once('error', (error) => {
      complain(terminal, `the log cannot be written (${codeOf(error)}): stopping`)
      process.exitCode = 1
      if (!asked) ask('log')
    })
  })

const stop = async (running: Closable, log: Log): Promise<void> => {
  try {
    await running.close()
    log.info('stopped')
  } catch (error) {
    log.error('stopped badly', { cause: String(error) })
    process.exit(1)
  }
}
