-- The names under which a subscription can want a type: itself, '*', and each prefix ('placement.*').
create or replace function hookd.patterns(p_type text) returns text[] language sql immutable parallel safe as $$
    select array[p_type, '*'] || coalesce((
        select array_agg(array_to_string((string_to_array(p_type, '.'))[1:n], '.') || '.*')
        from generate_series(1, cardinality(string_to_array(p_type, '.')) - 1) n), '{}')
$$;

-- The data in a canonical body, for filters to look at; null where jsonb cannot hold it (an integer of 131,073 digits).
create or replace function hookd.data_of(p_body text) returns jsonb language plpgsql immutable parallel safe as $$
begin
    return p_body::jsonb -> 'data';
exception when data_exception or program_limit_exceeded then
    return null;
end $$;

-- Whether an event's data passes a subscription's filter. What cannot be told (a key that is missing) does not pass.
create or replace function hookd.matches(p_data jsonb, p_filter jsonpath) returns boolean
language sql immutable parallel safe as $$ select coalesce(jsonb_path_match(p_data, p_filter, silent => true), false) $$;

-- Where to begin reading a shard. A floor beyond all that runs comes from another cluster (dump and restore), and says
-- nothing here.
create or replace function hookd.inbox_floor(p_floor xid8) returns xid8 language sql stable parallel safe as $$
    select case when p_floor <= pg_snapshot_xmin(pg_current_snapshot()) then p_floor else '0'::xid8 end
$$;

-- Looks behind a place in a shard for events that are not of p_skip's organisations, until it has p_limit or has gone a
-- bounded way. places: what it found. If that is nothing, xid, org_id, id are how far it looked; null: to the end.
create or replace function hookd.scan_past(
    p_shard smallint, p_skip uuid[], p_limit integer, inout xid xid8, inout org_id uuid, inout id uuid, out places tid[]
) language plpgsql stable as $$
#variable_conflict use_column
declare
    v_step record;
begin
    places := '{}';
    for i in 1 .. 100 loop
        select count(*) as events, array_agg(s.place) filter (where s.org_id <> all (p_skip)) as found,
            (array_agg(s.xid))[1] as first_xid, (array_agg(s.org_id))[1] as first_org,
            (array_agg(s.xid))[count(*)] as xid, (array_agg(s.org_id))[count(*)] as org_id,
            (array_agg(s.event_id))[count(*)] as id
        into v_step from (
            select j.ctid as place, j.xid, j.org_id, j.event_id from hookd.inbox j
            where j.shard = p_shard and (j.xid, j.org_id, j.event_id) > (scan_past.xid, scan_past.org_id, scan_past.id)
            order by j.xid, j.org_id, j.event_id limit 200) s;
        places := places || v_step.found;
        exit when cardinality(places) >= p_limit;
        xid := v_step.xid;
        org_id := v_step.org_id;
        id := v_step.id;
        exit when v_step.events < 200;
        if v_step.found is null and (v_step.first_xid, v_step.first_org) = (xid, org_id) then
            id := 'ffffffff-ffff-ffff-ffff-ffffffffffff'; -- a run of one organisation's: on to its end
        end if;
    end loop;
    places := places[1:p_limit];
end $$;

-- The first p_limit events behind a place in a shard that are not of p_skip's organisations.
-- In plpgsql, since inlined they would be taken for one row, and joined in loops.
create or replace function hookd.next_events(
    p_shard smallint, p_xid xid8, p_org uuid, p_id uuid, p_skip uuid[], p_limit integer
) returns table (place tid, xid xid8, event_id uuid, org_id uuid, type text, data jsonb, deliver_after timestamptz, routed_to uuid)
language plpgsql stable rows 200 as $$
#variable_conflict use_column
begin
    if p_skip = '{}' then
        return query
            select i.ctid, i.xid, i.event_id, i.org_id, i.type, i.data, i.deliver_after, i.routed_to from hookd.inbox i
            where i.shard = p_shard and (i.xid, i.org_id, i.event_id) > (p_xid, p_org, p_id)
            order by i.xid, i.org_id, i.event_id limit p_limit;
    else
        return query
            select i.ctid, i.xid, i.event_id, i.org_id, i.type, i.data, i.deliver_after, i.routed_to from hookd.inbox i
            where i.ctid = any ((select l.places from hookd.scan_past(p_shard, p_skip, p_limit, p_xid, p_org, p_id) l)::tid[])
            order by i.xid, i.org_id, i.event_id;
    end if;
