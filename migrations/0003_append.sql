-- How changes come in: by the nodes' group commit, by publishing, and by plain SQL.
--
-- The first two are procedures that commit inside, so that no stamp is held across a round trip:
-- a client that stops can't hold the horizon. They take every other lock before they draw.

-- The feeds that a run of rows moves. Tables are named up to 32 a feed.
create function sync_moves(kind text, owners text[], apps text[], tables text[]) returns jsonb
    language sql stable as $$
    select coalesce(jsonb_agg(jsonb_build_array(kind, f.owner, f.app, f.tables)), '[]')
    from (
        select r.owner, r.app,
               case when count(distinct r.tab) <= 32 then jsonb_agg(distinct r.tab) end as tables
        from unnest(owners, apps, tables) r(owner, app, tab)
        where r.owner is not null
        group by r.owner, r.app
    ) f
$$;

-- Waits for these users' publishing to stand still, in the order of the keys.
create function sync_hold_publishing(users text[]) returns void language plpgsql volatile as $$
declare
    key bigint;
begin
    for key in select distinct sync_user_key(u) k from unnest(users) u order by k loop
        perform pg_advisory_xact_lock_shared(key);
    end loop;
end
$$;

-- Stores a batch of changes, commits, and rings. Arrays have an element a change, in the order
-- of the stamps to give. repeatable: this event id may have been stored before, or be stored
-- by somebody else just now. Where the batch can't be stored, failure is its SQLSTATE, nothing
-- of it is stored, and its run is rung with no feeds, so that no gap stays. unpublished: the
-- places (from 1) of changes that are stored for their author alone. stored: how many were not there
-- before.
create procedure sync_append(
    ids uuid[], users text[], apps text[], tables text[], records text[], spaces text[],
    ops text[], payloads text[], times text[], clients text[], versions integer[],
    actors text[], origins text[], repeatable boolean[],
    out last timestamptz, out unpublished integer[], out failure text, out stored integer)
    language plpgsql as $$
declare
    n constant integer := cardinality(ids);
    key bigint;
    prev bigint;
    final bigint;
    -- Whether each change enters its space's feed.
    enters boolean[] := array_fill(false, array[n]);
    moves jsonb;
    authors text[];
    run record;
    ignored text;
    shared constant boolean := cardinality(array_remove(spaces, null)) > 0;
    repeats constant boolean := coalesce(true = any (repeatable), false);
    limits constant interval := current_setting('statement_timeout')::interval;
begin
    lock table sync_changes in row exclusive mode;
    lock table sync_members in access share mode;
    if repeats then
        for key in
            select distinct sync_event_key(r.usr, r.app) k
            from unnest(users, apps, repeatable) r(usr, app, again) where r.again order by k
        loop
            perform pg_advisory_xact_lock(key);
        end loop;
    end if;
    if shared then
        perform sync_hold_publishing(
            (select array_agg(distinct r.usr) from unnest(users, spaces) r(usr, space)
             where r.space is not null));
        select array_agg(m.published is true order by r.place) into enters
            from unnest(users, spaces) with ordinality r(usr, space, place)
            left join sync_members m on m.user_id = r.usr and m.space_id = r.space;
    end if;
    -- As sync_moves, which is planned anew at each call.
    select coalesce(jsonb_agg(jsonb_build_array(f.kind, f.owner, f.app, f.tables)), '[]'),
           array_agg(distinct f.owner) filter (where f.kind = 'u')
        into moves, authors
        from (select r.kind, r.owner, r.app,
                     case when count(distinct r.tab) <= 32 then jsonb_agg(distinct r.tab) end
                         as tables
              from (select 'u' as kind, w.usr as owner, w.app, w.tab
                    from unnest(users, apps, tables) w(usr, app, tab)
                    union all
                    select 's', w.space, w.app, w.tab
                    from unnest(spaces, apps, tables, enters) w(space, app, tab, enters)
                    where w.enters) r
              group by r.kind, r.owner, r.app) f;
    -- As sync_act_for does, by assignments, which run no query.
    ignored := set_config('app.current_user_ids', authors::text, true);
    ignored := set_config('app.current_space_ids', '{}', true);
    ignored := set_config('app.sync_stamped', 'on', true);
    -- Who deletes a row that is repeated here is waited for before a stamp is drawn.
    if repeats then
        perform from unnest(ids, users, apps, repeatable) r(id, usr, app, again)
            join sync_changes c on c.user_id = r.usr and c.app_id = r.app and c.id = r.id
            where r.again for key share of c;
    end if;

    run := sync_stamp(n);
    prev := run.prev;
    final := run.last;
    begin
        insert into sync_changes (id, user_id, app_id, table_name, record_id, space_id, op, data,
            field_timestamps, client_id, schema_version, actor, origin, created_at, space_at)
        select r.id, r.usr, r.app, r.tab, r.record, r.space, r.op, r.payload::json,
            r.times::json, r.client, r.version, r.actor::json, r.origin,
            sync_time(final - n + r.place),
            case when r.enters then sync_time(final - n + r.place) end
        from unnest(ids, users, apps, tables, records, spaces, ops, payloads, times, clients,
                versions, actors, origins, enters)
            with ordinality r(id, usr, app, tab, record, space, op, payload, times, client,
                version, actor, origin, enters, place)
        on conflict on constraint sync_changes_event do nothing;
        get diagnostics stored = row_count;
    exception when others then
        failure := sqlstate;
        stored := 0;
        moves := '[]';
    end;
    commit;
    -- A time-out ends the wait for a synchronous standby without an error: what may be lost with
    -- this server is not to be acknowledged. The caller repeats it, and waits again.
    if clock_timestamp() - statement_timestamp() >= nullif(limits, interval '0') then
        raise exception 'the commit was not confirmed in time' using errcode = 'query_canceled';
    end if;

    perform sync_ring(prev, final, moves);
    last := sync_time(final);
    if failure is null and shared and false = any (enters) then
        perform sync_act_for(authors, '{}');
        select array_agg(r.place::integer order by r.place) into unpublished
            from unnest(ids, users, apps, spaces, enters)
                with ordinality r(id, usr, app, space, enters, place)
            join sync_changes c on c.user_id = r.usr and c.app_id = r.app and c.id = r.id
            where r.space is not null and not r.enters and c.space_at is null;
    end if;
