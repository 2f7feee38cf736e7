-- When may a claim find work again? Two functions answer it, for lanes and for hosts, from what is pending now; every
-- change of the queue ends with them, and only they (and route(), for lanes) write these rows: once a change, as under
-- a held vacuum horizon each version of a row stays. The caller holds the locks of all the hosts concerned. Arrays run
-- in parallel; one that is null says nothing.

-- p_early: no unleased delivery of the lane is due before the lesser of its floor and this. p_taken: deliveries that a
-- claim leased. p_active: paused or resumed. The rest is what results say: p_flown are back, p_well of them answered well,
-- p_bad answered badly or not at all; p_answered: an answer came; p_unanswered: from when on one was waited for that did not
-- come; p_holds: until when Retry-After holds the lane; p_success: one succeeded; p_failed: failed attempts after the last
-- success, p_failed_in_time of them not ahead of their time.
create or replace function hookd.settle_lanes(
    p_ids uuid[], p_now timestamptz, p_early timestamptz[] default null, p_taken integer[] default null,
    p_active boolean[] default null, p_flown integer[] default null, p_well integer[] default null,
    p_bad integer[] default null, p_answered boolean[] default null, p_unanswered timestamptz[] default null,
    p_holds timestamptz[] default null, p_success boolean[] default null, p_failed integer[] default null,
    p_failed_in_time integer[] default null
) returns void
language plpgsql volatile as $$
begin
    update hookd.lane l set
        active = x.active,
        proven = x.proven,
        in_flight = x.in_flight,
        window_size = x.window_size,
        window_span = x.window_span,
        window_results = x.window_results,
        window_bad = x.window_bad,
        answered_at = x.answered_at,
        hold_until = x.hold_until,
        failure_count = x.failure_count,
        failed_in_time = x.failed_in_time,
        failing_since = x.failing_since,
        paced_until = x.paced_until,
        floor = x.first_due,
        catch_up_from = x.catch_up_from,
        catch_up_to = case when x.catch_up_from is not null then l.catch_up_to end,
        due = case
            when not x.active or x.in_flight >= x.window_size then 'infinity'
            when greatest(x.first, x.hold_until, hookd.pace(l.rate, x.paced_until)) > p_now
                then greatest(x.first, x.hold_until, hookd.pace(l.rate, x.paced_until))
            -- to the back of the turn, and the further the more it was given
            when x.taken > 0 then greatest(l.due, p_now + interval '1 microsecond' * (least(x.taken, 1000) - 1000))
            when l.due <= p_now then l.due -- it keeps its turn
            else p_now end
    from (
        select w.*, case when w.catch_up_from is not null then least(w.first_due, p_now) else w.first_due end as first
        from (
            select k.ctid as place, coalesce(y.taken, 0) as taken,
                coalesce(y.active, k.active) as active,
                case when y.answered then true when v.silent then false else k.proven end as proven,
                k.in_flight + coalesce(y.taken, 0) - coalesce(y.flown, 0) as in_flight,
                case when k.ordered or v.silent then 1
                    when v.results >= v.span and hookd.mostly_bad(v.results, v.bad)
                        then greatest(1, least(k.window_size, v.span) / 2)
                    else least(10000, k.window_size + coalesce(y.well, 0)) end as window_size,
                v.span as window_span,
                case when v.silent or v.results >= v.span then 0 else v.results end as window_results,
                case when v.silent or v.results >= v.span then 0 else v.bad end as window_bad,
                case when y.answered then p_now else k.answered_at end as answered_at,
                case when y.active then '-infinity'
                    when v.silent then greatest(k.hold_until, y.hold, p_now + hookd.silence_pause(p_now - k.answered_at))
                    else greatest(k.hold_until, y.hold) end as hold_until,
                case when k.rate is not null and y.taken > 0
                    then greatest(k.paced_until, p_now) + make_interval(secs => y.taken / k.rate)
                    else k.paced_until end as paced_until,
                case when y.active or y.success then 0 else k.failure_count end + coalesce(y.failed, 0) as failure_count,
                case when y.active or y.success then 0 else k.failed_in_time end + coalesce(y.failed_in_time, 0)
                    as failed_in_time,
                case when y.active or y.success and y.failed = 0 then null
                     when y.failed > 0 and (y.success or k.failing_since is null) then p_now
                     else k.failing_since end as failing_since,
                coalesce((
                    select d.due from hookd.delivery d
                    where d.subscription_id = k.subscription_id and d.lease is null and d.due >= least(k.floor, y.early)
                    order by d.due limit 1), 'infinity') as first_due,
                case when k.catch_up_to is not null then (
                    select d.failed_at from hookd.delivery d
                    where d.subscription_id = k.subscription_id and d.lease is null
                        and d.failed_at >= k.catch_up_from and d.failed_at <= k.catch_up_to
                    order by d.failed_at limit 1) end as catch_up_from
            from unnest(p_ids, p_early, p_taken, p_active, p_flown, p_well, p_bad, p_answered, p_unanswered, p_holds,
                p_success, p_failed, p_failed_in_time)
                y(id, early, taken, active, flown, well, bad, answered, unanswered, hold, success, failed, failed_in_time)
            join hookd.lane k on k.subscription_id = y.id
            cross join lateral (
                select k.window_results + coalesce(y.well, 0) + coalesce(y.bad, 0) as results,
                    k.window_bad + coalesce(y.bad, 0) as bad,
                    -- a window is as many as were under way when it began, a few at least
                    case when k.window_results = 0 then greatest(16, k.in_flight) else k.window_span end as span,
                    y.answered is not true and coalesce(k.answered_at <= y.unanswered, false) as silent) v
            offset 0 -- else each use of a column is its look-up once more
        ) w
        offset 0
    ) x
    where l.ctid = x.place; -- nobody else moves them, and no plan looks anything up twice
