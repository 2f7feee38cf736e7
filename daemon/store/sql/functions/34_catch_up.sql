-- What failed while its receiver was away need not wait for its own time once that is back: it goes behind what is due, in
-- the lane's room, once. A lane's interval catch_up_from to catch_up_to says which: what failed last within it. What goes
-- ahead of its time and fails again keeps that time, and no attempt of its schedule is lost. The caller holds the locks of
-- the hosts, and settles lanes and hosts afterwards.

-- Whether so many failures at their own time and nothing else, for so long, are a receiver that was away. A single event that
-- fails among good ones is not: two in a row that take a second, or five in a moment.
create or replace function hookd.was_away(p_failed integer, p_time interval) returns boolean
language sql immutable parallel safe as $$
    select p_failed >= 5 or p_failed >= 2 and coalesce(p_time >= interval '1 second', false)
$$;

-- For how long a lane must have given no answer to have gone silent: as long as a request waited for one in vain, in
-- milliseconds, and a second at least.
create or replace function hookd.silence(p_duration float8) returns interval language sql immutable parallel safe as $$
    select case when p_duration is not null then make_interval(secs => greatest(1000, p_duration) / 1000) end
$$;

-- How long a lane rests after each request that waited in vain, where no answer has come for so long: its
-- backlog would else keep a sender, a connection and Postgres at work for nothing, and the more the shorter its timeout is. A
-- tenth of the time away, so that whoever comes back does not wait for longer, a second at least and ten at most.
create or replace function hookd.silence_pause(p_since interval) returns interval language sql immutable parallel safe as $$
    select greatest(interval '1 second', least(interval '10 seconds', p_since / 10))
$$;

-- These subscriptions had only failed, and now one event succeeded.
create or replace function hookd.catch_up(p_ids uuid[], p_now timestamptz) returns void language sql volatile as $$
    update hookd.lane l set
        catch_up_from = least(l.catch_up_from, l.failing_since, p_now),
        catch_up_to = p_now
    where l.subscription_id = any (p_ids)
$$;

-- Results say which subscriptions could not connect to which hosts (p_failed), and which hosts were reached that had not been
-- (p_reached). What could not connect meanwhile goes: returns the lanes that this concerns, without p_settled.
create or replace function hookd.reach_hosts(
    p_settled uuid[], p_reached integer[], p_now timestamptz, p_subscriptions uuid[], p_hosts integer[], p_failed boolean[]
) returns uuid[]
language plpgsql volatile as $$
declare
    v_lanes uuid[];
begin
    update hookd.lane l set unreached = true
    from (select distinct subscription, host from unnest(p_subscriptions, p_hosts, p_failed) x(subscription, host, failed)
          where failed) x
    where l.subscription_id = x.subscription and l.host_id = x.host and not l.unreached;
    with released as (
        update hookd.lane l set
            unreached = false,
            catch_up_from = case when not l.ordered then least(l.catch_up_from, h.away_since, p_now) end,
            catch_up_to = case when not l.ordered then p_now end,
            -- in strict order it is the lane that waits for the retry
            hold_until = case when l.ordered then '-infinity' else l.hold_until end
        from hookd.host h
        where h.id = any (p_reached) and l.host_id = h.id and l.unreached
        returning l.subscription_id)
    select array_agg(r.subscription_id) into v_lanes from released r where r.subscription_id <> all (p_settled);
    return coalesce(v_lanes, '{}');
end $$;