end $$;

-- Whose turn it is in a shard, as arguments for next_events(): that of all, from the floor, or that of those who pass.
create or replace function hookd.next_range(p_shard smallint, out xid xid8, out org_id uuid, out id uuid, out skip uuid[])
language plpgsql volatile as $$
#variable_conflict use_column
declare
    s hookd.inbox_shard;
begin
    select * into s from hookd.inbox_shard i where i.shard = p_shard;
    xid := hookd.inbox_floor(s.floor);
    org_id := '00000000-0000-0000-0000-000000000000';
    id := org_id;
    skip := '{}';
    if s.others_next then
        if hookd.inbox_floor(s.passed_xid) >= xid then
            xid := hookd.inbox_floor(s.passed_xid);
            org_id := s.passed_org;
            id := s.passed_id;
        end if;
        skip := s.bulk_orgs;
    end if;
end $$;

-- Whether those who pass have an event. If not, notes how far there is none, and gives the turn to all.
create or replace function hookd.others_wait(p_shard smallint, p_xid xid8, p_org uuid, p_id uuid, p_skip uuid[])
returns boolean language plpgsql volatile as $$
declare
    v_xmin xid8 := pg_snapshot_xmin(pg_current_snapshot()); -- whatever commits after the search is not below it
    v_past record := hookd.scan_past(p_shard, p_skip, 1, p_xid, p_org, p_id);
begin
    if v_past.places <> '{}' then
        return true;
    end if;
    perform hookd.others_had(p_shard, coalesce(v_past.xid, v_xmin), v_past.org_id, v_past.id, v_xmin);
    return false;
end $$;

-- Those who pass have been served up to an event; it is everybody's turn. Events below p_xmin are all known.
create or replace function hookd.others_had(p_shard smallint, p_xid xid8, p_org uuid, p_id uuid, p_xmin xid8) returns void
language sql volatile as $$
    update hookd.inbox_shard s set others_next = false, passed_xid = least(p_xid, p_xmin),
        passed_org = case when p_xid < p_xmin then p_org else '00000000-0000-0000-0000-000000000000' end,
        passed_id = case when p_xid < p_xmin then p_id else '00000000-0000-0000-0000-000000000000' end
    where s.shard = p_shard
$$;

-- After everybody's turn, in which p_orgs were served. If that was not all, those who wait behind them pass: every other
-- turn is theirs until the shard has been emptied.
create or replace function hookd.end_full_round(p_shard smallint, p_orgs uuid[], p_more boolean) returns void language sql volatile as $$
    update hookd.inbox_shard s set others_next = p_more,
        bulk_orgs = case when not p_more then '{}' when x.fits then x.bulk_orgs else p_orgs end,
        -- who joins a burst has been served up to there; after a new one it is looked through from the floor
        passed_xid = case when x.fits and s.bulk_orgs <> '{}' then s.passed_xid else '0' end
    from (select bulk_orgs, cardinality(bulk_orgs) <= 100 as fits from (
        select array(select unnest(i.bulk_orgs) union select unnest(p_orgs)) as bulk_orgs
        from hookd.inbox_shard i where i.shard = p_shard) y) x
    where s.shard = p_shard and (p_more or s.bulk_orgs <> '{}')
$$;

