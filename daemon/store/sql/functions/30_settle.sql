-- When may a claim find work again? Two functions answer it, for lanes and for hosts, from what is owed now; every
-- change of the queue ends with them. The caller holds the locks of all the hosts concerned.

-- Sets due and floor of lanes. p_early: no unleased delivery of the lane is due before the lesser of its floor and this.
-- A lane that was due and still is keeps its due, and with it its turn.
create or replace function hookd.settle_lanes(p_subscriptions uuid[], p_early timestamptz[], p_now timestamptz) returns void
language plpgsql volatile as $$
begin
    update hookd.lane l set
        floor = x.first_due,
        due = case
            when not l.active or l.in_flight >= l.window_size then 'infinity'
            when greatest(x.first_due, l.hold_until) > p_now then greatest(x.first_due, l.hold_until)
            when l.due <= p_now then l.due
            else p_now end
    from (
        select y.subscription_id, coalesce((
            select d.due from hookd.delivery d
            where d.subscription_id = y.subscription_id and d.lease is null and d.due >= least(k.floor, y.early)
            order by d.due limit 1), 'infinity') as first_due
        from unnest(p_subscriptions, p_early) y(subscription_id, early)
        join hookd.lane k on k.subscription_id = y.subscription_id
    ) x
    where l.subscription_id = x.subscription_id;
end $$;

-- Sets ready_at, probe_at and their floors. p_subscriptions: the lanes that may have become due before their host's floor.
create or replace function hookd.settle_hosts(p_hosts integer[], p_subscriptions uuid[], p_now timestamptz) returns void
language plpgsql volatile as $$
begin
    update hookd.host h set
        ready_floor = x.ready,
        probe_floor = x.probe,
        ready_at = case when x.open then 'infinity' else greatest(x.ready, x.wait) end,
        probe_at = case when not x.open then greatest(x.probe, x.wait)
                        when x.in_flight > 0 then 'infinity' -- the probe under way decides
                        else greatest(least(x.ready, x.probe), x.wait, x.blocked_until) end
    from (
        select g.id, g.in_flight, g.blocked_until, hookd.circuit_open(g.circuit_failures) as open,
            case when g.in_flight >= g.cap then 'infinity'
                 when g.tokens_now < 1 then p_now + make_interval(secs => (1 - g.tokens_now) / g.rate)
                 else '-infinity' end as wait,
            least(e.ready, coalesce((
                select l.due from hookd.lane l
                where l.host_id = g.id and l.proven and l.due >= g.ready_floor and l.due < 'infinity'
                order by l.due limit 1), 'infinity')) as ready,
            least(e.probe, coalesce((
                select l.due from hookd.lane l
                where l.host_id = g.id and not l.proven and l.due >= g.probe_floor and l.due < 'infinity'
                order by l.due limit 1), 'infinity')) as probe
        from (select k.*, hookd.tokens_at(k, p_now) as tokens_now from hookd.host k where k.id = any (p_hosts)) g
        left join (
            select l.host_id, min(l.due) filter (where l.proven) as ready, min(l.due) filter (where not l.proven) as probe
            from hookd.lane l where l.subscription_id = any (p_subscriptions) group by l.host_id
        ) e on e.host_id = g.id
    ) x
    where h.id = x.id;
end $$;

-- The token bucket: what is in it at p_now.
create or replace function hookd.tokens_at(p_host hookd.host, p_now timestamptz) returns float8
language sql immutable parallel safe as $$
    select least(p_host.burst, p_host.tokens
        + p_host.rate * greatest(0, extract(epoch from p_now - p_host.refilled_at)::float8))
$$;

-- Five failures to connect in a row open a host's circuit.
create or replace function hookd.circuit_open(p_failures integer) returns boolean
language sql immutable parallel safe as $$ select p_failures >= 5 $$;

-- Locks hosts in the one order that everybody uses. They are locked whatever they say now: a claim under way may be
-- about to put one of them to sleep.
create or replace function hookd.lock_hosts(p_hosts integer[]) returns void language plpgsql volatile as $$
begin
    perform from hookd.host h where h.id = any (p_hosts) order by h.id for no key update;
end $$;

-- After the locks are had: a lane may have moved to a host that is not locked. Then the whole unit starts again.
create or replace function hookd.check_lanes_locked(p_subscriptions uuid[], p_hosts integer[]) returns void
language plpgsql volatile as $$
begin
    if exists (select from hookd.lane l where l.subscription_id = any (p_subscriptions) and l.host_id <> all (p_hosts)) then
        raise exception 'a subscription moved to another host meanwhile' using errcode = '40001', hint = 'Try again.';
    end if;
end $$;
