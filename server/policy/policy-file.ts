import type { Finding } from './problem.ts'

/** A file below the policy folder: its path from there, with `/`, and its text, or what kept it from being text. */
export interface PolicyFile {
  readonly path: string
  readonly text: string
  readonly fault?: FileFault
}

export interface FileFault {
  readonly code: 'file_unreadable' | 'file_too_large'
  readonly message: string
  readonly hint: string
}

/** Bytes; of a text, UTF-16 units, which are never more. */
export const MAX_FILE = 1024 * 1024

export const TOO_LARGE: FileFault = {
  code: 'file_too_large',
  message: 'the file is larger than 1 MiB',
  hint: 'split it',
}

export const faultOf = ({ path, text, fault }: PolicyFile): Finding | null => {
  const found = fault ?? (text.length > MAX_FILE ? TOO_LARGE : null)
  return found === null ? null : { ...found, at: { file: path, line: 1, column: 1 } }
}
