import type { PrivateFile } from '../private-files.ts'

/** An environment variable for the steps that follow. */
export interface Variable {
  readonly name: string
  readonly value: string
  /** What the post step sets it to if it still holds `value`; null leaves it as it is. */
  readonly after: string | null
}

/** How one reply reaches the job; nothing has been written yet. */
export interface Exported {
  readonly variables: readonly Variable[]
  /** To be written into `ExportPlace.folder`. */
  readonly files: readonly PrivateFile[]
  /** Outputs that carry secrets, set only when the workflow asks for them. */
  readonly secrets: Readonly<Record<string, string>>
}

/** Where exports go. */
export interface ExportPlace {
  readonly env: NodeJS.ProcessEnv
  /** Folder of this use below RUNNER_TEMP; it need not exist yet. */
  readonly folder: string
  /** The job's private JWK. */
  readonly keyFile: string
  readonly awsRegion: string | null
}
