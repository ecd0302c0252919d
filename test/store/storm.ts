import { hashToken } from '../../server/session/session.ts'
import { openSqlite } from '../../server/store/sqlite.ts'
import { intend, note, once, refuse, row, settle } from './changes.ts'

/**
 * `node storm.ts <database> <round>`: a process that commits in many lanes until it is killed, and prints a line for
 * each commit once it was acknowledged.
 */
const [path = '', round = ''] = process.argv.slice(2)
const store = await openSqlite({ path })

const tell = (line: object): void => {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

const lane = async (number: number): Promise<never> => {
  for (let n = 0; ; n++) {
    const id = `ses_${round}_${number}_${n}`
    const one = row({ id, job: id, decisionId: `dec_${id}`, tokenHash: hashToken(id) })
    const intended = await store.commit(
      intend(one, {
        once: once(`token ${id}`),
        body: { event: 'exchange.intent', decision_id: one.decisionId, session: id },
      }),
    )
    tell({ intended: id, receipt: intended.receipt })
    const settled = await store.commit(settle(one))
    tell({ settled: id, receipt: settled.receipt })
    tell({ receipt: (await store.commit(refuse())).receipt })
    tell({ receipt: (await store.commit(note(n))).receipt })
  }
}

await Promise.all(Array.from({ length: 40 }, (_, number) => lane(number)))