end
$$;

-- Publishes what the author wrote in spaces before membership was verified, oldest first, a page
-- a transaction. The last page opens the space: what the author writes from then on enters at
-- once. Appends of the author wait for a page, so nothing slips between.
create procedure sync_publish(author text, page integer) language plpgsql as $$
declare
    place sync_members;
    ids uuid[];
    apps text[];
    tables text[];
    run record;
begin
    loop
        lock table sync_changes in row exclusive mode;
        perform pg_advisory_xact_lock(sync_user_key(author));
        select * into place from sync_members m
            where m.user_id = author and not m.published
            order by m.space_id limit 1 for update;
        exit when not found;
        perform sync_act_for(array[author], '{}');
        select array_agg(w.id order by w.created_at), array_agg(w.app_id order by w.created_at),
               array_agg(w.table_name order by w.created_at)
            into ids, apps, tables
            from (select c.id, c.app_id, c.table_name, c.created_at from sync_changes c
                  where c.user_id = author and c.space_id = place.space_id
                    and c.space_at is null and c.created_at is not null
                  -- Locked before the stamps are drawn: none is held across a wait.
                  order by c.created_at limit page for update) w;
        if coalesce(cardinality(ids), 0) < page then
            update sync_members m set published = true
                where m.user_id = author and m.space_id = place.space_id;
        end if;
        if ids is not null then
            run := sync_stamp(cardinality(ids));
            update sync_changes c
                set space_at = sync_time(run.last - cardinality(ids) + w.place)
                from unnest(ids, apps) with ordinality w(id, app, place)
                where c.user_id = author and c.app_id = w.app and c.id = w.id;
            commit;
            perform sync_ring(run.prev, run.last, sync_moves('s',
                array_fill(place.space_id, array[cardinality(ids)]), apps, tables));
        end if;
        commit;
    end loop;
end
$$;

-- Rows that programs insert by plain SQL: their stamps are emptied, and given at the commit.
create function sync_before_insert() returns trigger language plpgsql as $$
declare
    authors text[] := nullif(current_setting('app.sync_unstamped', true), '')::text[];
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'sync_changes takes rows at read committed: an older snapshot does not '
            'show at the commit who is a member' using errcode = 'feature_not_supported';
    end if;
    new.created_at := null;
    new.space_at := null;
    if new.space_id = '' or octet_length(new.space_id) > 255 or new.space_id like '\_personal:%' then
        new.space_id := null;
    end if;
    if authors is null or not new.user_id = any (authors) then
        perform set_config('app.sync_unstamped', array_append(authors, new.user_id)::text, true);
    end if;
    return new;
end
$$;

create trigger sync_changes_unstamp before insert on sync_changes for each row
    when (current_setting('app.sync_stamped', true) is distinct from 'on')
    execute function sync_before_insert();

-- At the commit the first row's trigger stamps all rows of the transaction in one run, in the
-- order of the statements that inserted them, publishes and rings; the others find nothing left.
create function sync_at_commit() returns trigger language plpgsql as $$
declare
    authors text[] := nullif(current_setting('app.sync_unstamped', true), '')::text[];
    acting text := current_setting('app.current_user_ids', true);
    n integer;
    run record;
    stamped record;
begin
    if authors is null then
        return null;
    end if;
    perform set_config('app.sync_unstamped', '', true);
    perform set_config('app.current_user_ids', authors::text, true);
    select count(*) into n from sync_changes c
        where c.user_id = any (authors) and c.created_at is null;
    if n = 0 then -- All were deleted again.
        perform set_config('app.current_user_ids', acting, true);
        return null;
    end if;
    perform sync_hold_publishing(authors);
    run := sync_stamp(n);
    with rows as (
        select c.user_id, c.app_id, c.id, c.space_id,
               sync_time(run.last + 1
                   - row_number() over (order by c.cmin::text::bigint desc, c.ctid desc)) as at
        from sync_changes c where c.user_id = any (authors) and c.created_at is null
    ), stamped as (
        update sync_changes c
            set created_at = r.at, space_at = case when m.published then r.at end
            from rows r
            left join sync_members m on m.user_id = r.user_id and m.space_id = r.space_id
            where c.user_id = r.user_id and c.app_id = r.app_id and c.id = r.id
            returning c.user_id, c.app_id, c.table_name, c.space_id, c.space_at
    )
    select array_agg(s.user_id) as users, array_agg(s.app_id) as apps,
           array_agg(s.table_name) as tables,
           array_agg(case when s.space_at is not null then s.space_id end) as spaces
        into stamped from stamped s;
    perform sync_ring(run.prev, run.last,
        sync_moves('u', stamped.users, stamped.apps, stamped.tables)
        || sync_moves('s', stamped.spaces, stamped.apps, stamped.tables));
    perform set_config('app.current_user_ids', acting, true);
    return null;
end
$$;

create constraint trigger sync_changes_stamp after insert on sync_changes
    deferrable initially deferred for each row
    when (new.created_at is null)
    execute function sync_at_commit();
