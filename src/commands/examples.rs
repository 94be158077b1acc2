//! Examples, shown below each command's help. A test looks whether the program knows the flags that they
//! name.

/// Of the program itself.
pub const PROGRAM: &str = "\
Examples:
  mana-sync dev                                    try it: two replicas and a Postgres on this machine
  mana-sync tail --app todo                        watch what alice gets there
  DATABASE_URL=… JWKS_URL=… mana-sync serve        a node
  DATABASE_URL=… JWKS_URL=… mana-sync doctor       is everything as it should be?

Settings are environment variables and flags; the flag wins. Exit codes: 0 done, 1 something is to be
mended (doctor, health), 2 refused, with one sentence that says why.";

/// Of `serve`.
pub const SERVE: &str = "\
Examples:
  mana-sync serve --database-url postgres://mana_sync:…@db/mana_sync --jwks-url https://auth.example/jwks
  DATABASE_URL=… JWKS_URL=… PORT=3050 ADMIN_PORT=3051 mana-sync serve";

/// Of `migrate`.
pub const MIGRATE: &str = "\
Examples:
  mana-sync migrate --database-url postgres://mana_sync:…@db/mana_sync";

/// Of `import`.
pub const IMPORT: &str = "\
Examples:
  mana-sync import --from postgres://postgres:…@db/old --database-url postgres://mana_sync:…@db/new
  OLD_DATABASE_URL=… DATABASE_URL=… mana-sync import

docs/from-the-old-server.md is the guide.";

/// Of `doctor`.
pub const DOCTOR: &str = "\
Examples:
  DATABASE_URL=… JWKS_URL=… mana-sync doctor --nodes 3";

/// Of `health`.
pub const HEALTH: &str = "\
Examples:
  mana-sync health --port 3050";

/// Of `dev`.
pub const DEV: &str = "\
Examples:
  mana-sync dev
  mana-sync dev --replicas 3 --member carol=home
  mana-sync dev --cors-origins http://localhost:8080
  mana-sync dev --demo";

/// Of `token`.
pub const TOKEN: &str = "\
Examples:
  mana-sync token --user bob
  curl -H \"Authorization: Bearer $(mana-sync token --user bob)\" http://127.0.0.1:3050/sync/todo/stream";

/// Of `tail`.
pub const TAIL: &str = "\
Examples:
  mana-sync tail --app todo --user alice
  mana-sync tail --app todo --table tasks,notes --op insert,delete --space home
  mana-sync tail --app todo --since 1970-01-01T00:00:00Z --json > feed.jsonl
  MANA_SYNC_TOKEN=… mana-sync tail --app todo --url https://sync.example

A lost connection is opened anew from where it was read. Ends with 0 when interrupted.";

/// Of `push`.
pub const PUSH: &str = "\
Examples:
  mana-sync push --app todo changes.jsonl
  mana-sync push --app todo --user bob -
  MANA_SYNC_TOKEN=… mana-sync push --app todo --url https://sync.example changes.jsonl

A line, for example: {\"table\": \"tasks\", \"id\": \"t1\", \"op\": \"insert\", \"data\": {\"title\": \"Milk\"}}
A line without an eventId gets one made of its text: pushing the file again stores nothing twice.";

/// Of `completions`.
pub const COMPLETIONS: &str = "\
Examples:
  mana-sync completions bash > /etc/bash_completion.d/mana-sync
  mana-sync completions zsh > ~/.zfunc/_mana-sync
  mana-sync completions fish > ~/.config/fish/completions/mana-sync.fish";