-- Takes the inbox shards that have waited longest, as many as have p_limit events together and at most p_shards: what a
-- round costs goes by its events and by the lanes that these are for. They are under locks that only routers use; one with
-- a burst comes alone, so that nobody else waits for its round. Returns for each its first events from SQL, whose bodies the router
-- must write first; or one row without an event if none needs that. p_bulk: of the shards with a burst alone, or of those
-- without; null: of all.
create or replace function hookd.open_shards(p_limit integer, p_shards integer, p_bulk boolean default null)
returns table (shard smallint, event_id uuid, org_id uuid, type text, data text)
language plpgsql volatile as $$
#variable_conflict use_column
declare
    v_waiting smallint[];
    v_bursts  smallint[];
    v_shards  smallint[];
    v_events  integer := 0;
    v_bytes   integer := 0;
    v_raw     boolean;
    t         record;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'the queue needs read committed transactions'
            using hint = 'Reset default_transaction_isolation for the daemon''s role.';
    end if;
    perform hookd.fresh_plans();
    select array_agg(s.shard order by s.served_at), array_agg(s.shard) filter (where s.bulk_orgs <> '{}') into v_waiting, v_bursts
    from hookd.inbox_shard s
    where exists (
        select from hookd.inbox i
        where i.shard = s.shard and i.xid >= hookd.inbox_floor(s.floor)
        offset 0) -- looked up shard by shard: as a join it would read the whole inbox
        and (p_bulk is null or p_bulk = (s.bulk_orgs <> '{}'))
        -- deferred; a clock that was set back must not make that last
        and (s.served_at <= hookd.clock() or s.served_at > hookd.clock() + interval '1 minute');
    select array_agg(x.shard) into v_shards from (
        select s.shard from unnest(v_waiting) with ordinality w(shard, n) join hookd.inbox_shard s on s.shard = w.shard
        where (v_waiting[1] = any (v_bursts) or s.bulk_orgs = '{}')
            -- again, for whoever had the lock may have deferred it
            and (s.served_at <= hookd.clock() or s.served_at > hookd.clock() + interval '1 minute')
        order by w.n limit case when v_waiting[1] = any (v_bursts) then 1 else p_shards end
        for no key update of s skip locked) x;
    if v_shards is null then -- another router has them
        select array_agg(x.shard) into v_shards from (
            select s.shard from unnest(v_bursts) w(shard) join hookd.inbox_shard s on s.shard = w.shard
            where s.served_at <= hookd.clock() or s.served_at > hookd.clock() + interval '1 minute'
            limit 1 for no key update of s skip locked) x;
    end if;
    -- the locks are had: what the routers before us left is visible to the next statements
    foreach shard in array coalesce(v_shards, '{}') loop
        t := hookd.next_range(shard);
        if t.skip <> '{}' and not hookd.others_wait(shard, t.xid, t.org_id, t.id, t.skip) then
            t := hookd.next_range(shard);
        end if;
        v_raw := false;
        for event_id, org_id, type, data in
            select i.event_id, i.org_id, i.type, i.data::text
            from hookd.next_events(shard, t.xid, t.org_id, t.id, t.skip, p_limit - v_events) i
        loop
            v_events := v_events + 1;
            if data is not null then
                v_raw := true;
                return next;
                v_bytes := v_bytes + length(data);
                exit when v_bytes > 4000000; -- large events go few at a time, for the router's memory
            end if;
        end loop;
        if not v_raw then
            event_id := null;
            return next;
        end if;
        exit when v_events >= p_limit or v_bytes > 4000000; -- the others keep their place
    end loop;
end $$;

-- Routes the next p_limit events of shards that open_shards() gave, one shard after the other: one delivery for each active
-- subscription that wants the type and whose filter it passes, or a word in the history if the filter is blocked. p_ids,
-- p_orgs, p_bodies, p_problems: canonical bodies of events from SQL, or why there is none.
-- At most p_budget deliveries at once, so that a wide fan-out holds its hosts' locks only for a slice. Returns how many
-- events it looked at, with none left the shards are empty; of how many transactions they are; whether there was more than
-- it could take; and the hosts at which deliveries are pending for them.
create or replace function hookd.route(
    p_shards smallint[], p_limit integer, p_budget integer, p_ids uuid[], p_orgs uuid[], p_bodies text[],
    p_problems text[], out events integer, out transactions integer, out cut boolean, out hosts integer[]
)
language plpgsql volatile as $$
#variable_conflict use_column
declare
    v_now    timestamptz;
    v_xmin   xid8; -- whatever commits after the events were looked up is not below it
    v_turn   record;
    v_more   smallint[]; -- these have more than one round takes
    v_events uuid[]; -- those routed now, in the inbox's order of each shard
    v_from   smallint[];
    v_orgs   uuid[];
    v_xids   xid8[];
    v_places tid[];  -- their rows: only a router that has their shard's lock moves or deletes them
    v_later  tid[];  -- those that have a body now but must wait for the next round
    v_subs   uuid[];
    v_early  timestamptz[];
    v_alive  uuid[];
    v_last   uuid;
    v_never  uuid[]; -- who is owed what cannot be represented, or has a filter that is blocked
    v_lost   uuid[];
    v_types  text[];
    v_why    text[];
    v_micros bigint;
    v_random bigint := hookd.uuid7_random();
    v_shard  smallint;
    v_end    integer; -- its last event of those routed now
    v_served uuid[];
    v_full   boolean;
