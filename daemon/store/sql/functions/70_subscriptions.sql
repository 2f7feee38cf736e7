-- Registers a subscription with its secret, lane, interests and, if need be, host. Null: the organisation has p_limit already.
create or replace function hookd.register(
    p_id uuid, p_org_id uuid, p_url text, p_events text[], p_ciphertext bytea, p_limit integer,
    p_host text, p_rate float8, p_burst float8, p_max_in_flight integer, p_description text default null, p_metadata jsonb default null,
    p_headers bytea default null, p_filter text default null, p_filter_path text default null,
    p_rate_limit float8 default null, p_ordered boolean default false, p_timeout float8 default null,
    p_retry_schedule float8[] default null, p_active boolean default true
) returns hookd.subscription
language plpgsql volatile as $$
declare
    v_now  timestamptz := hookd.clock();
    v_host integer;
    v_row  hookd.subscription;
begin
    -- one registration at a time in an organisation, else two could pass the limit together
    if not hookd.exclude_others(p_org_id, 'register', interval '5 seconds') then
        raise exception 'another registration of the organisation takes too long' using errcode = '55P03', hint = 'Try again.';
    end if;
    if (select count(*) from hookd.subscription s where s.org_id = p_org_id) >= p_limit then
        return null;
    end if;
    v_host := hookd.host_of(p_host, p_rate, p_burst, p_max_in_flight, v_now);
    insert into hookd.subscription (id, org_id, url, events, created_at, description, metadata, headers, filter, filter_path,
        rate_limit, ordered, timeout, retry_schedule, is_active, disabled_reason)
    values (p_id, p_org_id, p_url, p_events, v_now, p_description, p_metadata, p_headers, p_filter, p_filter_path,
        p_rate_limit, p_ordered, p_timeout, p_retry_schedule, p_active, case when not p_active then 'paused' end) returning * into v_row;
    insert into hookd.subscription_secret (subscription_id, number, ciphertext, created_at)
    values (p_id, 1, p_ciphertext, v_now);
    insert into hookd.lane (subscription_id, org_id, host_id, rate, ordered, active)
    values (p_id, p_org_id, v_host, p_rate_limit, p_ordered, p_active);
    perform hookd.rebuild_interests(p_id);
    perform hookd.lock_hosts(array[v_host]);
    perform hookd.join_host(v_host, p_org_id);
    perform hookd.settle_hosts(array[v_host], v_now);
    return v_row;
end $$;

-- The host of that name, made with these limits if there is none yet. It cannot be forgotten before this transaction ends.
create or replace function hookd.host_of(p_name text, p_rate float8, p_burst float8, p_max_in_flight integer, p_now timestamptz)
returns integer
language plpgsql volatile as $$
declare
    v_host integer;
begin
    loop -- one that is being forgotten is waited for, and made anew
        insert into hookd.host (name, rate, burst, max_in_flight, tokens, refilled_at)
        values (p_name, p_rate, p_burst, p_max_in_flight, p_burst, p_now)
        on conflict (name) do nothing;
        -- passes those who hold hosts to send or to settle, not the one who forgets them
        select h.id into v_host from hookd.host h where h.name = p_name for key share;
        exit when found;
    end loop;
    return v_host;
end $$;

-- Forgets up to p_limit hosts that no lane is left of and no request goes to; those in use at this moment stay. Returns how
-- many went.
create or replace function hookd.forget_hosts(p_limit integer) returns integer
language plpgsql volatile as $$
declare
    v_idle integer[];
    v_gone integer;
begin
    select array_agg(x.id) into v_idle from (
        select h.id from hookd.host h
        where h.in_flight = 0 and not exists (select from hookd.lane l where l.host_id = h.id)
        order by h.id limit p_limit for update of h skip locked) x;
    -- the locks are had: a lane that a registration committed meanwhile is visible to the next statement
    delete from hookd.host h where h.id = any (v_idle) and h.in_flight = 0
        and not exists (select from hookd.lane l where l.host_id = h.id);
    get diagnostics v_gone = row_count;
    return v_gone;