end $$;

-- Whether a window's answers say that the receiver copes with less: of flaky ones half are good, whatever it is given.
create or replace function hookd.mostly_bad(p_results integer, p_bad integer) returns boolean
language sql immutable parallel safe as $$ select p_bad * 4 > p_results * 3 $$;

-- A lane's own rate, by the generic cell rate algorithm: what was sent has used the rate up until p_until, and one second's
-- worth may be ahead of that. pace: from when one more may go; paced_room: how many may go now.
-- Stable, as the subtraction is: called immutable it would not be inlined, and be planned anew in each statement.
create or replace function hookd.pace(p_rate float8, p_until timestamptz) returns timestamptz
language sql stable parallel safe as $$
    select case when p_rate is null then '-infinity'
        else p_until - make_interval(secs => (greatest(1, ceil(p_rate)) - 1) / p_rate) end
$$;

create or replace function hookd.paced_room(p_rate float8, p_until timestamptz, p_now timestamptz) returns integer
language sql immutable parallel safe as $$
    select greatest(0, least(1000000, floor(greatest(1, ceil(p_rate)) + 1e-6
        - greatest(0, extract(epoch from p_until - p_now)::float8) * p_rate)))::integer
$$;

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
    update hookd.host h set
        tokens = x.tokens,
        claimed_at = case when p_by is null then h.claimed_at else p_now end,
        claimed_by = coalesce(p_by, h.claimed_by),
        refilled_at = greatest(h.refilled_at, p_now), -- sessions that overlap may read the clock out of order
        in_flight = x.in_flight,
        circuit_failures = x.failures,
        circuit_trips = x.trips,
        failed_at = x.failed_at,
        away_since = x.away_since,
        blocked_until = x.blocked_until,
        ready_floor = x.ready_first,
        probe_floor = x.probe_first,
        ready_at = case when x.open then 'infinity' else greatest(x.ready, x.wait) end,
        probe_at = case when not x.open then greatest(x.probe, x.wait)
                        when x.in_flight > 0 then 'infinity' -- the probe under way decides
                        else greatest(least(x.ready, x.probe), x.wait, x.blocked_until) end
    from (
        select g.*, hookd.circuit_open(g.failures) as open,
            case when g.in_flight >= g.max_in_flight then 'infinity'
                 when g.tokens < 1 then p_now + make_interval(secs => (1 - g.tokens) / g.rate)
                 else '-infinity' end as wait,
            f.ready as ready_first, f.probe as probe_first,
            -- of several organisations, those that may have more under way
            case when g.owner is not null then f.ready else coalesce((
                select s.ready_at from hookd.host_share s
                where s.host_id = g.id and s.ready_at >= f.ready and s.ready_at < 'infinity'
                    and s.in_flight < g.max_in_flight - g.in_flight
                order by s.ready_at limit 1), 'infinity') end as ready,
            case when g.owner is not null then f.probe else coalesce((
                select s.probe_at from hookd.host_share s
                where s.host_id = g.id and s.probe_at >= f.probe and s.probe_at < 'infinity'
                    and s.in_flight < g.max_in_flight - g.in_flight
                order by s.probe_at limit 1), 'infinity') end as probe
        from (
            select k.ctid as place, k.id, k.owner, k.max_in_flight, k.rate, k.ready_floor, k.probe_floor,
                hookd.tokens_at(k, p_now) - coalesce(y.taken, 0) as tokens,
                k.in_flight + coalesce(y.taken, 0) - coalesce(y.flown, 0) as in_flight,
                case when y.answered then 0 else k.circuit_failures + c.failures end as failures,
                case when y.answered then 0 when c.trips then k.circuit_trips + 1 else k.circuit_trips end as trips,
                case when c.failures > 0 then p_now else k.failed_at end as failed_at,
                case when y.answered then null else a.away_since end as away_since,
                case when y.answered then '-infinity'
                     when c.trips then p_now + make_interval(secs => hookd.circuit_block(k.circuit_trips,
                        extract(epoch from p_now - a.away_since)::float8, random()))
                     else k.blocked_until end as blocked_until
            from unnest(p_ids, p_taken, p_flown, p_failed, p_waited, p_answered)
                y(id, taken, flown, failed, waited, answered)
            join hookd.host k on k.id = y.id
            cross join lateral (
                select coalesce(k.away_since, case when y.failed is not null then p_now end) as away_since,
                    hookd.failures_of(k, p_now, y.failed, y.waited) as failures offset 0) a
            cross join lateral (
                select a.failures, a.failures > 0 and hookd.circuit_open(k.circuit_failures + a.failures) as trips) c
        ) g
        left join (
            select l.host_id, min(l.due) filter (where l.proven) as ready, min(l.due) filter (where not l.proven) as probe
            from hookd.lane l where l.subscription_id = any (p_lanes) group by l.host_id
        ) e on e.host_id = g.id
        cross join lateral (
            select case when g.owner is not null
                then least(e.ready, coalesce((
                    select l.due from hookd.lane l
                    where l.host_id = g.id and l.org_id = g.owner and l.proven and l.due >= g.ready_floor
                        and l.due < 'infinity'
                    order by l.due limit 1), 'infinity'))
                else coalesce((
                    select s.ready_at from hookd.host_share s
                    where s.host_id = g.id and s.ready_at >= least(e.ready, g.ready_floor) and s.ready_at < 'infinity'
                    order by s.ready_at limit 1), 'infinity') end as ready,
                case when g.owner is not null
                then least(e.probe, coalesce((
                    select l.due from hookd.lane l
                    where l.host_id = g.id and l.org_id = g.owner and not l.proven and l.due >= g.probe_floor
                        and l.due < 'infinity'
                    order by l.due limit 1), 'infinity'))
                else coalesce((
                    select s.probe_at from hookd.host_share s
                    where s.host_id = g.id and s.probe_at >= least(e.probe, g.probe_floor) and s.probe_at < 'infinity'
                    order by s.probe_at limit 1), 'infinity') end as probe
            offset 0) f
        offset 0
    ) x
    where h.ctid = x.place;
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

