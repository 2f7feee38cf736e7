-- p_lanes: those that may have become due before their host's floor, and at a host of several organisations all that were
-- settled. p_taken: deliveries that a claim leased. p_flown: results that are back; p_failed: when the last of those was begun
-- that could not connect, p_waited: how many of those waited for long; p_answered: at least one could. p_lanes_taken,
-- p_lanes_flown: the same of each of p_lanes. p_by: the daemon that claims.
create or replace function hookd.settle_hosts(
    p_ids integer[], p_now timestamptz, p_lanes uuid[] default null, p_taken integer[] default null,
    p_flown integer[] default null, p_failed timestamptz[] default null, p_waited integer[] default null,
    p_answered boolean[] default null, p_lanes_taken integer[] default null, p_lanes_flown integer[] default null,
    p_by integer default null
) returns void
language plpgsql volatile as $$
begin
    if p_lanes <> '{}' and exists (select from hookd.host h where h.id = any (p_ids) and h.owner is null) then
        perform hookd.settle_shares(p_lanes, p_now, p_lanes_taken, p_lanes_flown);
    end if;
    with change as (
        select * from unnest(p_ids, p_taken, p_flown, p_failed, p_waited, p_answered)
            u(id, taken, flown, failed, waited, answered)),
    changed as (
        select host.ctid as place, host.id, host.owner, host.max_in_flight, host.rate, host.ready_floor, host.probe_floor,
            hookd.tokens_at(host, p_now) - coalesce(change.taken, 0) as tokens,
            host.in_flight + coalesce(change.taken, 0) - coalesce(change.flown, 0) as in_flight,
            case when change.answered then 0 else host.circuit_failures + circuit.failures end as failures,
            case when change.answered then 0 when circuit.trips then host.circuit_trips + 1 else host.circuit_trips end
                as trips,
            case when circuit.failures > 0 then p_now else host.failed_at end as failed_at,
            case when change.answered then null else away.since end as away_since,
            case when change.answered then '-infinity'
                 when circuit.trips then p_now + make_interval(secs => hookd.circuit_block(host.circuit_trips,
                    extract(epoch from p_now - away.since)::float8, random()))
                 else host.blocked_until end as blocked_until
        from change
        join hookd.host on host.id = change.id
        cross join lateral (
            select coalesce(host.away_since, case when change.failed is not null then p_now end) as since,
                hookd.failures_of(host, p_now, change.failed, change.waited) as failures offset 0) away
        cross join lateral (
            select away.failures,
                away.failures > 0 and hookd.circuit_open(host.circuit_failures + away.failures) as trips) circuit),
    early as ( -- of the lanes that have changed
        select lane.host_id, min(lane.due) filter (where lane.proven) as ready,
            min(lane.due) filter (where not lane.proven) as probe
        from hookd.lane where lane.subscription_id = any (p_lanes) group by lane.host_id),
    settled as (
        select changed.*, hookd.circuit_open(changed.failures) as open,
            case when changed.in_flight >= changed.max_in_flight then 'infinity'
                 when changed.tokens < 1 then p_now + make_interval(secs => (1 - changed.tokens) / changed.rate)
                 else '-infinity' end as wait,
            first.ready as ready_first, first.probe as probe_first,
            -- of several organisations, those that may have more under way
            case when changed.owner is not null then first.ready else coalesce((
                select s.ready_at from hookd.host_share s
                where s.host_id = changed.id and s.ready_at >= first.ready and s.ready_at < 'infinity'
                    and s.in_flight < changed.max_in_flight - changed.in_flight
                order by s.ready_at limit 1), 'infinity') end as ready,
            case when changed.owner is not null then first.probe else coalesce((
                select s.probe_at from hookd.host_share s
                where s.host_id = changed.id and s.probe_at >= first.probe and s.probe_at < 'infinity'
                    and s.in_flight < changed.max_in_flight - changed.in_flight
                order by s.probe_at limit 1), 'infinity') end as probe
        from changed
        left join early on early.host_id = changed.id
        cross join lateral (
            select case when changed.owner is not null
                then least(early.ready, coalesce((
                    select l.due from hookd.lane l
                    where l.host_id = changed.id and l.org_id = changed.owner and l.proven and l.due >= changed.ready_floor
                        and l.due < 'infinity'
                    order by l.due limit 1), 'infinity'))
                else coalesce((
                    select s.ready_at from hookd.host_share s
                    where s.host_id = changed.id and s.ready_at >= least(early.ready, changed.ready_floor)
                        and s.ready_at < 'infinity'
                    order by s.ready_at limit 1), 'infinity') end as ready,
                case when changed.owner is not null
                then least(early.probe, coalesce((
                    select l.due from hookd.lane l
                    where l.host_id = changed.id and l.org_id = changed.owner and not l.proven
                        and l.due >= changed.probe_floor and l.due < 'infinity'
                    order by l.due limit 1), 'infinity'))
                else coalesce((
                    select s.probe_at from hookd.host_share s
                    where s.host_id = changed.id and s.probe_at >= least(early.probe, changed.probe_floor)
                        and s.probe_at < 'infinity'
                    order by s.probe_at limit 1), 'infinity') end as probe
            offset 0) first
        offset 0)
    update hookd.host set
        tokens = settled.tokens,
        claimed_at = case when p_by is null then host.claimed_at else p_now end,
        claimed_by = coalesce(p_by, host.claimed_by),
        refilled_at = greatest(host.refilled_at, p_now), -- sessions that overlap may read the clock out of order
        in_flight = settled.in_flight,
        circuit_failures = settled.failures,
        circuit_trips = settled.trips,
        failed_at = settled.failed_at,
        away_since = settled.away_since,
        blocked_until = settled.blocked_until,
        ready_floor = settled.ready_first,
        probe_floor = settled.probe_first,
        ready_at = case when settled.open then 'infinity' else greatest(settled.ready, settled.wait) end,
        probe_at = case when not settled.open then greatest(settled.probe, settled.wait)
                        when settled.in_flight > 0 then 'infinity' -- the probe under way decides
                        else greatest(least(settled.ready, settled.probe), settled.wait, settled.blocked_until) end
    from settled where host.ctid = settled.place;
end $$;

-- After a change of what is pending for one subscription; no delivery of it is due before the lesser of its floor and p_early.
create or replace function hookd.settle_subscription(
    p_id uuid, p_host integer, p_now timestamptz, p_early timestamptz default null
) returns void
language plpgsql volatile as $$
begin
    perform hookd.settle_lanes(array[p_id], p_now, p_early => array[p_early]);
    perform hookd.settle_hosts(array[p_host], p_now, array[p_id]);
end $$;

-- Gives hosts other limits, with effect at once: a host that was full or waited for a token may be ready now.
create or replace function hookd.limit_hosts(p_names text[], p_rates float8[], p_bursts float8[], p_max_in_flight integer[])
returns void
language plpgsql volatile as $$
declare
    v_now timestamptz := hookd.clock();
    v_ids integer[];
begin
    select array_agg(h.id) into v_ids from hookd.host h where h.name = any (p_names);
    perform hookd.lock_hosts(v_ids);
    update hookd.host h set rate = x.rate, burst = x.burst, max_in_flight = x.max_in_flight,
        tokens = least(x.burst, hookd.tokens_at(h, v_now)), refilled_at = greatest(h.refilled_at, v_now)
    from unnest(p_names, p_rates, p_bursts, p_max_in_flight) x(name, rate, burst, max_in_flight) where h.name = x.name;
    perform hookd.settle_hosts(v_ids, v_now);
end $$;
