/** One step of the schema. A released step is never changed: what it made is out there. */
export interface Migration {
  /** From 1, without gaps. */
  readonly version: number
  readonly sql: string
}

/** The schema of the SQLite store, oldest step first. */
export const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    sql: `
      CREATE TABLE sessions (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL CHECK (state IN ('pending', 'active', 'failed', 'withheld', 'ended')),
        grant_name TEXT NOT NULL,
        issuer TEXT NOT NULL,
        job TEXT NOT NULL,
        jkt TEXT,
        token_hash TEXT NOT NULL,
        scope TEXT NOT NULL CHECK (scope IN ('end', 'vend')),
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        renew_until INTEGER NOT NULL,
        decision_id TEXT NOT NULL,
        revision TEXT NOT NULL,
        subjects TEXT NOT NULL CHECK (json_valid(subjects)),
        mac TEXT NOT NULL
      ) STRICT;
      CREATE INDEX sessions_of_a_hold ON sessions (job, grant_name, seq);
      CREATE UNIQUE INDEX one_live_session_of_a_hold ON sessions (job, grant_name)
        WHERE state IN ('pending', 'active');

      CREATE TABLE once (key TEXT PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
      CREATE INDEX once_by_end ON once (until);

      CREATE TABLE buckets (
        key TEXT NOT NULL,
        start INTEGER NOT NULL,
        ends INTEGER NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (key, start)
      ) STRICT, WITHOUT ROWID;
      CREATE INDEX buckets_by_end ON buckets (ends);

      CREATE TABLE locks (
        id TEXT PRIMARY KEY,
        subject TEXT NOT NULL,
        reason TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER
      ) STRICT, WITHOUT ROWID;
      CREATE INDEX locks_by_subject ON locks (subject);

      CREATE TABLE audit (
        position INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        previous TEXT NOT NULL,
        body TEXT NOT NULL CHECK (json_valid(body)),
        hash TEXT NOT NULL
      ) STRICT;
      -- Against accidents. Against intent there is the chain.
      CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'audit records are never changed'); END;
      CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'audit records are never deleted'); END;

      -- Refusals counted and not recorded: one row, or none.
      CREATE TABLE summarised (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        count INTEGER NOT NULL,
        since INTEGER NOT NULL
      ) STRICT;
    `,
  },
]
