create or replace function hookd.one_for_all(p_values anyarray, p_count integer) returns anyarray
language sql immutable parallel safe as $$
    select case when cardinality(p_values) = 1 and p_count > 1 then array_fill(p_values[1], array[p_count]) else p_values end
$$;

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
-- Returns for each result whether it counted, and whether anything is owed on the hosts concerned that a claim may find,
-- now or later.
create or replace function hookd.record(
    p_deliveries uuid[], p_tokens uuid[], p_subscriptions uuid[], p_hosts integer[], p_events uuid[], p_types text[],
    p_attempts integer[], p_outcomes text[], p_reasons text[], p_statuses integer[], p_errors text[], p_delays float8[],
    p_holds float8[], p_lanes text[], p_host_failed boolean[], p_started float8[], p_durations float8[],
    p_phases text[], p_excerpts text[], p_done uuid[], p_disable_after interval, p_notes text[] default null,
    p_headers text[] default null, out counted boolean[], out owed boolean
)
language plpgsql volatile as $$
#variable_conflict use_column
declare
    v_count integer := coalesce(cardinality(p_deliveries), 0);
    v_now   timestamptz;
    v_micros bigint;
    v_random bigint := hookd.uuid7_random();
    v_locks integer[];
    v_ok    boolean[];
    v_over  boolean[]; -- of a cancelled replay
    v_ahead boolean[]; -- sent ahead of its time
    v_subs  uuid[];
    v_dues  timestamptz[]; -- when what is still owed may go again
    v_early timestamptz[];
    v_flown integer[];
    v_well  integer[];
    v_bad   integer[];
    v_answered boolean[];
    v_unanswered timestamptz[];
    v_holds timestamptz[];
    v_success boolean[];
    v_failed integer[];
    v_in_time integer[];
    v_active boolean[];
    v_off   text[];
    v_recovered uuid[];
    v_reached integer[];
    v_hosts_flown integer[]; -- the same of each of v_locks
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
    select array_agg(distinct x.id) into v_locks from (
        select unnest(p_hosts) as id
        union select l.host_id from hookd.lane l where l.subscription_id = any (p_subscriptions)) x;
    perform hookd.lock_hosts(v_locks);
    perform hookd.check_lanes_locked(p_subscriptions, v_locks);
    -- only now, so that a subscription's attempts have ids in the order in which they are committed: whoever reads them by
    -- id and has seen one has seen all before it. Those of a batch run ahead of it by a microsecond each, less than it takes.
    v_now := hookd.clock();
    v_micros := hookd.uuid7_micros(v_now);

    with x as (
        select * from unnest(p_deliveries, p_tokens, p_outcomes, p_delays)
            with ordinality x(delivery, token, outcome, delay, n)),
    -- Each by itself, and then by its place: a plan made when the table had about one row would join by id and read all of
    -- it. We have the locks, so nobody moves them.
    held as materialized (
        select x.n, x.outcome, x.delay, d.place, d.subscription_id, d.due > v_now as ahead,
            d.replay_id is not null
                and (select r.ended = 'cancelled' from hookd.replay r where r.id = d.replay_id) is true as cancelled
        from x cross join lateral (
            select e.ctid as place, e.subscription_id, e.due, e.replay_id from hookd.delivery e
            where e.id = x.delivery and e.lease = x.token offset 0) d),
    gone as (
        delete from hookd.delivery d using held h
        where d.ctid = h.place and h.outcome in ('succeeded', 'given_up')
        returning h.n, h.ahead),
    over as (
        delete from hookd.delivery d using held h
        where d.ctid = h.place and h.outcome in ('retry', 'interrupted', 'unsent') and h.cancelled
        returning h.n),
    kept as (
        update hookd.delivery d set lease = null, host_id = null,
            -- in strict order it stays where it is, and the lane waits for it; what went ahead of its time keeps that
            due = case when h.ahead and h.outcome = 'retry'
                    or (select l.ordered from hookd.lane l where l.subscription_id = h.subscription_id) then d.due
                else v_now + make_interval(secs => case when h.outcome = 'retry' then h.delay else 0 end) end,
            attempt = d.attempt - (h.outcome = 'unsent')::integer,
            failures = d.failures + (h.outcome = 'retry' and not h.ahead)::integer,
            failed_at = case when h.outcome = 'retry' then v_now else d.failed_at end
        from held h where d.ctid = h.place and h.outcome in ('retry', 'interrupted', 'unsent') and not h.cancelled
        returning h.n, h.ahead, d.due)
    select array_agg(o.n is not null order by x.n), array_agg(coalesce(o.over, false) order by x.n),
        array_agg(o.due order by x.n), array_agg(coalesce(o.ahead, false) order by x.n)
    into v_ok, v_over, v_dues, v_ahead
    from x left join (
        select n, false as over, null::timestamptz as due, ahead from gone
        union all select n, true, null::timestamptz, false from over
        union all select n, false, due, ahead from kept) o on o.n = x.n;

    insert into hookd.attempt (id, subscription_id, delivery_id, event_id, event_type, attempt, succeeded, response_status,
        error, ended, duration_ms, phases_ms, excerpt, note, response_headers, attempted_at, next_attempt_at)
    select hookd.uuid7_of(v_micros + x.n, v_random + x.n), x.subscription, x.delivery, x.event, x.type,
        x.attempt - (x.outcome = 'unsent')::integer, x.outcome = 'succeeded', x.status,
        case when x.outcome = 'unsent' then 'cancelled' else x.error end,
        case when x.over then 'cancelled' when x.outcome = 'succeeded' then 'succeeded'
            when x.outcome = 'given_up' then x.reason end,
        x.duration, x.phases::real[], x.excerpt, x.note, x.headers,
        case when x.outcome = 'unsent' then v_now else to_timestamp(x.started) end,
        case when x.over then null
            when x.outcome = 'retry' then case when x.ahead then x.due else v_now + make_interval(secs => x.delay) end
            when x.outcome = 'interrupted' then v_now end
    from unnest(v_ok, v_over, v_ahead, v_dues, p_subscriptions, p_deliveries, p_events, p_types, p_attempts, p_outcomes,
        p_reasons, p_statuses, p_errors, p_durations, p_phases, p_excerpts, p_notes, p_headers, p_started, p_delays)
        with ordinality x(ok, over, ahead, due, subscription, delivery, event, type, attempt, outcome, reason, status, error,
            duration, phases, excerpt, note, headers, started, delay, n)
    where x.ok and (x.over or x.outcome <> 'unsent');

    with x as (
        select *, outcome in ('retry', 'given_up') as failed
        from unnest(v_ok, v_ahead, v_dues, p_subscriptions, p_outcomes, p_delays, p_holds, p_lanes, p_durations, p_reasons)
            with ordinality x(ok, ahead, due, subscription, outcome, delay, hold, lane, duration, reason, n)
        where ok),
    last as (
        select subscription, max(n) filter (where outcome = 'succeeded') as n,
            min(n) filter (where outcome = 'succeeded') as first_n from x group by subscription),
    y as (
        select x.subscription, count(*)::integer as flown, coalesce(bool_or(x.reason = 'gone'), false) as gone,
            last.n is not null as success,
            count(*) filter (where x.failed and x.n > coalesce(last.n, 0))::integer as failed,
            count(*) filter (where x.failed and not x.ahead and x.n > coalesce(last.n, 0))::integer as failed_in_time,
            count(*) filter (where x.failed and not x.ahead and x.n < last.first_n)::integer as failed_before,
            count(*) filter (where x.lane = 'answered_well')::integer as well,
            count(*) filter (where x.lane in ('answered_badly', 'unanswered'))::integer as bad,
            bool_or(x.lane in ('answered_well', 'answered_badly')) as answered,
            v_now - hookd.silence(min(x.duration) filter (where x.lane = 'unanswered')) as unanswered,
            v_now + make_interval(secs => max(x.hold)) as hold_until,
            v_now + make_interval(secs => max(x.delay) filter (where x.outcome = 'retry' and x.due is not null)) as retry_at,
            min(x.due) as early
        from x join last on last.subscription = x.subscription
        group by x.subscription, last.n, last.first_n),
    z as (
        select y.*, case when l.ordered then greatest(y.hold_until, y.retry_at) else y.hold_until end as held_until,
            case when y.gone then 'gone'
            when y.failed > 0 and not y.success and l.failing_since <= v_now - p_disable_after then 'failing' end as off,
            y.success and not l.ordered
                and hookd.was_away(l.failed_in_time + y.failed_before, v_now - l.failing_since) as recovered
        from y join hookd.lane l on l.subscription_id = y.subscription)
    select array_agg(subscription), array_agg(early), array_agg(flown), array_agg(well), array_agg(bad), array_agg(answered),
        array_agg(unanswered), array_agg(held_until), array_agg(success), array_agg(failed), array_agg(failed_in_time),
        array_agg(case when off is not null then false end), array_agg(off),
        array_agg(subscription) filter (where recovered)
    into v_subs, v_early, v_flown, v_well, v_bad, v_answered, v_unanswered, v_holds, v_success, v_failed, v_in_time, v_active,
        v_off, v_recovered
    from z;

    -- of the hosts that are locked, also those of lanes that have moved away
    select array_agg(coalesce(y.flown, 0) order by t.k), array_agg(y.failed order by t.k),
        array_agg(coalesce(y.waited, 0) order by t.k), array_agg(coalesce(y.answered, false) order by t.k),
        array_agg(t.id) filter (where y.answered and (y.failed is not null or h.away_since is not null))
    into v_hosts_flown, v_hosts_failed, v_hosts_waited, v_hosts_answered, v_reached
    from unnest(v_locks) with ordinality t(id, k)
    cross join lateral (select g.away_since from hookd.host g where g.id = t.id offset 0) h
    left join (
        select x.host, count(*)::integer as flown,
            v_now - make_interval(secs => min(x.duration) filter (where x.failed) / 1000) as failed,
            count(*) filter (where x.failed and x.duration >= 1000)::integer as waited,
            bool_or(not x.failed) as answered
        from unnest(v_ok, p_hosts, p_host_failed, p_durations) x(ok, host, failed, duration)
        where x.ok group by x.host) y on y.host = t.id;

    if v_subs is not null then
        if array_remove(v_off, null) <> '{}' then
            perform hookd.switch_off(x.ids, x.reasons) from (
                select array_agg(id) as ids, array_agg(reason) as reasons
                from unnest(v_subs, v_off) x(id, reason) join hookd.lane l on l.subscription_id = x.id and l.active
                where x.reason is not null) x
            where x.ids is not null;
        end if;
        if true = any (p_host_failed) or v_reached is not null then
            -- behind the others, of which alone there are results
            v_subs := v_subs || hookd.reach_hosts(v_subs, v_reached, v_now, p_subscriptions, p_hosts, p_host_failed);
        end if;
        if v_recovered is not null then
            perform hookd.catch_up(v_recovered, v_now);
        end if;
        perform hookd.settle_lanes(v_subs, v_now, p_early => v_early, p_active => v_active, p_flown => v_flown,
            p_well => v_well, p_bad => v_bad, p_answered => v_answered, p_unanswered => v_unanswered, p_holds => v_holds,
            p_success => v_success, p_failed => v_failed, p_failed_in_time => v_in_time);
    end if;
    perform hookd.settle_hosts(v_locks, v_now, v_subs, p_flown => v_hosts_flown, p_failed => v_hosts_failed,
        p_waited => v_hosts_waited, p_answered => v_hosts_answered, p_lanes_flown => v_flown);
    -- What the caller holds to be recorded may be lost: a crash takes the last commits with it. What is left then is for the
    -- end of the lease.
    delete from hookd.lease e where e.token = any (p_done) and not exists (
        select from unnest(e.deliveries) u(id) cross join lateral (
            select from hookd.delivery d where d.id = u.id and d.lease = e.token offset 0) d);
    counted := v_ok;
    owed := exists (select from hookd.host h where h.id = any (v_locks) and least(h.ready_at, h.probe_at) < 'infinity');
