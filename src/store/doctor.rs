//! A look at the database from outside: what is not as it should be, and what was lost with another.

use std::fmt;
use std::time::Duration;

use sqlx::{ConnectOptions, Connection};

use super::migrate::{is_prepared, vet};
use super::{StartError, Store, connect_options};

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// As it should be.
    Well,
    /// To be known; it may be meant so.
    Note,
    /// To be mended.
    Wrong,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How well it is.
    pub grade: Grade,
    /// One sentence.
    pub says: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grade = match self.grade {
            Grade::Well => "ok   ",
            Grade::Note => "note ",
            Grade::Wrong => "WRONG",
        };
        write!(f, "{grade} {}", self.says)
    }
}

/// Questions that give a row for each thing that is not as it should be, how bad that is, and what
/// is said where there is none.
const QUESTIONS: [(Grade, &str, &str); 7] = [
    (
        Grade::Wrong,
        "select format('%s is %s: an acknowledged push may be lost when the server falls (on)', \
                name, setting) \
         from pg_settings where name in ('fsync', 'full_page_writes', 'synchronous_commit') \
         and setting in ('off', 'local')",
        "what is acknowledged is on disk",
    ),
    (
        Grade::Wrong,
        "select format('any role that may log in may connect to %I, and ring falsely: changes would be skipped \
                (revoke connect on database %I from public)', current_database(), \
                current_database()) \
         where has_database_privilege('public', current_database(), 'connect')",
        "only roles that were named may connect",
    ),
    (
        Grade::Wrong,
        "select format('the backend %s has held the horizon for %s: new changes wait', f.pid, \
                date_trunc('second', clock_timestamp() - a.xact_start)) \
         from sync_in_flight f join pg_stat_activity a on a.pid = f.pid \
         where a.xact_start < clock_timestamp() - interval '5 s'",
        "nobody holds the horizon",
    ),
    (
        Grade::Wrong,
        "select format('the queue of notifications is %s %% full: some listener does not read', \
                round(100 * used)) from pg_notification_queue_usage() used where used > 0.1",
        "notifications are read",
    ),
    (
        Grade::Note,
        "select format('the clock is %s ahead of the time of day: a jump, or a long run', \
                date_trunc('second', sync_clock() - clock_timestamp())) \
         where sync_clock() > clock_timestamp() + interval '5 s'",
        "the clock goes with the time of day",
    ),
    (
        Grade::Note,
        "select format('%s users have changes that wait to be published in their spaces', count(*)) \
         from (select distinct m.user_id from sync_members m where not m.published) w \
         having count(*) > 0",
        "nothing waits to be published",
    ),
    (
        Grade::Note,
        "select case when heard is null then \
                format('at %s the database became another one, up to %s; no node had heard more', \
                    date_trunc('second', at), was) \
            else format('at %s the database became another one: what was acknowledged after %s, \
                    up to %s, is not here; devices that pushed or read it hold it alone, until \
                    it is edited again', date_trunc('second', at), was, heard) end \
         from sync_jumps order by id",
        "the database was never another one",
    ),
];

impl Store {
    /// Looks at the database behind `url`, as the nodes' role.
    ///
    /// # Errors
    /// [`StartError`] where it can't be looked at, or no node would start on it.
    pub async fn examine(url: &str) -> Result<Vec<Finding>, StartError> {
        let mut connection = connect_options(url, PATIENCE)?.connect().await?;
        vet(&mut connection).await?;
        let mut found = Vec::new();
        if !is_prepared(&mut connection).await? {
            found.push(Finding {
                grade: Grade::Wrong,
                says: "migrations are missing (mana-sync migrate)".to_owned(),
            });
            return Ok(found);
        }
        for (grade, question, otherwise) in QUESTIONS {
            let says: Vec<String> = sqlx::query_scalar(question).fetch_all(&mut connection).await?;
            if says.is_empty() {
                found.push(Finding { grade: Grade::Well, says: otherwise.to_owned() });
            }
            found.extend(says.into_iter().map(|says| Finding { grade, says }));
        }
        connection.close().await.ok();
        Ok(found)
    }
}
