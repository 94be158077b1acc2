-- The one order of all changes: stamps, the horizon, and the ring that tells of both.
--
-- A stamp is a microsecond since 1970, unique. The clock is the last stamp given: the value of
-- the sequence sync_clock. In tables and on the way to the nodes a stamp is a timestamptz.

create sequence sync_clock as bigint cache 1;
-- The largest horizon ever told.
create sequence sync_told as bigint cache 1;

create function sync_micros(at timestamptz) returns bigint language sql stable as $$
    select (extract(epoch from at) * 1000000)::bigint
$$;

-- Exact: a stamp has fewer than 53 bits.
create function sync_time(micros bigint) returns timestamptz language sql stable as $$
    select timestamptz 'epoch' + micros * interval '1 microsecond'
$$;

create function sync_clock() returns timestamptz language sql volatile as $$
    select sync_time(last_value) from sync_clock
$$;

select setval('sync_clock', sync_micros(clock_timestamp()));

-- Keys of advisory locks: a tag in the upper 12 bits, so that no stranger's lock is taken for
-- ours, and 52 bits of value.
--   1308  in flight: held shared on a stamp below all that the transaction is about to draw
--   1309  mutexes: 0 draws stamps, 1 tells the horizon
--   1310  a user's publishing: shared by appends, exclusive while rows are published
--   1311  the event ids that a user's clients choose in an app
--   1312  in flight: held shared on the first stamp of the run that the transaction has drawn
create function sync_key(tag integer, value bigint) returns bigint
    language sql immutable as $$ select (tag::bigint << 52) | (value & 4503599627370495) $$;

create function sync_user_key(user_id text) returns bigint
    language sql immutable as $$ select sync_key(1310, hashtextextended(user_id, 0)) $$;

create function sync_event_key(user_id text, app_id text) returns bigint
    language sql immutable as $$ select sync_key(1311, hashtextextended(user_id, hashtextextended(app_id, 0))) $$;

-- Draws a run of n stamps: (prev, last], of which the last n are the caller's. They end at the
-- wall's time where the clock allows it. Until the transaction has ended, and is visible, its
-- lock shows that something is in flight from below its run.
--
-- The mutex is taken in a subtransaction that always rolls back: it is free again at once,
-- whatever happens to the caller, while the sequence and the variables keep their values.
create function sync_stamp(n integer, out prev bigint, out last bigint)
    language plpgsql volatile as $$
begin
    if n is null or n < 1 then
        raise exception 'a run has at least one stamp, not %', n
            using errcode = 'invalid_parameter_value';
    end if;
    perform pg_advisory_xact_lock_shared(sync_key(1308, last_value + 1)) from sync_clock;
    begin
        perform pg_advisory_xact_lock(sync_key(1309, 0));
        select last_value into prev from sync_clock;
        last := greatest(sync_micros(clock_timestamp()), prev + n);
        perform setval('sync_clock', last);
        raise exception 'drawn' using errcode = 'SY001';
    exception when sqlstate 'SY001' then
        null;
    end;
    -- Others may have drawn and ended since the bound was read: now it is known exactly, so that
    -- the horizon does not lie below what they were told.
    perform pg_advisory_xact_lock_shared(sync_key(1312, prev + 1));
end
$$;

-- The transactions in flight: the first stamp that each may have drawn, and its backend.
create view sync_in_flight as
    select coalesce(min(l.stamp) filter (where l.tag = 1312), min(l.stamp)) as lower, l.pid
    from (select classid::bigint >> 20 as tag, pid, virtualtransaction,
                 ((classid::bigint & 1048575) << 32) | objid::bigint as stamp
          from pg_locks
          where locktype = 'advisory' and granted and objsubid = 1 and mode = 'ShareLock'
            and database = (select oid from pg_database where datname = current_database())) l
    where l.tag in (1308, 1312)
    group by l.virtualtransaction, l.pid;

-- The last stamp before which nothing is in flight, never less than it was told before. The
-- clock is read before the locks: whoever takes a lock later draws above that clock.
-- Whoever reads up to the horizon reads in a later statement, at read committed. Call it in a
-- transaction of its own: what it writes needs no flush.
create function sync_horizon() returns timestamptz language plpgsql volatile as $$
declare
    clock bigint;
    horizon bigint;