begin
    perform set_config('synchronous_commit', 'off', true); -- a lost transaction only routes again
    perform from hookd.inbox_shard s where s.shard = any (p_shards) order by s.shard for no key update;
    v_now := hookd.clock(); -- after the lock, so that what is routed later is due later
    v_micros := hookd.uuid7_micros(v_now);
    if p_ids <> '{}' then
        -- whoever opened the shards too, and was first, has written the body with which it was sent
        update hookd.event e set body = x.body, problem = x.problem
        from unnest(p_ids, p_orgs, p_bodies, p_problems) x(id, org_id, body, problem)
        where e.org_id = x.org_id and e.id = x.id and e.body is null;
    end if;
    v_xmin := pg_snapshot_xmin(pg_current_snapshot());

    with found as materialized (
        select i.*, p.turn, p.shard, x.id is not null as written, x.problem, row_number() over inbox_order as k,
            bool_and(i.data is null or x.id is not null) over inbox_order as ready
        from unnest(p_shards) with ordinality p(shard, turn) cross join lateral hookd.next_range(p.shard) t
        cross join lateral hookd.next_events(p.shard, t.xid, t.org_id, t.id, t.skip, p_limit) i
        left join unnest(p_ids, p_problems) x(id, problem) on x.id = i.event_id
        window inbox_order as (partition by p.turn order by i.xid, i.org_id, i.event_id)),
    e as materialized ( -- one from SQL that committed since open_shards() has no body yet, and none overtakes it
        select f.n, f.place, f.xid, f.event_id, f.org_id, f.type, f.routed_to, f.shard, f.problem,
            -- a microsecond apart, so that a lane in strict order keeps to the inbox's
            greatest(v_now - interval '1 microsecond' * (p_limit - f.n), f.deliver_after) as due
        from (select found.*, row_number() over (order by found.turn, found.k) as n from found where found.ready) f
        where f.n <= p_limit),
    kind as materialized ( -- who wants it, looked up once a kind and no further than the budget
        select k.org_id, k.type, k.routed_to, w.subs, w.filters, w.blocked, w.filtered
        from (select distinct org_id, type, routed_to from e) k
        cross join lateral (
            select coalesce(array_agg(s.subscription_id), '{}') as subs, array_agg(s.filter) as filters,
                array_agg(s.blocked) as blocked, coalesce(bool_or(s.filter is not null and not s.blocked), false) as filtered
            from (select i.subscription_id, i.filter, coalesce(i.filter_blocked_until > v_now, false) as blocked
                from unnest(hookd.patterns(k.type)) p(pattern)
                cross join lateral ( -- pattern by pattern, since only so the index has them in order
                    select j.subscription_id, j.filter, j.filter_blocked_until from hookd.interest j
                    where j.org_id = k.org_id and j.pattern = p.pattern
                        and j.subscription_id > coalesce(k.routed_to, '00000000-0000-0000-0000-000000000000')
                    order by j.subscription_id limit p_budget + 1) i
                order by i.subscription_id limit p_budget + 1) s) w),
    taken as materialized ( -- as many events as fit, or a slice of the first
        select t.*, case when t.filtered and t.problem is null then ( -- read once, however many filters look at it
            select hookd.data_of(v.body) from hookd.event v where v.org_id = t.org_id and v.id = t.event_id) end as data
        from (
            select e.*, kind.subs, kind.filters, kind.blocked, kind.filtered, x.width,
                sum(cardinality(kind.subs)::float8 * p_budget / x.width) over (order by e.n) as so_far
            from e join kind on kind.org_id = e.org_id and kind.type = e.type
                and kind.routed_to is not distinct from e.routed_to
            -- how many subscriptions one slice serves: filters cost by the size of what they look at
            cross join lateral (
                select case when kind.filtered then greatest(1, least(p_budget, p_budget * 1024.0 / greatest(1, (
                    select octet_length(v.body) from hookd.event v where v.org_id = e.org_id and v.id = e.event_id))))::integer
                    else p_budget end as width offset 0) x) t
        where t.so_far <= p_budget or t.n = 1),
    wanted as materialized (
        select t.n, t.event_id, t.type, t.due, w.id,
            case when t.problem is not null then 'unrepresentable' when w.blocked then 'filter_failed' end as never
        from taken t cross join lateral
            unnest(t.subs[1:t.width], t.filters[1:t.width], t.blocked[1:t.width]) w(id, filter, blocked)
        where w.filter is null or w.blocked or t.problem is not null or hookd.matches(t.data, w.filter)),
    owed as (
        insert into hookd.delivery (id, subscription_id, event_id, due)
        select hookd.uuid7_of(v_micros + w.k, v_random + w.k), w.id, w.event_id, w.due
        from (select wanted.*, row_number() over () as k from wanted where never is null) w),
    lanes as (select id, min(due) filter (where never is null) as due from wanted group by id)
    select o.subs, o.dues, x.events, x.places, x.last, x.shards, x.orgs, x.xids, w.more, y.places, z.subs, z.events, z.types,
        z.reasons
    into v_subs, v_early, v_events, v_places, v_last, v_from, v_orgs, v_xids, v_more, v_later, v_never, v_lost, v_types,
        v_why
    from (select array_agg(id) as subs, array_agg(due) as dues from lanes) o,
        (select array_agg(event_id order by n) as events, array_agg(place order by n) as places,
             (array_agg(subs[width] order by n) filter (where cardinality(subs) > width))[1] as last,
             array_agg(shard order by n) as shards, array_agg(org_id order by n) as orgs, array_agg(xid order by n) as xids
         from taken) x,
        (select array_agg(f.shard) as more from (
             select shard, turn, count(*) as events from found where ready group by shard, turn) f
         where f.events = p_limit or f.turn = 1 and f.events > (
             select count(*) from taken t where t.shard = f.shard and cardinality(t.subs) <= t.width)) w,
        (select array_agg(f.place) as places from found f
         where f.written and f.problem is null and f.ready and not exists (select from taken t where t.place = f.place)) y,
        (select array_agg(id) as subs, array_agg(event_id) as events, array_agg(type) as types,
             array_agg(never) as reasons
         from wanted where never is not null) z;

    if v_subs is not null then
        select array_agg(distinct l.host_id) into hosts from hookd.lane l where l.subscription_id = any (v_subs);
        perform hookd.lock_hosts(hosts);
        perform hookd.check_lanes_locked(v_subs, hosts);
        -- a subscription that was deleted while we routed leaves no orphans
        select coalesce(array_agg(l.subscription_id), '{}') into v_alive from hookd.lane l where l.subscription_id = any (v_subs);
        if cardinality(v_alive) < cardinality(v_subs) then
            delete from hookd.delivery d
            where d.subscription_id = any (v_subs) and d.event_id = any (v_events) and d.subscription_id <> all (v_alive);
        end if;
        if v_never is not null then
            -- after the lock, as record() does, so that attempts have ids in the order in which they are committed
            insert into hookd.attempt (id, subscription_id, delivery_id, event_id, event_type, attempt, succeeded, error,
                ended, excerpt, attempted_at)
            select hookd.uuid7(c.now), x.subscription, hookd.uuid7(c.now), x.event, x.type, 0, false, x.why, x.why,
                case x.why when 'filter_failed' then 'The subscription''s filter is not evaluated: change it if the subscription'
                    ' has a filter_problem, then redeliver or replay.' end, c.now
            from unnest(v_never, v_lost, v_types, v_why) x(subscription, event, type, why), (select hookd.clock() as now offset 0) c
            where x.subscription = any (v_alive);
        end if;
        update hookd.lane l set
            floor = least(l.floor, x.early),
            due = case when not l.active or l.in_flight >= l.window_size then l.due
                       else least(l.due, greatest(x.early, l.hold_until, hookd.pace(l.rate, l.paced_until))) end
        from unnest(v_subs, v_early) x(subscription_id, early)
        where l.subscription_id = x.subscription_id and x.early is not null and (l.floor > x.early
            or l.active and l.in_flight < l.window_size
                and l.due > greatest(x.early, l.hold_until, hookd.pace(l.rate, l.paced_until)));
        perform hookd.settle_hosts(hosts, v_now, v_subs);
    end if;

    if v_last is not null then
        update hookd.inbox i set routed_to = v_last, -- the next slice must meet an unrepresentable event as such again
            data = case when p_problems[array_position(p_ids, v_events[1])] is not null then i.data end
        where i.ctid = v_places[1];
    else
        delete from hookd.inbox i where i.ctid = any (v_places);
    end if;
    if v_later is not null then
        update hookd.inbox i set data = null where i.ctid = any (v_later);
    end if;
    for v_shard in
        select s.shard from hookd.inbox_shard s where s.shard = any (p_shards) and (s.bulk_orgs <> '{}' or s.shard = any (v_more))
    loop
        v_turn := hookd.next_range(v_shard);
        v_full := coalesce(v_shard = any (v_more), false);
        select max(x.n), array_agg(distinct x.org_id) into v_end, v_served
        from unnest(v_from, v_orgs) with ordinality x(shard, org_id, n) where x.shard = v_shard;
        if v_turn.skip = '{}' then
            perform hookd.end_full_round(v_shard, v_served, v_full) where v_end is not null or not v_full;
        elsif v_last is null and v_end is not null then
            perform hookd.others_had(v_shard, v_xids[v_end], v_orgs[v_end], v_events[v_end], v_xmin);
        else -- a slice of one event, or none that is ready
            perform hookd.others_had(v_shard, v_turn.xid, v_turn.org_id, v_turn.id, v_xmin);
        end if;
    end loop;
    update hookd.inbox_shard s set
        -- one that had no room is the first next time
        served_at = case when s.shard = any (v_from) then v_now else least(s.served_at, v_now - interval '1 second') end,
        -- rows that commit later have a transaction id not below the oldest one that is running now
        floor = least(f.xid, pg_snapshot_xmin(pg_current_snapshot())),
        -- whoever comes into an empty shard is alone there
        bulk_orgs = case when f.xid is null then '{}' else s.bulk_orgs end,
        others_next = s.others_next and f.xid is not null
    from (select i.shard, (select j.xid from hookd.inbox j where j.shard = i.shard and j.xid >= hookd.inbox_floor(i.floor)
                           order by j.xid limit 1) as xid
          from hookd.inbox_shard i where i.shard = any (p_shards) offset 0) f
    where s.shard = f.shard and s.shard = any (p_shards);
    events := coalesce(cardinality(v_events), 0);
    transactions := (select count(distinct x) from unnest(v_xids) x);
    cut := v_more is not null or events = p_limit;