end $$;

-- Locks the host of an organisation's subscription, and p_other besides; null if there is no such subscription. Whoever
-- writes a subscription holds this lock.
create or replace function hookd.lock_subscription(p_org_id uuid, p_id uuid, p_other integer[] default '{}')
returns integer
language plpgsql volatile as $$
declare
    v_host integer;
begin
    select l.host_id into v_host from hookd.lane l join hookd.subscription s on s.id = l.subscription_id
    where l.subscription_id = p_id and s.org_id = p_org_id;
    if not found then
        return null;
    end if;
    perform hookd.lock_hosts(v_host || p_other);
    perform hookd.check_lanes_locked(array[p_id], v_host || p_other);
    return (select l.host_id from hookd.lane l where l.subscription_id = p_id);
end $$;

-- Writes the interests of a subscription anew. A type that a pattern covers already is left out, so that no event
-- meets one subscription twice. A filter that was not checked, or has a problem, is not evaluated.
create or replace function hookd.rebuild_interests(p_id uuid) returns void language plpgsql volatile as $$
begin
    delete from hookd.interest i using hookd.subscription s
    where s.id = p_id and i.org_id = s.org_id and i.subscription_id = p_id;
    insert into hookd.interest (org_id, pattern, subscription_id, filter, filter_blocked_until)
    select s.org_id, e.pattern, s.id, s.filter_path::jsonpath,
        case when s.filter_problem is not null or s.filter is not null and s.filter_path is null then 'infinity'::timestamptz end
    from hookd.subscription s cross join lateral (select distinct pattern from unnest(s.events) u(pattern)) e
    where s.id = p_id and s.is_active and not exists (
        select from unnest(s.events) o(pattern)
        where o.pattern <> e.pattern and o.pattern = any (hookd.patterns(e.pattern)));
end $$;

-- Switches subscriptions off with a reason. The caller holds their hosts' locks and settles their lanes as not active.
create or replace function hookd.deactivate(p_ids uuid[], p_reasons text[]) returns void language plpgsql volatile as $$
begin
    update hookd.subscription s set is_active = false, disabled_reason = x.reason, revision = s.revision + 1
    from unnest(p_ids, p_reasons) x(id, reason) where s.id = x.id;
    delete from hookd.interest i using hookd.subscription s
    where s.id = any (p_ids) and i.org_id = s.org_id and i.subscription_id = s.id and i.pattern = any (s.events);
end $$;

-- Pauses (p_active false) or resumes a subscription: nothing new is routed to it and what is pending is held, or goes on.
-- False if there is no such subscription.
create or replace function hookd.set_active(p_id uuid, p_active boolean, p_reason text) returns boolean
language plpgsql volatile as $$
declare
    v_now  timestamptz := hookd.clock();
    v_host integer;
begin
    select l.host_id into v_host from hookd.lane l where l.subscription_id = p_id;
    if not found then
        return false;
    end if;
    perform hookd.lock_hosts(array[v_host]);
    perform hookd.check_lanes_locked(array[p_id], array[v_host]);
    if p_active then
        update hookd.subscription s set is_active = true, disabled_reason = null, revision = s.revision + 1 where s.id = p_id;
        perform hookd.rebuild_interests(p_id);
    else
        perform hookd.deactivate(array[p_id], array[p_reason]);
    end if;
    perform hookd.settle_lanes(array[p_id], v_now, p_active => array[p_active]);
    perform hookd.settle_hosts(array[v_host], v_now, array[p_id]);
    return true;
end $$;

