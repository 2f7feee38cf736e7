-- The history and what is pending, as the REST API reads them. Each is a walk over an index: however a table looked when the plan
-- was made, it is neither scanned nor sorted.

-- Whether an event type is the one asked for, or of the pattern: '*' or null is any, and 'match.*' those that begin so.
create or replace function hookd.is_of_type(p_type text, p_pattern text) returns boolean
language sql immutable parallel safe as $$
    select p_pattern is null or p_pattern in (p_type, '*')
        or right(p_pattern, 2) = '.*' and starts_with(p_type, left(p_pattern, -1))
$$;

-- Attempts of a subscription, newest first, with ids below p_below; null: from the newest on. Attempts of one subscription
-- have ids in the order in which they are committed (record() gives them under the lock of the host), so whoever has seen
-- one finds all the others below it, and what is new stands above.
-- p_from, p_to: from when to before when they were begun. The id holds the time at which an attempt was recorded: a minute
-- of difference between clocks is allowed for, and a quarter of an hour between beginning and recording.
-- At most p_scan rows are read. If more may match, a row without a delivery ends the answer: its id is where to go on.
create or replace function hookd.attempts_page(
    p_subscription_id uuid, p_below uuid, p_from timestamptz, p_to timestamptz, p_succeeded boolean, p_type text,
    p_limit integer, p_scan integer
) returns table (id uuid, delivery_id uuid, event_id uuid, event_type text, attempt smallint, succeeded boolean,
    response_status smallint, error text, ended text, duration_ms real, note text, attempted_at timestamptz,
    next_attempt_at timestamptz)
language plpgsql volatile set enable_sort = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_from  uuid := hookd.uuid7_floor(greatest('epoch', p_from - interval '1 minute'));
    v_below uuid := least(p_below, hookd.uuid7_floor(p_to + interval '15 minutes'), 'ffffffff-ffff-ffff-ffff-ffffffffffff');
    v_seen  integer := 0;
    v_found integer := 0;
begin
    for id, delivery_id, event_id, event_type, attempt, succeeded, response_status, error, ended, duration_ms, note,
        attempted_at, next_attempt_at in
        select a.id, a.delivery_id, a.event_id, a.event_type, a.attempt, a.succeeded, a.response_status, a.error, a.ended,
            a.duration_ms, a.note, a.attempted_at, a.next_attempt_at
        from hookd.attempt a
        where a.subscription_id = p_subscription_id and a.id < v_below and a.id >= v_from
        order by a.id desc limit p_scan
    loop
        v_seen := v_seen + 1;
        if (p_succeeded is null or succeeded = p_succeeded) and hookd.is_of_type(event_type, p_type)
            and (p_from is null or attempted_at >= p_from) and (p_to is null or attempted_at < p_to) then
            return next;
            v_found := v_found + 1;
            exit when v_found = p_limit;
        end if;
    end loop;
    if v_found < p_limit and v_seen = p_scan then
        delivery_id := null;
        return next;
    end if;
end $$;

-- What a subscription is pending after (p_after_due, p_after_id), the first to go first; what is being sent is among it. It ends
-- as attempts_page() does.
create or replace function hookd.pending_page(
    p_org_id uuid, p_subscription_id uuid, p_after_due timestamptz, p_after_id uuid, p_type text, p_limit integer,
    p_scan integer
) returns table (id uuid, delivery_id uuid, event_id uuid, event_type text, attempt smallint, failures smallint,
    due timestamptz, leased boolean)
language plpgsql volatile set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_due   timestamptz := coalesce(p_after_due, '-infinity');
    v_id    uuid := coalesce(p_after_id, '00000000-0000-0000-0000-000000000000');
    v_scan  integer := case when p_type is null then p_limit else p_scan end;
    v_seen  integer := 0;
    v_found integer := 0;
begin
    for id, delivery_id, event_id, event_type, attempt, failures, due, leased in
        select x.id, x.id, x.event_id, coalesce(v.type, ''), x.attempt, x.failures, x.due, x.leased
        from (
            select w.* from (
                (select d.id, d.event_id, d.attempt, d.failures, d.due, false as leased
                 from hookd.lane l cross join lateral (
                    select * from hookd.delivery o
                    where o.subscription_id = l.subscription_id and o.lease is null
                        and o.due >= greatest(v_due, l.floor) -- below it only dead entries
                        and (o.due, o.id) > (v_due, v_id)
                    order by o.due, o.id limit v_scan) d
                 where l.subscription_id = p_subscription_id)
                union all
                select d.id, d.event_id, d.attempt, d.failures, d.due, true
                from hookd.lease e cross join lateral (
                    select f.* from unnest(e.deliveries) u(id) cross join lateral (
                        select * from hookd.delivery g where g.id = u.id and g.lease = e.token offset 0) f offset 0) d
                where d.subscription_id = p_subscription_id and (d.due, d.id) > (v_due, v_id)) w
            order by w.due, w.id limit v_scan) x
        left join lateral (
            select e.type from hookd.event e where e.org_id = p_org_id and e.id = x.event_id offset 0) v on true
        order by x.due, x.id
    loop
        v_seen := v_seen + 1;
        if hookd.is_of_type(event_type, p_type) then
            return next;
            v_found := v_found + 1;
            exit when v_found = p_limit;
        end if;
    end loop;
    if v_found < p_limit and v_seen = p_scan then
        delivery_id := null;
        return next;
    end if;
