import { exportVariable, getInput, getState, info, warning } from '@actions/core'
import { endSessions } from './broker.ts'
import { readCa } from './inputs.ts'
import { readLeft, stillOurs } from './left.ts'
import { removePrivate, tempRoot } from './private-files.ts'

const { env } = process

/** The end of a job waits this long for the broker, and no longer. */
const BUDGET_MS = 5_000

/** End of the job: ends the sessions, removes what main wrote. Nothing here may fail a job that has done its work. */
const post = async (): Promise<void> => {
  await attempt('ending the sessions', endAll)
  await attempt('clearing the environment', clearVariables)
  await attempt('removing the files', removeFiles)
}

const endAll = async (): Promise<void> => {
  const left = readLeft('sessions', getState)
  if (left === null || left.handles.length === 0) return
  const results = await endSessions({ ...left, ca: readCa(getInput), timeoutMs: BUDGET_MS })
  for (const { id, wrong } of results)
    if (wrong === null) info(`TVM ended session ${id}.`)
    else warn(`Session ${id} could not be ended (${wrong}); it ends by itself when it expires.`)
}

/** Later post steps see this; a variable that another step has set since is not ours any more. */
const clearVariables = (): void => {
  for (const { name, after } of stillOurs(readLeft('variables', getState) ?? [], env))
    exportVariable(name, after)
}

/** Exactly what this use wrote. The key goes with the use that made it, whose post step runs last. */
const removeFiles = (): void => {
  const folders = [readLeft('folder', getState), readLeft('key', getState)]
  for (const folder of folders) {
    if (folder === null) continue
    for (const wrong of removePrivate(tempRoot(env), folder)) warn(`${wrong}.`)
  }
}

const attempt = async (what: string, act: () => void | Promise<void>): Promise<void> => {
  try {
    await act()
  } catch (thrown) {
    warn(`${what} failed: ${thrown instanceof Error ? thrown.message : 'unknown cause'}`)
  }
}

const warn = (message: string): void => warning(message, { title: 'TVM cleanup' })

void post()