end $$;

-- What leases past their end still hold: the sweeper records it as interrupted.
create or replace function hookd.expired_leases(p_limit integer)
returns table (token uuid, delivery_id uuid, subscription_id uuid, host_id integer, event_id uuid, event_type text, attempt smallint)
language plpgsql volatile as $$
#variable_conflict use_column
begin
    perform hookd.fresh_plans();
    return query
        select e.token, d.id, d.subscription_id, d.host_id, d.event_id, coalesce(v.type, ''), d.attempt
        from (select * from hookd.lease l where l.until <= hookd.clock() order by l.until limit p_limit) e
        left join lateral (
            select f.* from unnest(e.deliveries) u(id) cross join lateral (
                select * from hookd.delivery g where g.id = u.id and g.lease = e.token offset 0) f offset 0) d on true
        left join hookd.subscription s on s.id = d.subscription_id
        left join lateral (
            select w.type from hookd.event w where w.org_id = s.org_id and w.id = d.event_id offset 0) v on true;
end $$;

-- What a claim whose answer was lost holds: it goes back unsent.
create or replace function hookd.leased(p_token uuid)
returns table (token uuid, delivery_id uuid, subscription_id uuid, host_id integer, event_id uuid, event_type text, attempt smallint)
language plpgsql volatile as $$
#variable_conflict use_column
begin
    perform hookd.fresh_plans();
    return query
        select e.token, d.id, d.subscription_id, d.host_id, d.event_id, v.type, d.attempt
        from hookd.lease e
        cross join lateral (
            select f.* from unnest(e.deliveries) u(id) cross join lateral (
                select * from hookd.delivery g where g.id = u.id and g.lease = e.token offset 0) f offset 0) d
        join hookd.subscription s on s.id = d.subscription_id
        cross join lateral (
            select w.type from hookd.event w where w.org_id = s.org_id and w.id = d.event_id offset 0) v
        where e.token = p_token;
end $$;
