create or replace function hookd.one_for_all(p_values anyarray, p_count integer) returns anyarray
language sql immutable parallel safe as $$
    select case when cardinality(p_values) = 1 and p_count > 1 then array_fill(p_values[1], array[p_count]) else p_values end
$$;

-- For each of p_count places whether it is one of p_places.
create or replace function hookd.at_places(p_places bigint[], p_count integer) returns boolean[]
language plpgsql immutable parallel safe as $$
begin
    if cardinality(p_places) = p_count then
        return array_fill(true, array[p_count]); -- as nearly always
    end if;
    return (select array_agg(place.n is not null order by every.n)
        from generate_series(1, p_count) every(n) left join unnest(p_places) place(n) on place.n = every.n);
end $$;

-- The only way out of a lease. One entry a result, in the order in which they came:
--   p_outcomes: 'succeeded'; 'retry' (due again p_delays seconds from now); 'given_up' (p_reasons says why);
--     'interrupted' (sent, outcome unknown: due again now, not a failure); 'unsent' (never left: as if not claimed).
--   p_lanes: what the answer says of the lane: 'answered_well', 'answered_badly' (in time, but overloaded or failing),
--     'unanswered', 'neutral'. p_host_failed: no connection could be made; null says nothing of the host.
--   p_holds: seconds for which Retry-After holds the lane. p_started: Unix seconds. p_notes: what was imperfect in answers,
--   p_headers: those of their headers that are kept, a line each.
-- p_outcomes, p_lanes and p_host_failed are null where all succeeded, as most batches do. One token, host, type, attempt,
-- status or excerpt stands for all.
-- What a replay that was cancelled meanwhile owes is not kept: it ends with the reason 'cancelled'.
-- A result counts only while its lease (p_tokens) still holds the delivery. p_done: leases with nothing left, as the caller knows.
-- Returns for each result whether it counted, and whether anything is pending on the hosts concerned that a claim may find,
-- now or later.
create or replace function hookd.record(
    p_deliveries uuid[], p_tokens uuid[], p_subscriptions uuid[], p_hosts integer[], p_events uuid[], p_types text[],
    p_attempts integer[], p_outcomes text[], p_reasons text[], p_statuses integer[], p_errors text[], p_delays float8[],
    p_holds float8[], p_lanes text[], p_host_failed boolean[], p_started float8[], p_durations float8[],
    p_phases text[], p_excerpts text[], p_done uuid[], p_disable_after interval, p_notes text[] default null,
    p_headers text[] default null, out counted boolean[], out pending boolean
)
language plpgsql volatile as $$
#variable_conflict use_column
declare
    v_count integer := coalesce(cardinality(p_deliveries), 0);
    v_now   timestamptz;
    v_micros bigint;
    v_random bigint := hookd.uuid7_random();
    v_hosts integer[];
    v_counted bigint[]; -- places in the batch
    v_lanes uuid[]; -- and of each of them:
    v_early timestamptz[]; -- when what is still pending may go again
    v_flown integer[];
    v_well  integer[];
    v_bad   integer[];
    v_answered boolean[];
    v_unanswered timestamptz[];
    v_holds timestamptz[];
    v_success boolean[];
    v_failed integer[];
    v_in_time integer[];
    v_off   text[];
    v_recovered uuid[]; -- lanes
    v_reached integer[]; -- hosts
    v_hosts_flown integer[]; -- of each of v_hosts
    v_hosts_failed timestamptz[];
    v_hosts_waited integer[];
    v_hosts_answered boolean[];
