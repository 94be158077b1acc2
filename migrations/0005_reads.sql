-- How changes go out. Every read names whom it acts for, and lies below a bound that was final
-- when it began.
--
-- Pages and feeds know their way: along an index, in its order, until the page is full. The
-- planner can't know how few rows that touches (it guesses the ranges of tables, and how many rows
-- a policy lets pass), and would rather collect and sort all of a user's rows; so other ways are
-- closed to it. (Closed ways count as dear, which would call for compilation: hence no jit.) One plan
-- serves all, so it is made once a session.

-- A page of what a reader has not been offered yet, in the order of the stamps: the own changes
-- by created_at, and the others' in each of the reader's spaces by space_at. In a space joined
-- after the cursor (since), everything up to the joining is offered, the reader's own included.
--
-- lows, highs: the tables to read, each a range; names: those within them, where not all are
-- meant. history, upto: how far the history of the
-- spaces joined up to `upto` was read. upto_clock: the bound must have reached the clock, or nothing
-- is read. Rows come first, then one last row without an id, whose clock, more, pending (the last
-- joining after the cursor), spaces (those read) and whole (none was joined after the bound) tell
-- of the page.
create function sync_page(
    reader text, app text, client text, lows text[], highs text[],
    since timestamptz, history timestamptz, upto timestamptz, bound timestamptz,
    upto_clock boolean, with_spaces boolean, max_rows integer, max_bytes bigint,
    names text[] default null)
    returns table (stamp timestamptz, id uuid, table_name text, record_id text, op text,
        data text, field_timestamps text, schema_version integer, space_id text, actor text,
        origin text, clock timestamptz, more boolean, pending timestamptz, whole boolean,
        spaces text[])
    language plpgsql volatile set enable_bitmapscan = off set enable_seqscan = off
    set enable_sort = off set jit = off
    set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_variable
declare
    joins timestamptz[];
    verified boolean;
    -- Up to where the spaces are read.
    upper timestamptz := bound;
    bytes bigint := 0;
    clock_micros bigint;
    ignored text;
    n integer := 0;
    r record;
begin
    more := false;
    if upto_clock then
        select last_value into clock_micros from sync_clock;
        clock := sync_time(clock_micros);
        if clock > bound then
            return next;
            return;
        end if;
    end if;
    if with_spaces then
        -- One statement: an invalidation between two would show a member of nothing, verified.
        select u.verified_at is not null,
               array_agg(m.space_id order by m.space_id) filter (where m.joined_at <= bound),
               array_agg(case when m.joined_at > since then m.joined_at end order by m.space_id)
                   filter (where m.joined_at <= bound),
               max(m.joined_at) filter (where m.joined_at > since and m.joined_at <= bound),
               coalesce(max(m.joined_at) <= bound, true)
            into verified, spaces, joins, pending, whole
            from sync_users u
            left join sync_members m on m.user_id = u.user_id
            where u.user_id = reader
            group by u.user_id;
        if pending > upto or upto is null then
            history := '-infinity';
        end if;
    end if;
    -- As sync_act_for does, by assignments, which run no query.
    ignored := set_config('app.current_user_ids', array[reader]::text, true);
    ignored := set_config('app.current_space_ids', coalesce(spaces, '{}')::text, true);
    -- Where the own changes fill the page, the spaces are not read past it: the rows left out there,
    -- the reader's own, would be walked over up to the bound on every page.
    if spaces is not null and pending is null then
        select own.created_at into upper from unnest(lows, highs) t(low, high) cross join lateral (
            select c.created_at from sync_changes c
            where c.user_id = reader and c.app_id = app
              and c.created_at > since and c.created_at <= bound
              and c.table_name >= t.low and c.table_name <= t.high
              and (names is null or c.table_name in (select unnest(names)))
              and (client is null or c.client_id is distinct from client)
            order by c.created_at limit max_rows + 1) own
        order by own.created_at offset max_rows limit 1;
        upper := coalesce(upper, bound);
    end if;
    for r in
        select x.* from (
            select own.* from unnest(lows, highs) t(low, high) cross join lateral (
                select c.created_at as stamp, c.* from sync_changes c
                where c.user_id = reader and c.app_id = app
                  and c.created_at > since and c.created_at <= bound
                  and c.table_name >= t.low and c.table_name <= t.high
                  and (names is null or c.table_name in (select unnest(names)))
                  and (client is null or c.client_id is distinct from client)
                  -- What a joined space's history offers at this very place is not offered
                  -- twice. What was published later stays: the membership may end before then.
                  and (pending is null or c.space_at is distinct from c.created_at
                      or not exists (
                          select from unnest(spaces, joins) s(space, joined)
                          where s.space = c.space_id and c.space_at <= s.joined))
                order by c.created_at limit max_rows + 1) own
            union all
            select others.* from unnest(lows, highs) t(low, high)
                cross join unnest(spaces, joins) s(space, joined)
                cross join lateral (
                select c.space_at as stamp, c.* from sync_changes c
                where c.space_id = s.space and c.app_id = app
                  and c.space_at > case when s.joined is null then since
                                        else least(history, since) end
                  and c.space_at <= upper
                  and c.table_name >= t.low and c.table_name <= t.high
                  and (names is null or c.table_name in (select unnest(names)))
                  and (c.user_id <> reader or c.space_at <= s.joined)
                order by c.space_at limit max_rows + 1) others
        ) x order by x.stamp limit max_rows + 1
    loop
        n := n + 1;
        bytes := bytes + 200 + coalesce(octet_length(r.data::text), 0)
            + coalesce(octet_length(r.field_timestamps::text), 0)
            + coalesce(octet_length(r.actor::text), 0) + coalesce(octet_length(r.origin), 0);
        if n > max_rows or (n > 1 and bytes > max_bytes) then
            more := true;
            exit;
        end if;
        -- Plain assignments: a query here would be run for every row.
        stamp := r.stamp; id := r.id; table_name := r.table_name; record_id := r.record_id;
        op := r.op; data := r.data; field_timestamps := r.field_timestamps;
        schema_version := r.schema_version; space_id := r.space_id; actor := r.actor;
        origin := r.origin;
        return next;
    end loop;
    id := null;
    spaces := case when verified then coalesce(spaces, '{}') end;
    return next;
