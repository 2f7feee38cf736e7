-- Looks at the clock for retention. A time further than p_gap after the one last seen, or a minute before it, may be wrong:
-- the clock counts as even again once it has gone on from there for p_stand. Returns the time, from when on it counts as
-- even, and the time last seen if it was far from this one. A step back is seen again until set_back_rest() has ended it.
create or replace function hookd.see_clock(
    p_gap interval, p_stand interval, out seen_at timestamptz, out even_from timestamptz, out leapt_from timestamptz
)
language plpgsql volatile as $$
declare
    v_last hookd.clock_seen;
begin
    insert into hookd.clock_seen as c (seen_at, even_since) select k.now, k.now from (select hookd.clock() as now offset 0) k
    on conflict do nothing;
    select * into v_last from hookd.clock_seen for no key update;
    seen_at := hookd.clock(); -- after the lock, so that two who look at once see no step back
    if seen_at not between v_last.seen_at - interval '1 minute' and v_last.seen_at + p_gap then
        leapt_from := v_last.seen_at;
        v_last.even_since := seen_at;
    end if;
    even_from := v_last.even_since + p_stand;
    update hookd.clock_seen c set even_since = v_last.even_since,
        seen_at = case when see_clock.seen_at < v_last.seen_at - interval '1 minute' then c.seen_at else see_clock.seen_at end;
end $$;

-- Takes a duty, or keeps it, for p_time at most. False: another holds it. An end further off than any holder asks for is of
-- a clock that was set back since, and holds nobody up.
create or replace function hookd.take_duty(p_name text, p_holder uuid, p_time interval) returns boolean
language plpgsql volatile as $$
begin
    insert into hookd.duty as d (name, holder, until) values (p_name, p_holder, hookd.clock() + p_time)
    on conflict (name) do update set holder = excluded.holder, until = excluded.until
        where d.holder = excluded.holder or d.until <= hookd.clock() or d.until > excluded.until + interval '1 minute';
    return found;
end $$;

-- Gives up up to p_limit unleased deliveries of events before p_before, so that nothing pending is dropped in silence: each
-- ends in the history with the reason 'expired'. Returns how many are still pending of such events, leased ones included.
create or replace function hookd.expire(p_before uuid, p_limit integer) returns bigint
language plpgsql volatile as $$
declare
    v_now   timestamptz;
    v_ids   uuid[];
    v_subs  uuid[];
    v_hosts integer[];
begin
    select array_agg(x.id), array_agg(distinct x.subscription_id) into v_ids, v_subs from (
        select d.id, d.subscription_id from hookd.delivery d
        where d.event_id < p_before and d.lease is null limit p_limit) x;
    if v_ids is not null then
        select array_agg(distinct l.host_id) into v_hosts from hookd.lane l where l.subscription_id = any (v_subs);
        perform hookd.lock_hosts(v_hosts);
        perform hookd.check_lanes_locked(v_subs, v_hosts);
        v_now := hookd.clock();
        with gone as (
            delete from hookd.delivery d where d.id = any (v_ids) and d.lease is null
            returning d.id, d.subscription_id, d.event_id, d.attempt)
        insert into hookd.attempt (id, subscription_id, delivery_id, event_id, event_type, attempt, succeeded, error, ended,
            attempted_at)
        select hookd.uuid7(v_now), g.subscription_id, g.id, g.event_id, coalesce(e.type, ''), g.attempt, false, 'expired',
            'expired', v_now
        from gone g
        left join hookd.subscription s on s.id = g.subscription_id
        left join lateral (
            select v.type from hookd.event v where v.org_id = s.org_id and v.id = g.event_id offset 0) e on true;
        perform hookd.settle_lanes(v_subs, v_now);
        perform hookd.settle_hosts(v_hosts, v_now, v_subs);
    end if;
    return (select count(*) from hookd.delivery d where d.event_id < p_before)
        + (select count(*) from hookd.inbox i where i.event_id < p_before);
end $$;
