import { join } from 'node:path'
import { readChain } from '../../server/audit/verify.ts'
import type { AuditRecord } from '../../server/audit/record.ts'
import type { StoredSession } from '../../server/session/session.ts'
import type { Lock } from '../../server/session/store.ts'
import { openSqliteDesk, openSqliteReadOnly } from '../../server/store/sqlite.ts'
import type { LocalWorld } from '../world/world.ts'

export const databaseOf = ({ folder }: Pick<LocalWorld, 'folder'>): string =>
  join(folder, 'data', 'tvm.db')

/** The whole audit chain, read beside the broker. */
export const records = async (
  world: Pick<LocalWorld, 'folder'>,
): Promise<readonly AuditRecord[]> => {
  const store = await openSqliteReadOnly({ path: databaseOf(world) })
  try {
    const found: AuditRecord[] = []
    for await (const record of readChain((from, limit) => store.records(from, limit)))
      found.push(record)
    return found
  } finally {
    await store.close()
  }
}

/** The events that one request left, in order. */
export const eventsOf = async (
  world: Pick<LocalWorld, 'folder'>,
  requestId: string,
): Promise<readonly string[]> =>
  (await records(world))
    .filter(({ body }) => body.request_id === requestId)
    .map(({ body }) => body.event)

export const sessionRow = async (
  world: Pick<LocalWorld, 'folder'>,
  id: string,
): Promise<StoredSession | null> => {
  const store = await openSqliteReadOnly({ path: databaseOf(world) })
  try {
    return await store.session(id)
  } finally {
    await store.close()
  }
}

/** What an operator's command does beside the running broker. */
export const addLock = async (world: LocalWorld, lock: Lock): Promise<void> => {
  const desk = await openSqliteDesk({ path: databaseOf(world) })
  try {
    const { id, subject, createdAt: now } = lock
    const body = { event: 'lock.added' as const, lock: id, subject }
    await desk.commit({ kind: 'lock', now, add: [lock], remove: [], body })
  } finally {
    await desk.close()
  }
}