begin
    if pg_is_in_recovery() then
        raise exception 'a standby does not know the horizon: advisory locks are not replicated'
            using errcode = 'read_only_sql_transaction';
    end if;
    select last_value into clock from sync_clock;
    select least(clock, min(lower) - 1) into horizon from sync_in_flight;
    perform set_config('synchronous_commit', 'off', true);
    begin
        perform pg_advisory_xact_lock(sync_key(1309, 1));
        select greatest(horizon, last_value) into horizon from sync_told;
        perform setval('sync_told', horizon) from sync_told where last_value < horizon;
        raise exception 'told' using errcode = 'SY001';
    exception when sqlstate 'SY001' then
        null;
    end;
    return sync_time(horizon);
end
$$;

-- Who has held the horizon back the longest: the backend with the lowest bound.
create function sync_holder(out lower timestamptz, out pid integer) language sql volatile as $$
    select sync_time(h.lower), h.pid from sync_in_flight h order by h.lower limit 1
$$;

-- Rings: tells all nodes that the run (prev, last] has ended, and which feeds moved in it. A
-- move is ["u", user, app, tables], ["s", space, app, tables] or ["m", user, null, null]
-- (memberships);
-- tables are null where there are too many to name. Parts go in this one transaction; the chain
-- moves with the part whose "n" is 0.
create function sync_ring(prev bigint, last bigint, moves jsonb) returns void
    language plpgsql volatile as $$
declare
    part text := '';
    move text;
begin
    if octet_length(moves::text) <= 7700 then
        perform pg_notify('sync_changes', format('{"p":%s,"l":%s,"n":0,"m":%s}', prev, last, moves));
        return;
    end if;
    for move in
        select case when octet_length(m::text) > 7500 then (m - 3 || 'null'::jsonb)::text
                    else m::text end
        from jsonb_array_elements(moves) m
    loop
        if octet_length(part) + octet_length(move) > 7700 then
            perform pg_notify('sync_changes',
                format('{"p":%s,"l":%s,"n":1,"m":[%s]}', prev, last, part));
            part := '';
        end if;
        part := concat_ws(',', nullif(part, ''), move);
    end loop;
    perform pg_notify('sync_changes',
        format('{"p":%s,"l":%s,"n":0,"m":[%s]}', prev, last, part));
end
$$;

-- A heartbeat carries the clock: it announces a gap and never bridges one.
create function sync_beat() returns timestamptz language plpgsql volatile as $$
declare
    clock bigint;
begin
    select last_value into clock from sync_clock;
    perform pg_notify('sync_changes', format('{"c":%s}', clock));
    return sync_time(clock);
end
$$;

-- Called before a node trusts a connection. Another system identifier or timeline than the one
-- kept means a promotion or a restore: cursors may have been handed out that lie beyond the
-- clock, so it jumps ahead, by the margin. So it does where the node has heard of a stamp (told)
-- that was never given here: a snapshot of the disk has neither. (Not where that lies a day ahead: no clock
-- did that.) The timeline is read from the file name of the log, since the control data lags
-- behind a promotion. True where the clock jumped.
create function sync_identify(margin interval, told timestamptz default null) returns boolean
    language plpgsql volatile as $$
declare
    here sync_identity;
    kept sync_identity;
    was bigint;
    now_at bigint;
    heard constant bigint :=
        case when told < clock_timestamp() + interval '1 day' then sync_micros(told) end;
begin
    here.only_row := true;
    select system_identifier into here.system_identifier from pg_control_system();
    here.timeline := left(pg_walfile_name(pg_current_wal_lsn()), 8);
    select * into kept from sync_identity;
    select last_value into was from sync_clock;
    if kept = here and coalesce(heard <= was, true) then
        -- The one that jumped may not have heard as much as this one.
        update sync_jumps j set heard = told
            where j.id = (select max(id) from sync_jumps)
              and told > greatest(j.was, j.heard) and told < j.now;
        return false;
    end if;
    lock table sync_identity in exclusive mode;
    perform pg_advisory_xact_lock(sync_key(1309, 0));
    select * into kept from sync_identity;
    select last_value into was from sync_clock;
    if kept = here and coalesce(heard <= was, true) then
        return false;
    end if;
    insert into sync_identity select here.*
        on conflict (only_row) do update
        set system_identifier = excluded.system_identifier, timeline = excluded.timeline;
    if kept.only_row is null and coalesce(heard <= was, true) then
        return false;
    end if;
    now_at := greatest(was, heard, sync_micros(clock_timestamp()))
        + (extract(epoch from margin) * 1000000)::bigint;
    perform setval('sync_clock', now_at);
    insert into sync_jumps (was, now, heard) values (sync_time(was), sync_time(now_at),
        case when heard > was then sync_time(heard) end);
    return true;
end
$$;
