-- The log of changes, who is a member of what, and row-level security over both.
--
-- Ids are compared byte by byte (collate "C"): quicker than a locale's order, and an upgrade of
-- the operating system's locales can't corrupt an index.

create table sync_changes (
    id               uuid not null default gen_random_uuid(),
    app_id           text collate "C" not null,
    table_name       text collate "C" not null,
    record_id        text collate "C" not null,
    user_id          text collate "C" not null,
    space_id         text collate "C",
    op               text collate "C" not null check (op in ('insert', 'update', 'delete')),
    -- json, not jsonb: a payload goes back as it came, digit by digit, and costs no tree.
    data             json,
    field_timestamps json,
    client_id        text collate "C",
    -- The change's stamp. Empty only inside the transaction of a plain SQL insert.
    created_at       timestamptz,
    -- The stamp under which the change entered its space's feed; empty while it is unpublished.
    space_at         timestamptz,
    schema_version   integer not null default 1,
    actor            json,
    origin           text,
    constraint sync_changes_event unique (user_id, app_id, id),
    check (space_at is null or space_id is not null)
);

comment on table sync_changes is
    'The log: one row a change, immutable. created_at and space_at are stamps, given by sync_stamp.';

-- A user's feed and a space's feed, in the order of their stamps; other tables are skipped
-- inside the index.
create index sync_changes_own on sync_changes (user_id, app_id, created_at, table_name);
create index sync_changes_space on sync_changes (space_id, app_id, space_at, table_name)
    where space_at is not null;
-- What waits to be published.
create index sync_changes_waiting on sync_changes (user_id, space_id, created_at)
    where space_id is not null and space_at is null;
-- What a plain SQL transaction has inserted and not yet stamped.
create index sync_changes_unstamped on sync_changes (user_id) where created_at is null;

-- What the auth service last said, for the whole fleet.
create table sync_users (
    user_id     text collate "C" primary key,
    -- Counts questions and invalidations: an answer to an older question is not kept.
    question    bigint not null default 0,
    asked_at    timestamptz,
    -- Empty while membership is unverified.
    verified_at timestamptz,
    -- The stamp of the last change of this user's memberships.
    moved_at    timestamptz
);

create index sync_users_moved on sync_users (moved_at);

create table sync_members (
    user_id   text collate "C" not null references sync_users,
    space_id  text collate "C" not null,
    -- A stamp: cursors older than it read the space's whole history.
    joined_at timestamptz not null,
    -- Whether all that the user wrote in the space is in its feed, so that more may follow.
    published boolean not null default false,
    primary key (user_id, space_id)
);

create index sync_members_waiting on sync_members (user_id) where not published;

-- Which database this is, and on which timeline: see sync_identify.
create table sync_identity (
    only_row          boolean primary key default true check (only_row),
    system_identifier bigint not null,
    timeline          text not null
);

-- Each time the clock jumped ahead, because this is not the database that it was: a standby that was
-- promoted, a backup that was restored. What was stamped in (was, heard] was acknowledged there, and
-- is not here, except for what came in afterwards.
create table sync_jumps (
    id     bigint generated always as identity primary key,
    at     timestamptz not null default clock_timestamp(),
    -- The clock before the jump, and after it.
    was    timestamptz not null,
    now    timestamptz not null,
    -- The last stamp of which a node had heard, where that lies between.
    heard  timestamptz
);

-- Whom a transaction acts for. Lists are array literals; an unset setting of a session that was
-- used before is an empty string.
create function sync_scope_users() returns text[] language sql stable as $$
    select coalesce(nullif(current_setting('app.current_user_ids', true), '')::text[], '{}')
        || array_remove(array[nullif(current_setting('app.current_user_id', true), '')], null)
$$;

create function sync_scope_spaces() returns text[] language sql stable as $$
    select coalesce(nullif(current_setting('app.current_space_ids', true), '')::text[], '{}')
$$;

create function sync_act_for(users text[], spaces text[]) returns void language sql volatile as $$
    select set_config('app.current_user_ids', users::text, true),
           set_config('app.current_space_ids', spaces::text, true)
$$;

alter table sync_changes enable row level security;
alter table sync_changes force row level security;

-- The lists stand in sub-selects, so that they are made once a statement, are looked up by hash
-- and never become an index condition, which would make the planner collect all rows of every
-- listed user.
create policy sync_changes_read on sync_changes for select using (
    user_id in (select unnest(sync_scope_users()))
    or (space_at is not null and space_id in (select unnest(sync_scope_spaces()))));
create policy sync_changes_insert on sync_changes for insert with check (
    user_id in (select unnest(sync_scope_users())));
create policy sync_changes_update on sync_changes for update using (
    user_id in (select unnest(sync_scope_users())));
create policy sync_changes_delete on sync_changes for delete using (
    user_id in (select unnest(sync_scope_users())));
