-- What follows when Postgres' clock was ahead and is set back: what the queue noted at the time that was wrong would wait for
-- it to come once more. p_from: the time that the clock had last. What lies nearer to it than to now is taken for noted then.
create or replace function hookd.is_ahead(p_at timestamptz, p_from timestamptz, p_now timestamptz) returns boolean
language sql immutable parallel safe as $$
    select isfinite(p_at) and p_at > p_now + (p_from - p_now) / 2
$$;

-- Sets back what is due at hosts p_after < id, and what holds them. Returns the last of them, null when there was none left.
-- A delivery that has not been tried yet keeps its time (deliver_after) unless it was made, as its id says, to go at once.
create or replace function hookd.set_back_hosts(p_after integer, p_limit integer, p_from timestamptz) returns integer
language plpgsql volatile as $$
declare
    v_now   timestamptz;
    v_hosts integer[];
    v_subs  uuid[];
begin
    select array_agg(x.id order by x.id) into v_hosts from (
        select h.id from hookd.host h where h.id > p_after order by h.id limit p_limit) x;
    if v_hosts is null then
        return null;
    end if;
    perform hookd.lock_hosts(v_hosts);
    v_now := hookd.clock();
    select coalesce(array_agg(l.subscription_id), '{}') into v_subs from hookd.lane l where l.host_id = any (v_hosts);

    with waiting as (
        select d.id, d.attempt, d.due, hookd.uuid7_time(d.id) as made
        from unnest(v_subs) s(id) cross join lateral (
            select * from hookd.delivery g
            where g.subscription_id = s.id and g.lease is null and g.due > v_now offset 0) d)
    update hookd.delivery d set due = w.due - (p_from - v_now)
    from waiting w
    where d.id = w.id and case when w.attempt > 0 then hookd.is_ahead(w.due, p_from, v_now)
        else hookd.is_ahead(w.made, p_from, v_now) and w.due < w.made + interval '1 minute' end;

    update hookd.lane l set
        hold_until = case when hookd.is_ahead(l.hold_until, p_from, v_now)
            then l.hold_until - (p_from - v_now) else l.hold_until end,
        paced_until = case when hookd.is_ahead(l.paced_until, p_from, v_now) then v_now else l.paced_until end,
        failing_since = case when l.failing_since > v_now then v_now else l.failing_since end,
        answered_at = least(l.answered_at, v_now)
    where l.host_id = any (v_hosts);
    update hookd.host h set
        refilled_at = least(h.refilled_at, v_now),
        failed_at = least(h.failed_at, v_now),
        away_since = least(h.away_since, v_now),
        blocked_until = case when hookd.is_ahead(h.blocked_until, p_from, v_now) then v_now else h.blocked_until end,
        ready_floor = '-infinity', probe_floor = '-infinity'
    where h.id = any (v_hosts);
    update hookd.host_share s set ready_floor = '-infinity', probe_floor = '-infinity' where s.host_id = any (v_hosts);
    perform hookd.settle_lanes(v_subs, v_now, array_fill('-infinity'::timestamptz, array[cardinality(v_subs)]));
    perform hookd.settle_hosts(v_hosts, v_now, v_subs);
    return v_hosts[cardinality(v_hosts)];
end $$;

-- Sets back all that belongs to no host. After it the clock counts as seen at this time.
create or replace function hookd.set_back_rest(p_from timestamptz) returns void language plpgsql volatile as $$
declare
    v_now timestamptz := hookd.clock();
begin
    update hookd.lease e set until = e.until - (p_from - v_now) where hookd.is_ahead(e.until, p_from, v_now);
    update hookd.replay r set fed_at = v_now where r.ended is null and hookd.is_ahead(r.fed_at, p_from, v_now);
    update hookd.removal r set looked_at = v_now, requested_at = least(r.requested_at, v_now)
    where hookd.is_ahead(r.looked_at, p_from, v_now);
    update hookd.interest i set filter_blocked_until = v_now
    where hookd.is_ahead(i.filter_blocked_until, p_from, v_now);
    update hookd.publishing p set awake_until = v_now where hookd.is_ahead(p.awake_until, p_from, v_now);
    update hookd.event_key k set created_at = v_now where k.created_at > v_now + interval '1 minute';
    update hookd.idempotency i set created_at = v_now where i.created_at > v_now + interval '1 minute';
    update hookd.clock_seen c set seen_at = v_now where c.seen_at = p_from;
end $$;
