import type { Dialect } from '../identity/dialects.ts'
import type { Block, Line } from './grant.ts'
import { readBlocks } from './lines.ts'
import type { Say } from './problem.ts'
import type { Node } from './yaml.ts'

/** The allow blocks of a grant: each pinned by immutable ids, none open to events that its author did not name. */
export const readAllow = (
  node: Node,
  dialect: Dialect,
  say: Say,
): readonly [Block, ...Block[]] | null => {
  const blocks = readBlocks(node, 'allow', { dialects: [dialect], say })
  for (const block of blocks ?? []) refuseUnpinned(block, dialect, say)
  const [first, ...rest] = (blocks ?? []).map((block) => withDefaultEvents(block, dialect))
  return first === undefined ? null : [first, ...rest]
}

export const readDeny = (node: Node, dialect: Dialect, say: Say): readonly Block[] =>
  readBlocks(node, 'deny', { dialects: [dialect], say }) ?? []

/**
 * Names can be given to somebody else, ids cannot. The owner's id is wanted in every block: by it a stranger is turned
 * away from memory, before anything is stored.
 */
const refuseUnpinned = (block: Block, dialect: Dialect, say: Say): void => {
  const wanted = [
    dialect.ownerId,
    ...(namesRepository(block, dialect) ? [dialect.repositoryId] : []),
  ]
  for (const claim of wanted)
    if (valuesOf(block, claim) === null)
      say({
        code: 'id_pin_missing',
        at: block.at,
        message: `the block does not pin '${claim}'`,
        hint: `add ${claim}: <digits>; names can change hands, ids cannot`,
      })
}

const namesRepository = (block: Block, { repository }: Dialect): boolean =>
  valuesOf(block, repository)?.some(({ regexp }) => regexp === null) ?? false

/** What a line positively wants of a claim; null when it wants nothing of it, or only what it must not be. */
export const valuesOf = ({ lines }: Block, claim: string) => {
  const test = lines.find((line) => line.claim === claim)?.test
  return test?.is === 'any_of' ? test.patterns : null
}

/** `{not: push}` names no event either: it would let in `pull_request_target`. */
const withDefaultEvents = (block: Block, { event, defaultEvents }: Dialect): Block => {
  if (valuesOf(block, event) !== null) return block
  const patterns = defaultEvents.map((source) => ({ source, regexp: null }))
  const implied: Line = {
    claim: event,
    test: { is: 'any_of', patterns },
    at: block.at,
    implied: true,
  }
  return { ...block, lines: [...block.lines, implied] }
}