end
$$;

-- Is there anything new for these readers, each in one range of tables? Most often there is not, and
-- asking for many at once spares each a round trip. A row a question, in their order: whether there is
-- news, the verified spaces, and whether those are all (none was joined after the bound); or one
-- row with the clock, where the bound must have reached it and has not. A membership younger than
-- the question's stamp is news: a history is to be read.
create function sync_news(
    readers text[], apps text[], clients text[], lows text[], highs text[], sinces timestamptz[],
    bound timestamptz, upto_clock boolean, with_spaces boolean)
    returns table (clock timestamptz, news boolean, whole boolean, spaces text[])
    language plpgsql volatile set enable_bitmapscan = off set enable_seqscan = off
    set enable_sort = off set jit = off
    set enable_hashjoin = off set enable_mergejoin = off
    set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_variable
declare
    clock_micros bigint;
    ignored text;
    all_spaces text[];
begin
    if upto_clock then
        select last_value into clock_micros from sync_clock;
        clock := sync_time(clock_micros);
        if clock > bound then
            return next;
            return;
        end if;
    end if;
    if with_spaces then
        select array_agg(m.space_id) into all_spaces
            from sync_members m where m.user_id = any (readers);
    end if;
    ignored := set_config('app.current_user_ids', readers::text, true);
    ignored := set_config('app.current_space_ids', coalesce(all_spaces, '{}')::text, true);
    return query
        select null::timestamptz,
               coalesce(m.joined > r.since, false) or own.there is not null
                   or others.there is not null,
               coalesce(m.whole, true),
               case when m.verified then coalesce(m.names, '{}') end
        from unnest(readers, apps, clients, lows, highs, sinces)
            with ordinality r(reader, app, client, low, high, since, place)
        left join lateral (
            select u.verified_at is not null as verified,
                   array_agg(m.space_id order by m.space_id) filter (where m.joined_at <= bound)
                       as names,
                   max(m.joined_at) filter (where m.joined_at <= bound) as joined,
                   coalesce(max(m.joined_at) <= bound, true) as whole
            from sync_users u left join sync_members m on m.user_id = u.user_id
            where u.user_id = r.reader
            group by u.user_id) m on with_spaces
        left join lateral (
            select true as there from sync_changes c
            where c.user_id = r.reader and c.app_id = r.app
              and c.created_at > r.since and c.created_at <= bound
              and c.table_name >= r.low and c.table_name <= r.high
              and (r.client is null or c.client_id is distinct from r.client)
            order by c.created_at limit 1) own on true
        left join lateral (
            select true as there from unnest(m.names) s(space) cross join lateral (
                select from sync_changes c
                where c.space_id = s.space and c.app_id = r.app
                  and c.space_at > r.since and c.space_at <= bound
                  and c.table_name >= r.low and c.table_name <= r.high
                  and c.user_id <> r.reader
                order by c.space_at limit 1) o
            limit 1) others on own.there is null
        order by r.place;
end
$$;

-- What has come to the named feeds in (low, high], in one statement for all of them. A row of a
-- named space's feed comes once, though its author's feed be named too. Stops with a row without
-- an id where that is more than max_rows or max_bytes.
create function sync_feeds(users text[], user_apps text[], spaces text[], space_apps text[],
    low timestamptz, high timestamptz, max_rows integer, max_bytes bigint)
    returns table (id uuid, app_id text, table_name text, record_id text, user_id text, op text,
        data text, field_timestamps text, schema_version integer, space_id text, actor text,
        origin text, client_id text, created_at timestamptz, space_at timestamptz)
    language plpgsql volatile set enable_bitmapscan = off set enable_seqscan = off
    set enable_sort = off set jit = off
    set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    bytes bigint := 0;
    n integer := 0;
    r record;
