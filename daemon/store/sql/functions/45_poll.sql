-- What a daemon at rest asks: is there an event to route, and may a claim find work?
create or replace function hookd.poll(out inbox boolean, out due boolean) language plpgsql volatile as $$
begin
    inbox := exists (
        select from hookd.inbox_shard s where exists (
            select from hookd.inbox i where i.shard = s.shard and i.xid >= hookd.inbox_floor(s.floor) offset 0));
    due := exists (select from hookd.host h where h.ready_at <= hookd.clock() and h.ready_at < 'infinity')
        or exists (select from hookd.host h where h.probe_at <= hookd.clock() and h.probe_at < 'infinity');
end $$;

-- Says that a daemon polls often for p_time: until then publish() wakes nobody.
create or replace function hookd.stay_awake(p_time interval) returns void language plpgsql volatile as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    update hookd.publishing p set awake_until = hookd.clock() + p_time where p.awake_until < hookd.clock() + p_time / 2;
end $$;

-- A daemon that claims says that it lives. Returns which it is of those that have said so of late, the first is 0, and of how
-- many. Whoever goes by an older answer only waits for others' locks more often, or for hookd.patience() where nobody comes.
create or replace function hookd.attend(p_id uuid, p_for interval, out rank integer, out daemons integer)
language plpgsql volatile as $$
declare
    v_now timestamptz := hookd.clock();
begin
    perform set_config('synchronous_commit', 'off', true);
    insert into hookd.daemon as d (id, seen_at) values (p_id, v_now) on conflict (id) do update set seen_at = v_now;
    delete from hookd.daemon d where d.ctid = any (array(
        select e.ctid from hookd.daemon e where e.seen_at not between v_now - 10 * p_for and v_now + 10 * p_for
        for update skip locked));
    select count(*) filter (where d.id < p_id), count(*) into rank, daemons
    from hookd.daemon d where d.seen_at between v_now - p_for and v_now + p_for;
end $$;

create or replace function hookd.leave(p_id uuid) returns void language sql volatile as $$
    delete from hookd.daemon d where d.id = p_id
$$;