-- How many failures to connect count towards a host's circuit, of which the last was begun at p_failed. Those that were under
-- way together are one, a moment's; but each of p_waited held a sender for long. While the circuit is open, only a probe's
-- counts: what was sent before says nothing new.
create or replace function hookd.failures_of(p_host hookd.host, p_now timestamptz, p_failed timestamptz, p_waited integer)
returns integer
language sql immutable parallel safe as $$
    select case
        when p_failed is null then 0
        when not hookd.circuit_open(p_host.circuit_failures)
            then greatest(p_waited, (p_failed > p_host.failed_at)::integer)
        else (p_failed > p_host.failed_at and p_host.blocked_until <= p_now)::integer end
$$;

-- Seconds for which an open circuit blocks a host that has been away for p_away: half a second, doubling with each time in a
-- row to 5 minutes, with 20 % jitter; but no more than 0.8 seconds or a twenty-fifth of the time away, so that with the jitter
-- what waits for it goes within a second or a twentieth of that time, and has gone by a tenth.
create or replace function hookd.circuit_block(p_trips integer, p_away float8, p_random float8) returns float8
language sql immutable parallel safe as $$
    select least(300, 0.5 * 2.0 ^ least(p_trips, 10), greatest(0.8, 0.04 * p_away)) * (0.8 + 0.4 * p_random)
$$;

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