end $$;

-- Routes up to p_shards shards at once where their first events need no router to write bodies: one row, with what route()
-- says, and whether a shard still has some. Else the rows of open_shards(), for route(); so that no other router takes the
-- shards meanwhile, they have their next turn after p_hold. Nothing if no shard has events.
create or replace function hookd.route_ready(
    p_limit integer, p_shards integer, p_budget integer, p_hold interval, p_bulk boolean default null
) returns table (events integer, transactions integer, cut boolean, hosts integer[], more boolean,
    shard smallint, event_id uuid, org_id uuid, type text, data text)
language plpgsql volatile as $$
#variable_conflict use_column
declare
    v_shards smallint[];
    v_ids    uuid[];
    v_orgs   uuid[];
    v_types  text[];
    v_data   text[];
begin
    perform set_config('synchronous_commit', 'off', true);
    select array_agg(o.shard), array_agg(o.event_id), array_agg(o.org_id), array_agg(o.type), array_agg(o.data)
    into v_shards, v_ids, v_orgs, v_types, v_data from hookd.open_shards(p_limit, p_shards, p_bulk) o;
    if array_remove(v_ids, null) <> '{}' then
        update hookd.inbox_shard s set served_at = hookd.clock() + p_hold where s.shard = any (v_shards);
        return query
            select null::integer, null::integer, false, null::integer[], true, x.*
            from unnest(v_shards, v_ids, v_orgs, v_types, v_data) x;
    elsif v_shards is not null then
        select r.events, r.transactions, r.cut, r.hosts into events, transactions, cut, hosts
        from hookd.route(v_shards, p_limit, p_budget, '{}', '{}', '{}', '{}') r;
        more := exists (
            select from hookd.inbox_shard s where (p_bulk is null or p_bulk = (s.bulk_orgs <> '{}')) and exists (
                select from hookd.inbox i where i.shard = s.shard and i.xid >= hookd.inbox_floor(s.floor) offset 0));
        return next;
    end if;
end $$;

-- A shard that could not be routed waits a while, so that it does not keep the others from their turn.
create or replace function hookd.defer_shards(p_shards smallint[], p_time interval) returns void language plpgsql volatile as $$
begin
    perform from hookd.inbox_shard s where s.shard = any (p_shards) order by s.shard for no key update;
    update hookd.inbox_shard s set served_at = hookd.clock() + p_time where s.shard = any (p_shards);
end $$;
