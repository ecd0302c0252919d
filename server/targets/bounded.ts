import type { World } from '../world.ts'

/** What `work` comes to, or null when `signal` aborts first: for work that may not listen to the signal. */
export const within = async <T>(signal: AbortSignal, work: Promise<T>): Promise<T | null> => {
  if (signal.aborted) return discarded(work)
  let stop: (() => void) | undefined
  const over = new Promise<null>((resolve) => {
    stop = () => resolve(null)
    signal.addEventListener('abort', stop)
  })
  try {
    return await Promise.race([work, over])
  } finally {
    if (stop) signal.removeEventListener('abort', stop)
  }
}

const discarded = (work: Promise<unknown>): null => {
  work.catch(() => undefined)
  return null
}

/** How often a target asks its cloud, and how long it waits before it asks again. */
const TRIES = 3
const FIRST_PAUSE = 200

/** `attempt` until it is final, three times at most; pauses of up to 0.2 and 0.4 s, drawn at random. */
export const retried = async <T>(
  attempt: () => Promise<T>,
  isTransient: (outcome: T) => boolean,
  { random, sleep }: Pick<World, 'random' | 'sleep'>,
  signal: AbortSignal,
): Promise<T> => {
  for (let tries = 1; ; tries++) {
    const outcome = await attempt()
    if (tries === TRIES || signal.aborted || !isTransient(outcome)) return outcome
    const pause = FIRST_PAUSE * 2 ** (tries - 1) * ((random(1)[0] ?? 0) / 255)
    if (!(await slept(sleep(pause, signal)))) return outcome
  }
}

const slept = (pause: Promise<void>): Promise<boolean> =>
  pause.then(
    () => true,
    () => false,
  )