end $$;

-- A subscription and all that decides when its delivery p_id may go; the delivery's columns are null if it is not pending (any
-- more). ahead: how many of the subscription go before it, counted to 1000. Moments that bind nobody are null. The secrets
-- are all that it ever had, newest first: the history shows what each signed.
create or replace function hookd.delivery_state(p_org_id uuid, p_subscription_id uuid, p_id uuid)
returns table (url text, headers bytea, now timestamptz, event_id uuid, due timestamptz, attempt smallint, failures smallint,
    leased boolean, leased_until timestamptz, is_active boolean, disabled_reason text, ahead integer, ordered boolean,
    hold_until timestamptz, lane_in_flight integer, lane_window integer, lane_rate float8, paced_until timestamptz,
    host_key text, host_in_flight integer, host_max_in_flight integer, share_in_flight integer, host_rate float8, host_tokens float8, circuit_open boolean,
    blocked_until timestamptz, catching_up boolean, secrets bytea[], secrets_from timestamptz[], secrets_until timestamptz[])
language plpgsql volatile as $$
#variable_conflict use_column
declare
    v_now timestamptz := hookd.clock();
begin
    return query
        select s.url, s.headers, v_now, d.event_id, d.due, d.attempt, d.failures, d.lease is not null, e.until, s.is_active,
            s.disabled_reason, a.ahead, l.ordered, nullif(l.hold_until, '-infinity'), l.in_flight, l.window_size, l.rate,
            nullif(l.paced_until, '-infinity'), h.name, h.in_flight, h.max_in_flight,
            case when h.owner is null then o.in_flight end, h.rate, hookd.tokens_at(h, v_now),
            hookd.circuit_open(h.circuit_failures), nullif(h.blocked_until, '-infinity'),
            coalesce(d.due > v_now and d.failed_at >= l.catch_up_from and d.failed_at <= l.catch_up_to, false), k.secrets,
            k.secrets_from, k.secrets_until
        from hookd.subscription s
        join hookd.lane l on l.subscription_id = s.id
        join hookd.host h on h.id = l.host_id
        left join lateral (
            select k.in_flight from hookd.host_share k
            where k.host_id = l.host_id and k.org_id = l.org_id offset 0) o on true
        left join lateral (
            select * from hookd.delivery o where o.id = p_id and o.subscription_id = s.id offset 0) d on true
        left join lateral (select k.until from hookd.lease k where k.token = d.lease offset 0) e on true
        cross join lateral (
            select count(*)::integer as ahead from (
                select from hookd.delivery o
                where d.lease is null and o.subscription_id = s.id and o.lease is null and o.due >= l.floor
                    and o.due <= d.due and (o.due, o.id) < (d.due, d.id)
                limit 1000) c offset 0) a
        cross join lateral (
            select array_agg(x.ciphertext order by x.number desc) as secrets,
                array_agg(nullif(x.created_at, '-infinity') order by x.number desc) as secrets_from,
                array_agg(x.expires_at order by x.number desc) as secrets_until
            from hookd.subscription_secret x where x.subscription_id = s.id offset 0) k
        where s.id = p_subscription_id and s.org_id = p_org_id;
end $$;

-- The attempts of a delivery, oldest first: the newest p_limit of them. None is older than the delivery, whose id holds its
-- time; a minute of difference between clocks is allowed for.
create or replace function hookd.attempts_of(p_subscription_id uuid, p_delivery_id uuid, p_limit integer)
returns setof hookd.attempt
language plpgsql volatile as $$
declare
    v_from uuid := hookd.uuid7_floor(greatest('epoch', hookd.uuid7_time(p_delivery_id) - interval '1 minute'));
begin
    return query
        select * from (
            select a.* from hookd.attempt a
            where a.delivery_id = p_delivery_id and a.subscription_id = p_subscription_id and a.id >= v_from
            order by a.id desc limit p_limit) x
        order by x.id;
end $$;

create or replace function hookd.event_of(p_org_id uuid, p_id uuid) returns table (type text, body text)
language plpgsql volatile as $$
#variable_conflict use_column
begin
    return query select e.type, e.body from hookd.event e where e.org_id = p_org_id and e.id = p_id;
end $$;
