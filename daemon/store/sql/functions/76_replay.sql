-- Replays: past events once more to one subscription. What a replay will send is chosen and written down when it is asked
-- for; feed_replay() makes deliveries of it little by little, so that live events find the way free.

-- The events that a replay sends: of the organisation, of the time from p_from to before p_to, of types that the
-- subscription wants (and p_patterns cover, unless null) and whose data passes its filter; none if that has a problem. Left out are events that the
-- router will bring it anyway (to one that is paused it brings none), those that it is pending at a later time (deliver_after),
-- and those without a body. p_only_failed: only those that were given up and never succeeded, and are not on their way
-- again. At most p_limit. Call settle_routing() first, in a transaction of its own. An event that was never owed to the
-- subscription is sent at once: its deliver_after is not kept once it is routed.
create or replace function hookd.replayable(
    p_org_id uuid, p_subscription_id uuid, p_from timestamptz, p_to timestamptz, p_only_failed boolean, p_patterns text[],
    p_limit bigint
) returns setof uuid
language plpgsql volatile as $$
declare
    v_from   uuid := hookd.uuid7_floor(p_from);
    v_to     uuid := hookd.uuid7_floor(p_to);
    v_now    timestamptz := hookd.clock();
    v_shard  smallint := uuid_hash(p_org_id) & 31;
    v_floor  xid8;
    v_wants  text[];
    v_filter jsonpath;
    v_active boolean;
begin
    select s.events, s.filter_path, s.is_active into v_wants, v_filter, v_active from hookd.subscription s
    where s.org_id = p_org_id and s.id = p_subscription_id and s.filter_problem is null
        and (s.filter is null or s.filter_path is not null);
    if not found then
        return;
    end if;
    -- read before the events: what is below it has left the inbox by then
    select hookd.inbox_floor(s.floor) into v_floor from hookd.inbox_shard s where s.shard = v_shard;
    return query
        with later as materialized (
            select d.event_id from hookd.delivery d
            where d.subscription_id = p_subscription_id and d.lease is null and d.due > v_now and d.attempt = 0),
        e as (
            select v.id, v.type, v.body, v.xid, v.problem from hookd.event v
            where not p_only_failed and v.org_id = p_org_id and v.id >= v_from and v.id < v_to
            union all
            select v.id, v.type, v.body, v.xid, v.problem
            from hookd.failed_events(p_subscription_id, v_from) f(id) cross join lateral (
                select * from hookd.event w where w.org_id = p_org_id and w.id = f.id offset 0) v
            where p_only_failed and f.id >= v_from and f.id < v_to)
        (select e.id from e
        where (e.type = any (v_wants) or e.type ^@ any (hookd.prefixes(v_wants)))
            and (p_patterns is null or e.type = any (p_patterns) or e.type ^@ any (hookd.prefixes(p_patterns)))
            and e.problem is null and e.body is not null
            and not (v_active and e.xid >= v_floor and exists ( -- looked up one by one, past the dead entries below the floor
                select from hookd.inbox i
                where i.shard = v_shard and i.xid = e.xid and i.org_id = p_org_id and i.event_id = e.id
                    and coalesce(i.routed_to, '00000000-0000-0000-0000-000000000000') < p_subscription_id
                offset 0))
            and (v_filter is null or hookd.matches(hookd.data_of(e.body), v_filter))
        limit p_limit + (select count(*) from later))
        except select l.event_id from later l -- never a loop in a loop, however many there are
        limit p_limit;
end $$;

-- Waits for the router that is at the organisation's events: it may have looked for who wants them before the subscription
-- wanted them. To be committed at once, as no router comes in here meanwhile.
create or replace function hookd.settle_routing(p_org_id uuid) returns void language plpgsql volatile as $$
begin
    perform set_config('synchronous_commit', 'off', true); -- it writes nothing that matters
    perform from hookd.inbox_shard s where s.shard = uuid_hash(p_org_id) & 31 for share;
end $$;

-- What the types begin with that '*' and 'placement.*' cover: '' and 'placement.'. See patterns().
create or replace function hookd.prefixes(p_patterns text[]) returns text[] language sql immutable parallel safe as $$
    select array(select left(p, -1) from unnest(p_patterns) p where p = '*' or p like '%.*')
$$;