-- Changes the settings of a subscription that p_given names, others stay. A new URL (p_url, p_host and its limits) moves what
-- is pending to the new host; a send under way ends as it began. p_revisions: only if it has one of them; null: any.
-- Returns 'changed', 'missing', 'conflict', or 'headers' if a new host would get the headers that were meant for the old one.
create or replace function hookd.change(
    p_org_id uuid, p_id uuid, p_revisions integer[], p_given text[], p_url text, p_host text, p_rate float8, p_burst float8,
    p_max_in_flight integer, p_events text[], p_active boolean, p_description text, p_metadata jsonb, p_headers bytea,
    p_filter text, p_filter_path text, p_rate_limit float8, p_ordered boolean, p_timeout float8,
    p_retry_schedule float8[] default null
) returns text
language plpgsql volatile as $$
declare
    v_now  timestamptz := hookd.clock();
    v_from integer;
    v_to   integer;
    v_in_flight integer;
    v_moved boolean;
    v_row  hookd.subscription;
begin
    if not exists (select from hookd.subscription s where s.id = p_id and s.org_id = p_org_id) then
        return 'missing'; -- and leave no host behind
    end if;
    if 'url' = any (p_given) then
        v_to := hookd.host_of(p_host, p_rate, p_burst, p_max_in_flight, v_now);
    end if;
    v_from := hookd.lock_subscription(p_org_id, p_id, array_remove(array[v_to], null));
    if v_from is null then
        return 'missing';
    end if;
    select * into v_row from hookd.subscription s where s.id = p_id;
    if v_row.revision <> all (p_revisions) then
        return 'conflict';
    end if;
    if p_given = '{}' then
        return 'changed';
    end if;
    v_to := coalesce(v_to, v_from);
    if v_to <> v_from and v_row.headers is not null and 'headers' <> all (p_given) then
        return 'headers';
    end if;
    v_moved := 'url' = any (p_given) and p_url <> v_row.url;
    if v_moved then
        perform hookd.end_pause(p_id, v_now);
    end if;
    update hookd.subscription s set
        url = case when 'url' = any (p_given) then p_url else s.url end,
        events = case when 'events' = any (p_given) then p_events else s.events end,
        is_active = case when 'is_active' = any (p_given) then p_active else s.is_active end,
        disabled_reason = case when 'is_active' = any (p_given) then case when not p_active then 'paused' end
            else s.disabled_reason end,
        description = case when 'description' = any (p_given) then p_description else s.description end,
        metadata = case when 'metadata' = any (p_given) then p_metadata else s.metadata end,
        headers = case when 'headers' = any (p_given) then p_headers else s.headers end,
        filter = case when 'filter' = any (p_given) then p_filter else s.filter end,
        filter_path = case when 'filter' = any (p_given) then p_filter_path else s.filter_path end,
        filter_problem = case when 'filter' = any (p_given) then null else s.filter_problem end,
        rate_limit = case when 'rate_limit' = any (p_given) then p_rate_limit else s.rate_limit end,
        ordered = case when 'ordered' = any (p_given) then p_ordered else s.ordered end,
        timeout = case when 'timeout' = any (p_given) then p_timeout else s.timeout end,
        retry_schedule = case when 'retry_schedule' = any (p_given) then p_retry_schedule else s.retry_schedule end,
        revision = s.revision + 1
    where s.id = p_id;
    perform hookd.rebuild_interests(p_id);
    if v_to <> v_from then
        perform hookd.leave_host(p_id, v_now);
    end if;
    update hookd.lane l set
        host_id = v_to,
        proven = l.proven and v_to = v_from,
        window_size = case when v_to = v_from then l.window_size else 1 end,
        failing_since = case when v_to = v_from then l.failing_since end,
        unreached = l.unreached and v_to = v_from,
        -- what failed at the old URL is tried at the new one, as where a receiver is back
        catch_up_from = case when v_moved then '-infinity' else l.catch_up_from end,
        catch_up_to = case when s.ordered then null when v_moved then v_now else l.catch_up_to end,
        rate = s.rate_limit,
        paced_until = case when l.rate is distinct from s.rate_limit then '-infinity' else l.paced_until end,
        ordered = s.ordered,
        -- the pause that the old URL's answer asked for is not the new one's
        hold_until = case when v_moved or l.ordered and not s.ordered then '-infinity' else l.hold_until end
    from hookd.subscription s where s.id = p_id and l.subscription_id = p_id returning l.in_flight into v_in_flight;
    if v_to <> v_from then
        perform hookd.join_host(v_to, p_org_id, 1, v_in_flight);
    end if;
    perform hookd.settle_lanes(array[p_id], v_now, p_early => array[case when v_moved then v_now end],
        p_active => array[case when 'is_active' = any (p_given) and p_active <> v_row.is_active then p_active end]);
    perform hookd.settle_hosts(array(select distinct h from unnest(array[v_from, v_to]) h), v_now, array[p_id]);
    return 'changed';