begin
    perform sync_act_for(users, spaces);
    for r in
        select own.* from unnest(users, user_apps) f(owner, app) cross join lateral (
            select c.* from sync_changes c
            where c.user_id = f.owner and c.app_id = f.app
              and c.created_at > low and c.created_at <= high
              and not coalesce(c.space_at > low and c.space_at <= high
                  and (c.space_id, c.app_id) in (select * from unnest(spaces, space_apps)), false)
            order by c.created_at limit max_rows + 1) own
        union all
        select others.* from unnest(spaces, space_apps) f(owner, app) cross join lateral (
            select c.* from sync_changes c
            where c.space_id = f.owner and c.app_id = f.app
              and c.space_at > low and c.space_at <= high
            order by c.space_at limit max_rows + 1) others
    loop
        n := n + 1;
        bytes := bytes + 200 + coalesce(octet_length(r.data::text), 0)
            + coalesce(octet_length(r.field_timestamps::text), 0)
            + coalesce(octet_length(r.actor::text), 0) + coalesce(octet_length(r.origin), 0);
        if n > max_rows or bytes > max_bytes then
            id := null;
            return next;
            return;
        end if;
        id := r.id; app_id := r.app_id; table_name := r.table_name; record_id := r.record_id;
        user_id := r.user_id; op := r.op; data := r.data;
        field_timestamps := r.field_timestamps; schema_version := r.schema_version;
        space_id := r.space_id; actor := r.actor; origin := r.origin; client_id := r.client_id;
        created_at := r.created_at; space_at := r.space_at;
        return next;
    end loop;
end
$$;

-- The apps in which a user ('u') or a space ('s') has changes: one index probe each.
create function sync_apps(kind text, who text) returns setof text
    language plpgsql volatile set enable_bitmapscan = off set enable_seqscan = off
    set enable_sort = off set jit = off
    set plan_cache_mode = force_generic_plan as $$
declare
    app text := '';
begin
    loop
        if kind = 'u' then
            select c.app_id into app from sync_changes c
                where c.user_id = who and c.app_id > app order by c.app_id limit 1;
        else
            select c.app_id into app from sync_changes c
                where c.space_id = who and c.space_at is not null and c.app_id > app
                order by c.app_id limit 1;
        end if;
        exit when not found;
        return next app;
    end loop;
end
$$;

-- Which of these feeds, and which of these users' memberships, moved in (low, high]: closes a gap
-- in the chain of rings. Feeds come as owner and app; without an app all of the owner's are meant.
-- Each is asked along its index, so what it costs grows with who is asked about and what they
-- wrote, not with what the log holds. Tables are null where a feed moved too much to name them.
create function sync_moved(users text[], user_apps text[], spaces text[], space_apps text[],
    low timestamptz, high timestamptz)
    returns table (kind text, owner text, app text, tables text[])
    language plpgsql volatile set enable_bitmapscan = off set enable_seqscan = off
    set enable_sort = off set jit = off
    set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    most constant integer := 10000;
begin
    perform sync_act_for(users, spaces);
    return query
        with own as materialized (
            select u.owner, u.app from unnest(users, user_apps) u(owner, app)
                where u.app is not null
            union all
            select u.owner, sync_apps('u', u.owner) from unnest(users, user_apps) u(owner, app)
                where u.app is null
        ), others as materialized (
            select s.owner, s.app from unnest(spaces, space_apps) s(owner, app)
                where s.app is not null
            union all
            select s.owner, sync_apps('s', s.owner) from unnest(spaces, space_apps) s(owner, app)
                where s.app is null
        )
        select 'u', f.owner, f.app, t.tables
            from own f cross join lateral (
                select count(*) as n,
                       case when count(*) < most then array_agg(distinct r.name) end as tables
                from (select c.table_name as name from sync_changes c
                      where c.user_id = f.owner and c.app_id = f.app
                        and c.created_at > low and c.created_at <= high
                      order by c.created_at limit most) r) t
            where t.n > 0
        union all
        select 's', f.owner, f.app, t.tables
            from others f cross join lateral (
                select count(*) as n,
                       case when count(*) < most then array_agg(distinct r.name) end as tables
                from (select c.table_name as name from sync_changes c
                      where c.space_id = f.owner and c.app_id = f.app
                        and c.space_at > low and c.space_at <= high
                      order by c.space_at limit most) r) t
            where t.n > 0
        union all
        select distinct 'm', u.user_id, null, null::text[] from sync_users u
            -- However late: only the last move is kept, and an earlier one may lie in between.
            where u.moved_at > low and u.user_id in (select unnest(users));
end
$$;