-- Events since p_from whose deliveries to the subscription were given up, of which none succeeded and none is pending.
create or replace function hookd.failed_events(p_subscription_id uuid, p_from uuid) returns setof uuid
language plpgsql volatile as $$
begin
    return query
        select a.event_id from hookd.attempt a where a.subscription_id = p_subscription_id and a.id >= p_from
        group by a.event_id having bool_or(a.ended <> 'succeeded') and not bool_or(a.succeeded)
        except select d.event_id from hookd.delivery d where d.subscription_id = p_subscription_id and d.lease is null
        except select o.event_id from hookd.replay r join hookd.replay_event o on o.replay_id = r.id
            where r.subscription_id = p_subscription_id and r.ended is null;
end $$;

-- Writes a replay down. Returns 'asked' and how many events it has; or 'missing' (no such subscription), 'busy' (p_running
-- replays of it run already), 'busy_org' (p_running_org of its organisation) or 'too_many' (more than p_most events), and
-- then nothing is written.
create or replace function hookd.ask_replay(
    p_id uuid, p_org_id uuid, p_subscription_id uuid, p_from timestamptz, p_to timestamptz, p_only_failed boolean,
    p_patterns text[], p_most bigint, p_running integer, p_running_org integer, out outcome text, out total bigint
)
language plpgsql volatile as $$
declare
    v_now timestamptz;
    v_ids uuid[];
begin
    perform hookd.fresh_plans();
    if not exists (select from hookd.subscription s where s.org_id = p_org_id and s.id = p_subscription_id) then
        outcome := 'missing';
    -- one at a time for a subscription, else two could pass the limit together, and send the same failed events
    elsif not hookd.exclude_others(p_org_id, 'replay of ' || p_subscription_id, interval '5 seconds') then
        outcome := 'busy';
    elsif (select count(*) from hookd.replay r where r.subscription_id = p_subscription_id and r.ended is null)
        >= p_running then
        outcome := 'busy';
    elsif hookd.running_replays(p_org_id) >= p_running_org then
        outcome := 'busy_org';
    else
        v_ids := array(select hookd.replayable(
            p_org_id, p_subscription_id, p_from, p_to, p_only_failed, p_patterns, p_most + 1));
        total := cardinality(v_ids);
        if total > p_most then
            outcome := 'too_many';
            return;
        end if;
        -- only now, so that finding the events keeps nobody else of the organisation waiting
        if not hookd.exclude_others(p_org_id, 'replays', interval '5 seconds')
            or hookd.running_replays(p_org_id) >= p_running_org then
            outcome := 'busy_org';
            return;
        end if;
        v_now := hookd.clock();
        insert into hookd.replay_event (replay_id, event_id) select p_id, o.id from unnest(v_ids) o(id);
        insert into hookd.replay (id, org_id, subscription_id, created_at, total, ended, ended_at)
        values (p_id, p_org_id, p_subscription_id, v_now, total, case when total = 0 then 'done' end,
            case when total = 0 then v_now end);
        outcome := 'asked';
    end if;
end $$;

create or replace function hookd.running_replays(p_org_id uuid) returns bigint language sql volatile as $$
    select count(*) from hookd.replay r where r.org_id = p_org_id and r.ended is null
$$;

-- How many deliveries of each running replay (of p_ids; null: of all) may be made now; null: its subscription is gone.
-- p_rate is what one replay may make in a second. Half of each room (the lane's window and rate, the host's max_in_flight and tokens)
-- stays with live events, and only what would be sent at once is made: what is due already, a pause, Retry-After and an open
-- circuit let a replay wait. A lane that only fails gets one a minute, one in strict order gets one when nothing is due.
create or replace function hookd.replay_rooms(p_ids uuid[], p_rate float8, p_now timestamptz)
returns table (replay_id uuid, room integer, earned_from timestamptz, rate float8)
language sql stable as $$
    select r.id, case when l.subscription_id is not null then greatest(0, floor(1e-6 + least(
            50, extract(epoch from p_now - e.earned_from)::float8 * c.rate, b.room - o.pending)))::integer end,
        e.earned_from, c.rate
    from hookd.replay r
    left join hookd.lane l on l.subscription_id = r.subscription_id
    left join hookd.host h on h.id = l.host_id
    cross join lateral (select case when l.failing_since is null then p_rate else least(p_rate, 1 / 60.0) end as rate) c
    cross join lateral (
        select greatest(r.fed_at, p_now - make_interval(secs => greatest(1, 1 / c.rate))) as earned_from) e
    cross join lateral (
        select case
            when not l.active or l.hold_until > p_now or hookd.circuit_open(h.circuit_failures) then 0
            when l.ordered then 1 - l.in_flight
            else least(
                ceil(l.window_size / 2.0) - l.in_flight,
                case when l.rate is null then 50
                    else ceil(hookd.paced_room(l.rate, l.paced_until, p_now) - greatest(1, ceil(l.rate)) / 2) end,
                -- others may fill the host at all times: one of ours may wait there for the lane's turn
                greatest(1, ceil(h.max_in_flight / 2.0) - h.in_flight),
                greatest(1, ceil(hookd.tokens_at(h, p_now) - h.burst / 2))) end as room offset 0) b
    cross join lateral (
        select count(*) as pending from (
            select from hookd.delivery d
            where b.room > 0 and d.subscription_id = l.subscription_id and d.lease is null and d.due >= l.floor
                and d.due <= p_now
            limit 50) d offset 0) o
    where r.ended is null and (p_ids is null or r.id = any (p_ids))
