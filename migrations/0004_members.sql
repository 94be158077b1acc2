-- Memberships, as the auth service last told them. They are data of the fleet: read in the same
-- order as changes, and rung like them.

-- May the caller ask the auth service about this user? Decided by a time written before asking,
-- so that one node of the fleet asks. question: the caller is to ask, and answers with it.
-- fresh_for: how long the kept answer may be used without asking; empty where it is too old.
-- verified: whether there is an answer to go on with.
create function sync_ask(who text, life interval, lease interval,
    out question bigint, out fresh_for interval, out verified boolean)
    language plpgsql volatile as $$
declare
    known sync_users;
begin
    select * into known from sync_users u where u.user_id = who;
    verified := known.verified_at is not null;
    if known.verified_at > clock_timestamp() - life then
        fresh_for := known.verified_at + life - clock_timestamp();
        return;
    end if;
    insert into sync_users as u (user_id, question, asked_at)
        values (who, 1, clock_timestamp())
        on conflict (user_id) do update
        set question = u.question + 1, asked_at = clock_timestamp()
        where (u.asked_at is null or u.asked_at < clock_timestamp() - lease)
          and (u.verified_at is null or u.verified_at <= clock_timestamp() - life)
        returning u.question into question;
end
$$;

-- Gives the question back unanswered, so that the next caller asks.
create function sync_unanswered(who text, asked bigint) returns void language sql volatile as $$
    update sync_users u set asked_at = null where u.user_id = who and u.question = asked
$$;

-- Keeps an answer, unless somebody has asked or invalidated since. Whoever is new in a space
-- joins it at a fresh stamp; who is gone from it is out at once. moved: the memberships are
-- not what they were.
create procedure sync_answer(who text, asked bigint, spaces text[],
    out kept boolean, out moved boolean) language plpgsql as $$
declare
    known sync_users;
    run record;
begin
    select * into known from sync_users u where u.user_id = who for update;
    kept := known.question is not distinct from asked;
    moved := kept and (known.verified_at is null or exists (
        (select unnest(spaces)
         except select m.space_id from sync_members m where m.user_id = who)
        union all
        (select m.space_id from sync_members m where m.user_id = who
         except select unnest(spaces))));
    if kept then
        update sync_users u set verified_at = clock_timestamp(), asked_at = null
            where u.user_id = who;
    end if;
    if not moved then
        return;
    end if;
    delete from sync_members m where m.user_id = who and not m.space_id = any (spaces);
    run := sync_stamp(1);
    insert into sync_members (user_id, space_id, joined_at)
        select who, s, sync_time(run.last) from unnest(spaces) s
        on conflict do nothing;
    update sync_users u set moved_at = sync_time(run.last) where u.user_id = who;
    commit;
    perform sync_ring(run.prev, run.last, jsonb_build_array(jsonb_build_array('m', who, null, null)));
end
$$;

-- Forgets what is known of a user: the old answer grants no space, and whoever is verified again
-- joins anew.
create procedure sync_invalidate(who text) language plpgsql as $$
declare
    run record;
begin
    insert into sync_users (user_id) values (who) on conflict do nothing;
    perform from sync_users u where u.user_id = who for update;
    delete from sync_members m where m.user_id = who;
    run := sync_stamp(1);
    update sync_users u set question = u.question + 1, asked_at = null, verified_at = null,
        moved_at = sync_time(run.last) where u.user_id = who;
    commit;
    perform sync_ring(run.prev, run.last, jsonb_build_array(jsonb_build_array('m', who, null, null)));
end
$$;