begin
    perform hookd.fresh_plans();
    perform set_config('synchronous_commit', 'off', true); -- a lost result only sends again
    p_outcomes := coalesce(p_outcomes, array_fill('succeeded'::text, array[v_count]));
    p_lanes := coalesce(p_lanes, array_fill('answered_well'::text, array[v_count]));
    p_host_failed := coalesce(p_host_failed, array_fill(false, array[v_count]));
    p_tokens := hookd.one_for_all(p_tokens, v_count);
    p_hosts := hookd.one_for_all(p_hosts, v_count);
    p_types := hookd.one_for_all(p_types, v_count);
    p_attempts := hookd.one_for_all(p_attempts, v_count);
    p_statuses := hookd.one_for_all(p_statuses, v_count);
    p_excerpts := hookd.one_for_all(p_excerpts, v_count);

    select array_agg(distinct concerned.id) into v_hosts from (
        select unnest(p_hosts) as id
        union select lane.host_id from hookd.lane where lane.subscription_id = any (p_subscriptions)) concerned;
    perform hookd.lock_hosts(v_hosts);
    perform hookd.check_lanes_locked(p_subscriptions, v_hosts);
    -- only now, so that a subscription's attempts have ids in the order in which they are committed: whoever reads them by
    -- id and has seen one has seen all before it. Those of a batch run ahead of it by a microsecond each, less than it takes.
    v_now := hookd.clock();
    v_micros := hookd.uuid7_micros(v_now);

    with result as (
        select * from unnest(p_deliveries, p_tokens, p_subscriptions, p_hosts, p_events, p_types, p_attempts, p_outcomes,
            p_reasons, p_statuses, p_errors, p_delays, p_holds, p_lanes, p_host_failed, p_started, p_durations, p_phases,
            p_excerpts, p_notes, p_headers)
            with ordinality r(delivery_id, token, subscription_id, host_id, event_id, event_type, attempt, outcome,
                reason, status, error, delay, hold, lane, host_failed, started, duration, phases, excerpt, note, headers, n)),
    -- Each by itself, and then by its place: a plan made when the table had about one row would join by id and read all of
    -- it. We have the locks, so nobody moves them.
    held as materialized (
        select result.*, pending.place, cancelled.is as cancelled, pending.due > v_now and not cancelled.is as ahead
        from result
        cross join lateral (
            select delivery.ctid as place, delivery.due, delivery.replay_id from hookd.delivery
            where delivery.id = result.delivery_id and delivery.lease = result.token offset 0) pending
        cross join lateral (
            select pending.replay_id is not null and result.outcome in ('retry', 'interrupted', 'unsent') and (
                select replay.ended = 'cancelled' from hookd.replay where replay.id = pending.replay_id) is true as is
            offset 0) cancelled),
    ended as (
        delete from hookd.delivery using held
        where delivery.ctid = held.place and (held.outcome in ('succeeded', 'given_up') or held.cancelled)
        returning held.*, null::timestamptz as due),
    kept as (
        update hookd.delivery set lease = null, host_id = null,
            -- in strict order it stays where it is, and the lane waits for it; what went ahead of its time keeps that
            due = case when held.ahead and held.outcome = 'retry'
                    or (select lane.ordered from hookd.lane where lane.subscription_id = held.subscription_id)
                    then delivery.due
                else v_now + make_interval(secs => case when held.outcome = 'retry' then held.delay else 0 end) end,
            attempt = delivery.attempt - (held.outcome = 'unsent')::integer,
            failures = delivery.failures + (held.outcome = 'retry' and not held.ahead)::integer,
            failed_at = case when held.outcome = 'retry' then v_now else delivery.failed_at end
        from held
        where delivery.ctid = held.place and held.outcome in ('retry', 'interrupted', 'unsent') and not held.cancelled
        returning held.*, delivery.due),
    counted as materialized (select * from ended union all select * from kept),
    appended as (
        insert into hookd.attempt (id, subscription_id, delivery_id, event_id, event_type, attempt, succeeded,
            response_status, error, ended, duration_ms, phases_ms, excerpt, note, response_headers, attempted_at,
            next_attempt_at)
        select hookd.uuid7_of(v_micros + n, v_random + n), subscription_id, delivery_id, event_id, event_type,
            attempt - (outcome = 'unsent')::integer, outcome = 'succeeded', status,
            case when outcome = 'unsent' then 'cancelled' else error end,
            case when cancelled then 'cancelled' when outcome = 'succeeded' then 'succeeded'
                when outcome = 'given_up' then reason end,
            duration, phases::real[], excerpt, note, headers,
            case when outcome = 'unsent' then v_now else to_timestamp(started) end,
            case when cancelled then null
                when outcome = 'retry' then case when ahead then due else v_now + make_interval(secs => delay) end
                when outcome = 'interrupted' then v_now end
        from counted where cancelled or outcome <> 'unsent'),
    success as (
        select subscription_id, max(n) filter (where outcome = 'succeeded') as last_n,
            min(n) filter (where outcome = 'succeeded') as first_n
        from counted group by subscription_id),
    of_lane as (
        select c.subscription_id, count(*)::integer as flown, coalesce(bool_or(c.reason = 'gone'), false) as gone,
            success.last_n is not null as success,
            count(*) filter (where f.failed and c.n > coalesce(success.last_n, 0))::integer as failed,
            count(*) filter (where f.failed and not c.ahead and c.n > coalesce(success.last_n, 0))::integer
                as failed_in_time,
            count(*) filter (where f.failed and not c.ahead and c.n < success.first_n)::integer as failed_before,
            count(*) filter (where c.lane = 'answered_well')::integer as well,
            count(*) filter (where c.lane in ('answered_badly', 'unanswered'))::integer as bad,
            bool_or(c.lane in ('answered_well', 'answered_badly')) as answered,
            v_now - hookd.silence(min(c.duration) filter (where c.lane = 'unanswered')) as unanswered,
            v_now + make_interval(secs => max(c.hold)) as hold_until,
            v_now + make_interval(secs => max(c.delay) filter (where c.outcome = 'retry' and c.due is not null))
                as retry_at,
            min(c.due) as early
        from counted c
        join success on success.subscription_id = c.subscription_id
        cross join lateral (select c.outcome in ('retry', 'given_up') as failed) f
        group by c.subscription_id, success.last_n, success.first_n),
    changed_lane as (
        select of_lane.*,
            case when lane.ordered then greatest(of_lane.hold_until, of_lane.retry_at) else of_lane.hold_until end
                as held_until,
            case when of_lane.gone then 'gone'
                when of_lane.failed > 0 and not of_lane.success and lane.failing_since <= v_now - p_disable_after
                    then 'failing' end as off,
            of_lane.success and not lane.ordered
                and hookd.was_away(lane.failed_in_time + of_lane.failed_before, v_now - lane.failing_since) as recovered
        from of_lane join hookd.lane on lane.subscription_id = of_lane.subscription_id),
    of_host as (
        select host_id, count(*)::integer as flown,
            v_now - make_interval(secs => min(duration) filter (where host_failed) / 1000) as failed,
            count(*) filter (where host_failed and duration >= 1000)::integer as waited,
            bool_or(not host_failed) as answered
        from counted group by host_id),
    -- of the hosts that are locked, also those of lanes that have moved away
    changed_host as (
        select locked.id, locked.k, coalesce(of_host.flown, 0) as flown, of_host.failed,
            coalesce(of_host.waited, 0) as waited, coalesce(of_host.answered, false) as answered,
            of_host.answered and (of_host.failed is not null or away.since is not null) as reached
        from unnest(v_hosts) with ordinality locked(id, k)
        cross join lateral (select host.away_since as since from hookd.host where host.id = locked.id offset 0) away
        left join of_host on of_host.host_id = locked.id)
    select batch.counted, lanes.*, hosts.*
    into v_counted, v_lanes, v_early, v_flown, v_well, v_bad, v_answered, v_unanswered, v_holds, v_success, v_failed,
        v_in_time, v_off, v_recovered, v_hosts_flown, v_hosts_failed, v_hosts_waited, v_hosts_answered, v_reached
    from (select array_agg(n) as counted from counted) batch,
        (select array_agg(subscription_id), array_agg(early), array_agg(flown), array_agg(well), array_agg(bad),
            array_agg(answered), array_agg(unanswered), array_agg(held_until), array_agg(success), array_agg(failed),
            array_agg(failed_in_time), array_agg(off), array_agg(subscription_id) filter (where recovered)
        from changed_lane) lanes,
        (select array_agg(flown order by k), array_agg(failed order by k), array_agg(waited order by k),
            array_agg(answered order by k), array_agg(id) filter (where reached)
        from changed_host) hosts;

    if v_lanes is not null then
        if array_remove(v_off, null) <> '{}' then
            perform hookd.deactivate(x.ids, x.reasons) from (
                select array_agg(id) as ids, array_agg(reason) as reasons
                from unnest(v_lanes, v_off) x(id, reason) join hookd.lane l on l.subscription_id = x.id and l.active
                where x.reason is not null) x
            where x.ids is not null;
        end if;
        if true = any (p_host_failed) or v_reached is not null then
            -- behind the others, of which alone there are results
            v_lanes := v_lanes || hookd.reach_hosts(v_lanes, v_reached, v_now, p_subscriptions, p_hosts, p_host_failed);
        end if;
        if v_recovered is not null then
            perform hookd.catch_up(v_recovered, v_now);
        end if;
        perform hookd.settle_lanes(v_lanes, v_now, p_early => v_early,
            p_active => array(select case when off is not null then false end from unnest(v_off) off), p_flown => v_flown,
            p_well => v_well, p_bad => v_bad, p_answered => v_answered, p_unanswered => v_unanswered, p_holds => v_holds,
            p_success => v_success, p_failed => v_failed, p_failed_in_time => v_in_time);
    end if;
    perform hookd.settle_hosts(v_hosts, v_now, v_lanes, p_flown => v_hosts_flown, p_failed => v_hosts_failed,
        p_waited => v_hosts_waited, p_answered => v_hosts_answered, p_lanes_flown => v_flown);
    -- What the caller holds to be recorded may be lost: a crash takes the last commits with it. What is left then is for the
    -- end of the lease.
    delete from hookd.lease where lease.token = any (p_done) and not exists (
        select from unnest(lease.deliveries) claimed(id) cross join lateral (
            select from hookd.delivery where delivery.id = claimed.id and delivery.lease = lease.token offset 0) still);
    counted := hookd.at_places(v_counted, v_count);
    pending := exists (
        select from hookd.host where host.id = any (v_hosts) and least(host.ready_at, host.probe_at) < 'infinity');
end $$;