$$;

-- Running replays of which deliveries may be made now, or whose subscription is gone: those fed longest ago first.
create or replace function hookd.ready_replays(p_rate float8, p_limit integer) returns setof uuid
language plpgsql volatile as $$
begin
    perform hookd.fresh_plans();
    return query
        select x.replay_id from hookd.replay_rooms(null, p_rate, hookd.clock()) x
        where x.room is null or x.room > 0 order by x.earned_from limit p_limit;
end $$;

-- Makes the next deliveries of a replay, in the order of its events: as many as replay_rooms() says. p_after: an event up to
-- which all have been made, so that a vacuum that is held up costs nothing here. Returns how many, and the last event.
create or replace function hookd.feed_replay(p_id uuid, p_rate float8, p_after uuid, out fed integer, out last uuid)
language plpgsql volatile as $$
declare
    v_now   timestamptz;
    v_org   uuid;
    v_sub   uuid;
    v_host  integer;
    v_room  integer;
    v_from  timestamptz;
    v_rate  float8;
    v_ids   uuid[];
    v_taken integer;
    v_early timestamptz;
begin
    perform hookd.fresh_plans();
    perform set_config('synchronous_commit', 'off', true); -- a lost transaction only feeds again
    fed := 0;
    select r.org_id, r.subscription_id, l.host_id into v_org, v_sub, v_host
    from hookd.replay r left join hookd.lane l on l.subscription_id = r.subscription_id where r.id = p_id;
    perform hookd.lock_hosts(array[v_host]);
    perform hookd.check_lanes_locked(array[v_sub], array[v_host]);
    perform from hookd.replay r where r.id = p_id and r.ended is null for no key update skip locked;
    if not found then
        return; -- it has ended, or another daemon is at it
    end if;
    v_now := hookd.clock();
    select x.room, x.earned_from, x.rate into v_room, v_from, v_rate
    from hookd.replay_rooms(array[p_id], p_rate, v_now) x;
    if v_room is null then
        update hookd.replay r set ended = 'cancelled', ended_at = v_now, skipped = r.total - r.queued where r.id = p_id;
        return;
    elsif v_room = 0 then
        return;
    end if;

    v_ids := array(
        select v.event_id from hookd.replay_event v
        where v.replay_id = p_id and v.event_id > coalesce(p_after, '00000000-0000-0000-0000-000000000000')
        order by v.event_id limit v_room);
    v_taken := cardinality(v_ids);
    last := v_ids[v_taken];
    delete from hookd.replay_event v where v.replay_id = p_id and v.event_id = any (v_ids);
    with pending as (
        insert into hookd.delivery (id, subscription_id, event_id, due, replay_id)
        -- a microsecond apart, so that they go in order
        select hookd.uuid7(v_now), v_sub, n.event_id, v_now - interval '1 microsecond' * (v_taken - n.k), p_id
        from unnest(v_ids) with ordinality n(event_id, k) cross join lateral (
            select from hookd.event e where e.org_id = v_org and e.id = n.event_id offset 0) e
        returning due)
    select count(*)::integer, min(due) into fed, v_early from pending;

    update hookd.replay r set
        queued = r.queued + fed,
        skipped = case when x.over then r.total - r.queued - fed else r.skipped + v_taken - fed end,
        fed_at = v_from + make_interval(secs => fed / v_rate),
        ended = case when x.over then 'done' end,
        ended_at = case when x.over then v_now end
    from (select s.id, v_taken < v_room or s.queued + s.skipped + v_taken >= s.total as over
          from hookd.replay s where s.id = p_id) x
    where r.id = x.id;
    if fed > 0 then
        perform hookd.settle_subscription(v_sub, v_host, v_now, p_early => v_early);
    end if;
end $$;

