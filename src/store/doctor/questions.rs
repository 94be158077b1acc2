//! What is asked of a database that is prepared.

use super::Grade;

/// Questions that give a row for each thing that is not as it should be, how bad that is, and what
/// is said where there is none.
pub(super) const QUESTIONS: [(Grade, &str, &str); 7] = [
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