end $$;

-- Makes due now what a lane that rests until a time was to send again by then: the first thousand, which is more than can have
-- been under way when its receiver asked for the pause.
create or replace function hookd.end_pause(p_id uuid, p_now timestamptz) returns void language sql volatile as $$
    update hookd.delivery d set due = p_now
    from (
        select o.ctid as place from hookd.lane l cross join lateral (
            select w.ctid from hookd.delivery w
            where w.subscription_id = p_id and w.lease is null and w.due > p_now and w.due <= l.hold_until and w.failures > 0
            order by w.due desc limit 1000) o
        where l.subscription_id = p_id and l.hold_until > p_now) x
    where d.ctid = x.place
$$;

-- Gives a subscription a new secret; those before sign beside it for p_overlap. Returns 'rotated' and the moment from which
-- only the new one signs, 'missing', 'conflict' unless it has one of p_revisions (null: any), or 'crowded' if p_most sign
-- already.
create or replace function hookd.rotate(
    p_org_id uuid, p_id uuid, p_ciphertext bytea, p_overlap interval, p_most integer, p_revisions integer[] default null,
    out outcome text, out until timestamptz
)
language plpgsql volatile as $$
declare
    v_now timestamptz := hookd.clock();
begin
    if hookd.lock_subscription(p_org_id, p_id) is null then
        outcome := 'missing';
        return;
    end if;
    if (select s.revision from hookd.subscription s where s.id = p_id) <> all (p_revisions) then
        outcome := 'conflict';
        return;
    end if;
    if (select count(*) from hookd.subscription_secret k
        where k.subscription_id = p_id and (k.expires_at is null or k.expires_at > v_now)) >= p_most then
        outcome := 'crowded';
        return;
    end if;
    until := v_now + p_overlap;
    update hookd.subscription_secret k set expires_at = least(k.expires_at, until)
    where k.subscription_id = p_id and (k.expires_at is null or k.expires_at > v_now);
    insert into hookd.subscription_secret (subscription_id, number, ciphertext, created_at)
    select p_id, max(k.number) + 1, p_ciphertext, v_now from hookd.subscription_secret k where k.subscription_id = p_id;
    update hookd.subscription s set revision = s.revision + 1 where s.id = p_id;
    outcome := 'rotated';
end $$;

-- Lets the newest secret of a subscription sign alone. Returns 'ended', also where it did before, 'missing', or 'conflict'
-- unless it has one of p_revisions (null: any).
create or replace function hookd.end_previous_secrets(p_org_id uuid, p_id uuid, p_revisions integer[] default null) returns text
language plpgsql volatile as $$
declare
    v_now timestamptz := hookd.clock();
begin
    if hookd.lock_subscription(p_org_id, p_id) is null then
        return 'missing';
    end if;
    if (select s.revision from hookd.subscription s where s.id = p_id) <> all (p_revisions) then
        return 'conflict';
    end if;
    update hookd.subscription_secret k set expires_at = v_now where k.subscription_id = p_id and k.expires_at > v_now;
    if found then -- daemons that have read them read anew
        update hookd.subscription s set revision = s.revision + 1 where s.id = p_id;
    end if;
    return 'ended';
end $$;

-- Deletes a subscription, so that nothing of it can be seen or sent any more; what a send under way brings back counts for
-- nothing. The rest of its rows is left to purge(). Returns 'removed', 'missing', or 'conflict' unless it has one of
-- p_revisions (null: any).
create or replace function hookd.remove(p_org_id uuid, p_id uuid, p_revisions integer[] default null) returns text
language plpgsql volatile as $$
declare
    v_now   timestamptz := hookd.clock();
    v_hosts integer[];
    v_flown integer[];
