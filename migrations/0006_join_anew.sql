-- Publishing, in place of that in 0003: the author joins anew behind what enters.

-- Publishes what the author wrote in spaces before membership was verified, oldest first, a page
-- a transaction. The last page opens the space: what the author writes from then on enters at
-- once. Appends of the author wait for a page, so nothing slips between.
--
-- A device of the author that lost the space dropped what it held of it, and may have read a history
-- without what enters now. So the author joins anew behind each page, and reads a history that has it.
create or replace procedure sync_publish(author text, page integer) language plpgsql as $$
declare
    place sync_members;
    ids uuid[];
    apps text[];
    tables text[];
    moves jsonb;
    n integer;
    run record;
begin
    loop
        lock table sync_changes, sync_users in row exclusive mode;
        perform pg_advisory_xact_lock(sync_user_key(author));
        select * into place from sync_members m
            where m.user_id = author and not m.published
            order by m.space_id limit 1;
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
        -- In the order in which answers lock them. The membership may have ended meanwhile.
        perform from sync_users u where u.user_id = author for update;
        n := coalesce(cardinality(ids), 0);
        update sync_members m set published = n < page
            where m.user_id = author and m.space_id = place.space_id;
        if found and n > 0 then
            moves := sync_moves('s', array_fill(place.space_id, array[n]), apps, tables)
                || jsonb_build_array(jsonb_build_array('m', author, null, null));
            -- The last one is the joining's.
            run := sync_stamp(n + 1);
            update sync_changes c set space_at = sync_time(run.last - n - 1 + w.place)
                from unnest(ids, apps) with ordinality w(id, app, place)
                where c.user_id = author and c.app_id = w.app and c.id = w.id;
            update sync_members m set joined_at = sync_time(run.last)
                where m.user_id = author and m.space_id = place.space_id;
            update sync_users u set moved_at = sync_time(run.last) where u.user_id = author;
            commit;
            perform sync_ring(run.prev, run.last, moves);
        end if;
        commit;
    end loop;
end
$$;