-- Cancels a replay: one that runs, or one that is done and still owes deliveries. What is being sent goes on, but is not
-- sent again: see record().
create or replace function hookd.cancel_replay(p_org_id uuid, p_subscription_id uuid, p_id uuid) returns void
language plpgsql volatile as $$
begin
    perform hookd.fresh_plans();
    update hookd.replay r set ended = 'cancelled', ended_at = hookd.clock(), skipped = r.total - r.queued
    where r.org_id = p_org_id and r.subscription_id = p_subscription_id and r.id = p_id
        and (r.ended is null or r.ended = 'done' and (
            exists (select from hookd.delivery d
                where d.subscription_id = p_subscription_id and d.lease is null and d.replay_id = p_id)
            or exists (select from hookd.lease e cross join lateral unnest(e.deliveries) u(id) cross join lateral (
                select from hookd.delivery g where g.id = u.id and g.lease = e.token and g.replay_id = p_id offset 0) f)));
end $$;

-- Gives up the deliveries of a replay that nobody is sending: among the deliveries owed to the subscription that are due
-- after p_after (null: from the first on), p_limit. Each ends in the history with the reason 'cancelled'. Returns where the
-- next slice begins; null: there is none. The replay was cancelled in a transaction before.
create or replace function hookd.give_up_replay(
    p_id uuid, p_subscription_id uuid, p_after timestamptz, p_limit integer
) returns timestamptz
language plpgsql volatile as $$
declare
    v_now  timestamptz;
    v_host integer;
    v_last timestamptz;
    v_ids  uuid[];
begin
    perform hookd.fresh_plans();
    if p_after is null then
        -- what was recorded without knowing of the cancellation is visible to the next statements
        select l.host_id into v_host from hookd.lane l where l.subscription_id = p_subscription_id;
        perform hookd.lock_hosts(array[v_host]);
        perform hookd.check_lanes_locked(array[p_subscription_id], array[v_host]);
    end if;
    select d.due into v_last from hookd.delivery d
    where d.subscription_id = p_subscription_id and d.lease is null and d.due > coalesce(p_after, '-infinity')
    order by d.due offset p_limit - 1 limit 1;
    select array_agg(d.id) into v_ids from hookd.delivery d
    where d.subscription_id = p_subscription_id and d.lease is null and d.due > coalesce(p_after, '-infinity')
        and d.due <= coalesce(v_last, 'infinity') and d.replay_id = p_id;
    select l.host_id into v_host from hookd.lane l where l.subscription_id = p_subscription_id;
    if v_ids is not null and found then
        perform hookd.lock_hosts(array[v_host]);
        perform hookd.check_lanes_locked(array[p_subscription_id], array[v_host]);
        v_now := hookd.clock();
        with gone as (
            delete from hookd.delivery d where d.id = any (v_ids) and d.lease is null
            returning d.id, d.event_id, d.attempt)
        insert into hookd.attempt (id, subscription_id, delivery_id, event_id, event_type, attempt, succeeded, error, ended,
            attempted_at)
        select hookd.uuid7(v_now), p_subscription_id, g.id, g.event_id, coalesce(e.type, ''), g.attempt, false, 'cancelled',
            'cancelled', v_now
        from gone g
        left join hookd.subscription s on s.id = p_subscription_id
        left join lateral (
            select v.type from hookd.event v where v.org_id = s.org_id and v.id = g.event_id offset 0) e on true;
        perform hookd.settle_subscription(p_subscription_id, v_host, v_now);
    end if;
    return v_last;
end $$;

-- Drops up to p_limit events of a replay that was cancelled before they were sent. Returns how many.
create or replace function hookd.drop_replay_events(p_limit integer) returns integer
language plpgsql volatile as $$
declare
    v_id   uuid;
    v_done integer;
begin
    perform hookd.fresh_plans();
    perform set_config('synchronous_commit', 'off', true);
    with recursive known(id) as ( -- from one replay to the next, not over all their events
        (select v.replay_id from hookd.replay_event v order by v.replay_id limit 1)
        union all
        select (select v.replay_id from hookd.replay_event v where v.replay_id > k.id order by v.replay_id limit 1)
        from known k where k.id is not null)
    select k.id into v_id from known k
    where k.id is not null and not exists (select from hookd.replay r where r.id = k.id and r.ended is null) limit 1;
    delete from hookd.replay_event v where v.replay_id = v_id and v.event_id = any (array(
        select o.event_id from hookd.replay_event o where o.replay_id = v_id limit p_limit for update skip locked));
    get diagnostics v_done = row_count;
    return v_done;
end $$;
