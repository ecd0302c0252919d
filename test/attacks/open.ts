import { startWorld, type LocalWorld, type WorldOptions } from '../world/world.ts'

/**
 * `startWorld`, again when somebody else took one of its ports between their choice and their use: test files run side by side, and
 * every connection that they open takes a port of the same range.
 */
export const openWorld = async (options: WorldOptions = {}, tries = 3): Promise<LocalWorld> => {
  try {
    return await startWorld(options)
  } catch (error) {
    if (tries === 1 || !String(error).includes('EADDRINUSE')) throw error
    return openWorld(options, tries - 1)
  }
}
