import type { Place, PolicyProblem, PolicyProblemCode } from './grant.ts'

/** What went wrong, as its finder says it; always null, so that a parser can `return say(…)`. */
export type Say = (problem: Finding) => null

export interface Finding {
  readonly code: PolicyProblemCode
  readonly at: Place
  readonly message: string
  readonly hint: string
}

export interface Findings {
  readonly say: Say
  readonly problems: readonly PolicyProblem[]
}

/** Who has read a hundred mends those first. */
const MAX_PROBLEMS = 100

export const collectFindings = (): Findings => {
  const problems: PolicyProblem[] = []
  const say = (problem: Finding): null => {
    if (problems.length < MAX_PROBLEMS) problems.push(problem)
    return null
  }
  return { say, problems }
}

/** `payments/deploy.yaml:7:5: <message> (<hint>)` */
export const formatProblem = ({ at, message, hint }: PolicyProblem): string =>
  `${formatPlace(at)}:${at.column}: ${message} (${hint})`

/** `payments/deploy.yaml:7` */
export const formatPlace = ({ file, line }: Place): string => `${file}:${line}`

/** "did you mean …" where a known word is near, else the list of what is known. */
export const suggest = (word: string, known: readonly string[]): string => {
  const [near] = known
    .map((candidate) => ({ candidate, far: distance(word, candidate) }))
    .sort((a, b) => a.far - b.far)
  return near === undefined || near.far > 2
    ? `known here: ${known.join(', ')}`
    : `did you mean '${near.candidate}'?`
}

/** Levenshtein distance; words over 64 characters are far from everything. */
const distance = (a: string, b: string): number => {
  if (a.length > 64) return Infinity
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a.charAt(i - 1) === b.charAt(j - 1) ? 0 : 1)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, swap))
    }
    row = next
  }
  return row[b.length] ?? Infinity
}
