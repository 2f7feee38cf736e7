-- When may a claim find work again? Two functions answer it, for lanes and for hosts, from what is pending now; every
-- change of the queue ends with them. They write each of these rows once a change, as under a held vacuum horizon
-- each version of a row stays; others write columns of their own beside them (32, 34), or repair (80, 88). The caller holds the locks of all the hosts concerned. Arrays run
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
    with change as (
        select * from unnest(p_ids, p_early, p_taken, p_active, p_flown, p_well, p_bad, p_answered, p_unanswered, p_holds,
            p_success, p_failed, p_failed_in_time)
            u(id, early, taken, active, flown, well, bad, answered, unanswered, hold, success, failed, failed_in_time)),
    changed as (
        select lane.ctid as place, coalesce(change.taken, 0) as taken,
            coalesce(change.active, lane.active) as active,
            case when change.answered then true when answers.silent then false else lane.proven end as proven,
            lane.in_flight + coalesce(change.taken, 0) - coalesce(change.flown, 0) as in_flight,
            case when lane.ordered or answers.silent then 1
                when answers.results >= answers.span and hookd.mostly_bad(answers.results, answers.bad)
                    then greatest(1, least(lane.window_size, answers.span) / 2)
                else least(10000, lane.window_size + coalesce(change.well, 0)) end as window_size,
            answers.span as window_span,
            case when answers.silent or answers.results >= answers.span then 0 else answers.results end as window_results,
            case when answers.silent or answers.results >= answers.span then 0 else answers.bad end as window_bad,
            case when change.answered then p_now else lane.answered_at end as answered_at,
            case when change.active then '-infinity'
                when answers.silent then greatest(lane.hold_until, change.hold,
                    p_now + hookd.silence_pause(p_now - lane.answered_at))
                else greatest(lane.hold_until, change.hold) end as hold_until,
            case when lane.rate is not null and change.taken > 0
                then greatest(lane.paced_until, p_now) + make_interval(secs => change.taken / lane.rate)
                else lane.paced_until end as paced_until,
            case when change.active or change.success then 0 else lane.failure_count end + coalesce(change.failed, 0)
                as failure_count,
            case when change.active or change.success then 0 else lane.failed_in_time end
                + coalesce(change.failed_in_time, 0) as failed_in_time,
            case when change.active or change.success and change.failed = 0 then null
                 when change.failed > 0 and (change.success or lane.failing_since is null) then p_now
                 else lane.failing_since end as failing_since,
            coalesce((
                select d.due from hookd.delivery d
                where d.subscription_id = lane.subscription_id and d.lease is null
                    and d.due >= least(lane.floor, change.early)
                order by d.due limit 1), 'infinity') as first_due,
            case when lane.catch_up_to is not null then (
                select d.failed_at from hookd.delivery d
                where d.subscription_id = lane.subscription_id and d.lease is null
                    and d.failed_at >= lane.catch_up_from and d.failed_at <= lane.catch_up_to
                order by d.failed_at limit 1) end as catch_up_from
        from change
        join hookd.lane on lane.subscription_id = change.id
        cross join lateral (
            select lane.window_results + coalesce(change.well, 0) + coalesce(change.bad, 0) as results,
                lane.window_bad + coalesce(change.bad, 0) as bad,
                -- a window is as many as were under way when it began, a few at least
                case when lane.window_results = 0 then greatest(16, lane.in_flight) else lane.window_span end as span,
                change.answered is not true and coalesce(lane.answered_at <= change.unanswered, false) as silent) answers
        offset 0), -- else each use of a column is its look-up once more
    settled as (
        select changed.*,
            case when catch_up_from is not null then least(first_due, p_now) else first_due end as first
        from changed offset 0)
    update hookd.lane set
        active = settled.active,
        proven = settled.proven,
        in_flight = settled.in_flight,
        window_size = settled.window_size,
        window_span = settled.window_span,
        window_results = settled.window_results,
        window_bad = settled.window_bad,
        answered_at = settled.answered_at,
        hold_until = settled.hold_until,
        failure_count = settled.failure_count,
        failed_in_time = settled.failed_in_time,
        failing_since = settled.failing_since,
        paced_until = settled.paced_until,
        floor = settled.first_due,
        catch_up_from = settled.catch_up_from,
        catch_up_to = case when settled.catch_up_from is not null then lane.catch_up_to end,
        due = case
            when not settled.active or settled.in_flight >= settled.window_size then 'infinity'
            when greatest(settled.first, settled.hold_until, hookd.pace(lane.rate, settled.paced_until)) > p_now
                then greatest(settled.first, settled.hold_until, hookd.pace(lane.rate, settled.paced_until))
            -- to the back of the turn, and the further the more it was given
            when settled.taken > 0
                then greatest(lane.due, p_now + interval '1 microsecond' * (least(settled.taken, 1000) - 1000))
            when lane.due <= p_now then lane.due -- it keeps its turn
            else p_now end
    from settled where lane.ctid = settled.place; -- nobody else moves them, and no plan looks anything up twice
end $$;

-- Whether a window's answers say that the receiver copes with less: of flaky ones half are good, whatever it is given.
create or replace function hookd.mostly_bad(p_results integer, p_bad integer) returns boolean
language sql immutable parallel safe as $$ select p_bad * 4 > p_results * 3 $$;