begin
    -- what is being sent was claimed from the host of that time
    select coalesce(array_agg(distinct h.host_id), '{}') into v_hosts from hookd.held_by(p_id) h;
    if hookd.lock_subscription(p_org_id, p_id, v_hosts) is null then
        return 'missing';
    end if;
    if (select s.revision from hookd.subscription s where s.id = p_id) <> all (p_revisions) then
        return 'conflict';
    end if;
    perform hookd.leave_host(p_id, v_now);
    with gone as (
        delete from hookd.delivery d where d.id in (select h.id from hookd.held_by(p_id) h) returning d.host_id),
    lane as (delete from hookd.lane l where l.subscription_id = p_id returning l.host_id),
    counts as (
        select x.host_id, sum(x.n)::integer as n
        from (select host_id, 1 as n from gone union all select host_id, 0 from lane) x group by x.host_id)
    select array_agg(c.host_id), array_agg(c.n) into v_hosts, v_flown from counts c;
    delete from hookd.interest i using hookd.subscription s
    where s.id = p_id and i.org_id = s.org_id and i.subscription_id = p_id;
    delete from hookd.subscription_secret k where k.subscription_id = p_id;
    delete from hookd.subscription s where s.id = p_id;
    insert into hookd.removal (subscription_id, requested_at) values (p_id, v_now);
    perform hookd.settle_hosts(v_hosts, v_now, p_flown => v_flown);
    return 'removed';
end $$;

-- The deliveries of a subscription that leases hold.
create or replace function hookd.held_by(p_id uuid) returns table (id uuid, host_id integer) language sql stable as $$
    select d.id, d.host_id from hookd.lease e
    cross join lateral (
        select f.id, f.host_id from unnest(e.deliveries) u(id) join hookd.delivery f on f.id = u.id
        where f.lease = e.token and f.subscription_id = p_id offset 0) d
$$;

-- Drops up to p_limit rows that a deleted subscription left. True if there may be more. A subscription stays on the list for
-- a minute, for what was being written as it went.
create or replace function hookd.purge(p_limit integer) returns boolean
language plpgsql volatile as $$
declare
    v_id   uuid;
    v_old  boolean;
    v_done bigint;
    v_rows bigint;
begin
    perform hookd.fresh_plans();
    perform set_config('synchronous_commit', 'off', true);
    select r.subscription_id, r.requested_at < hookd.clock() - interval '1 minute' into v_id, v_old
    from hookd.removal r where r.looked_at < hookd.clock() - interval '30 seconds'
    order by r.looked_at, r.requested_at limit 1 for update skip locked;
    if not found then
        return false;
    end if;
    delete from hookd.delivery d where d.id = any (array(
        select o.id from hookd.delivery o where o.subscription_id = v_id and o.lease is null limit p_limit));
    get diagnostics v_done = row_count;
    delete from hookd.attempt a using (
        select b.id from hookd.attempt b where b.subscription_id = v_id limit p_limit) x
    where a.subscription_id = v_id and a.id = x.id;
    get diagnostics v_rows = row_count;
    v_done := v_done + v_rows;
    delete from hookd.replay_event e using (
        select o.replay_id, o.event_id from hookd.replay r join hookd.replay_event o on o.replay_id = r.id
        where r.subscription_id = v_id limit p_limit) x
    where e.replay_id = x.replay_id and e.event_id = x.event_id;
    get diagnostics v_rows = row_count;
    v_done := v_done + v_rows;
    if v_done > 0 then
        return true;
    end if;
    delete from hookd.replay r where r.subscription_id = v_id;
    if v_old then
        delete from hookd.removal r where r.subscription_id = v_id;
    else
        update hookd.removal r set looked_at = hookd.clock() where r.subscription_id = v_id;
    end if;
    return true;
end $$;
