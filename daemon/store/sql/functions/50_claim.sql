-- Leases up to p_batch due deliveries of up to p_hosts due hosts under the random token p_token. Hosts come longest
-- waiting first; at a host its organisations take turns, and the lanes of each in that. p_probe: take from lanes that have not
-- answered in time of late and from hosts whose circuit is half open, instead of from the proven ones. p_among: of these hosts
-- alone. p_rank, p_daemons: which of so many daemons claims, the first is 0; hosts that others prefer are left to them for a
-- while. p_full: organisations that get nothing; of others each gets p_most_of_org at most. The same token gives the lease
-- back (record()). A body of more than 64 KiB is null: the sender fetches it when it is about to send, so that a claim of
-- large events fits into memory.
create or replace function hookd.claim(
    p_token uuid, p_batch integer, p_hosts integer, p_lease interval, p_probe boolean, p_among integer[] default null,
    p_rank integer default 0, p_daemons integer default 1, p_full uuid[] default '{}', p_most_of_org integer default null
) returns table (delivery_id uuid, subscription_id uuid, host_id integer, event_id uuid, event_type text, attempt smallint,
    failures smallint, revision integer, body text, org_id uuid)
language plpgsql volatile as $$
#variable_conflict use_column
declare
    v_now    timestamptz := hookd.clock();
    v_hosts  integer[];
    v_rooms  integer[];
    v_open   boolean[]; -- the host's circuit is open: lanes of either kind may be its probe
    v_ready  timestamptz[];
    v_probe  timestamptz[];
    v_owners uuid[];
    v_free   integer[]; -- how many more requests the host may have under way
    v_most   integer; -- of one host
    v_ids    uuid[];
    v_from   uuid[];
    v_at     integer[];
    v_lanes  uuid[];
    v_taken  integer[];
    v_each   integer[]; -- of each of v_lanes
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'the queue needs read committed transactions'
            using hint = 'Reset default_transaction_isolation for the daemon''s role.';
    end if;
    perform hookd.fresh_plans();
    perform set_config('synchronous_commit', 'off', true); -- a lost claim is only claimed again
    if p_among is not null then
        select array_agg(x.id), array_agg(hookd.room(x, v_now)), array_agg(p_probe and hookd.circuit_open(x.circuit_failures)),
            array_agg(x.ready_floor), array_agg(x.probe_floor), array_agg(x.owner), array_agg(x.max_in_flight - x.in_flight)
        into v_hosts, v_rooms, v_open, v_ready, v_probe, v_owners, v_free from (
            select * from hookd.host h
            where h.id = any (p_among) and case when p_probe then h.probe_at else h.ready_at end <= v_now
                and (h.owner is null or h.owner <> all (p_full))
                -- one of another daemon's that is at it, where more is due than what has come just now, is left to that
                and (p_daemons = 1 or hookd.prefers(h, p_rank, p_daemons) or hookd.is_left(h, v_now)
                    or case when p_probe then h.probe_at else h.ready_at end >= h.refilled_at - interval '1 millisecond')
            order by case when p_probe then h.probe_at else h.ready_at end limit p_hosts for no key update skip locked) x;
    elsif p_probe then
        select array_agg(x.id), array_agg(hookd.room(x, v_now)), array_agg(hookd.circuit_open(x.circuit_failures)),
            array_agg(x.ready_floor), array_agg(x.probe_floor), array_agg(x.owner), array_agg(x.max_in_flight - x.in_flight)
        into v_hosts, v_rooms, v_open, v_ready, v_probe, v_owners, v_free from (
            select * from hookd.host h
            where h.probe_at <= v_now and h.probe_at < 'infinity' and (h.owner is null or h.owner <> all (p_full))
                and (p_daemons = 1 or hookd.prefers(h, p_rank, p_daemons)
                    or h.probe_at <= v_now - hookd.patience() and hookd.is_left(h, v_now))
            order by h.probe_at limit p_hosts for no key update skip locked) x;
    else
        select array_agg(x.id), array_agg(hookd.room(x, v_now)), array_agg(false),
            array_agg(x.ready_floor), array_agg(x.probe_floor), array_agg(x.owner), array_agg(x.max_in_flight - x.in_flight)
        into v_hosts, v_rooms, v_open, v_ready, v_probe, v_owners, v_free from (
            select * from hookd.host h
            where h.ready_at <= v_now and h.ready_at < 'infinity' and (h.owner is null or h.owner <> all (p_full))
                and (p_daemons = 1 or hookd.prefers(h, p_rank, p_daemons)
                    or h.ready_at <= v_now - hookd.patience() and hookd.is_left(h, v_now))
            order by h.ready_at limit p_hosts for no key update skip locked) x;
    end if;
    if v_hosts is null then
        return;
    end if;
    v_most := least(p_batch, greatest(8, ceil(p_batch::float8 / cardinality(v_hosts))));

    -- A second statement: it sees what was committed before the locks of the hosts were had. Everything in it is lateral,
    -- so it goes host by host, organisation by organisation and lane by lane and stops where the room ends. A turn is at least
    -- eight deliveries, so that few rows are written for many.
    with found as (
        select x.place, x.org_id, r.id as host_id, row_number() over () as n
        from unnest(v_hosts, v_rooms, v_open, v_ready, v_probe, v_owners, v_free)
            r(id, space, open, ready, probe, owner, free)
        cross join lateral (
            select case when r.owner is not null or r.open then 1
                when p_probe then (select count(*) from (
                    select from hookd.host_share h
                    where h.host_id = r.id and h.in_flight < r.free and h.probe_at >= r.probe and h.probe_at <= v_now
                        and h.probe_at < 'infinity' and h.org_id <> all (p_full)
                    limit ceil(least(r.space, v_most) / 8.0)) c)
                else (select count(*) from (
                    select from hookd.host_share h
                    where h.host_id = r.id and h.in_flight < r.free and h.ready_at >= r.ready and h.ready_at <= v_now
                        and h.ready_at < 'infinity' and h.org_id <> all (p_full)
                    limit ceil(least(r.space, v_most) / 8.0)) c) end as orgs offset 0) m
        cross join lateral (
            select least(r.space, v_most, case when r.owner is null then r.free - r.free / (m.orgs + 1) end) as room
            offset 0) s
        cross join lateral (
            select d.place, o.org_id
            from unnest(case when r.open then '{true,false}' else array[not p_probe] end) k(proven)
            cross join lateral (
                select r.owner as org_id, case when k.proven then r.ready else r.probe end as floor, s.room as room
                where r.owner is not null
                union all
                (select h.org_id, h.ready_floor, hookd.share_room(r.free, h.in_flight, s.room, m.orgs)
                from hookd.host_share h
                where r.owner is null and k.proven and h.host_id = r.id and h.in_flight < r.free
                    and h.org_id <> all (p_full)
                    and h.ready_at >= r.ready and h.ready_at <= v_now and h.ready_at < 'infinity'
                order by h.ready_at limit s.room)
                union all
                (select h.org_id, h.probe_floor, hookd.share_room(r.free, h.in_flight, s.room, m.orgs)
                from hookd.host_share h
                where r.owner is null and not k.proven and h.host_id = r.id and h.in_flight < r.free
                    and h.org_id <> all (p_full)
                    and h.probe_at >= r.probe and h.probe_at <= v_now and h.probe_at < 'infinity'
                order by h.probe_at limit s.room)) o
            cross join lateral (
                select greatest(8, ceil(o.room::float8 / greatest(1, count(*)))) as turn from (
                    select from hookd.lane l
                    where l.host_id = r.id and l.org_id = o.org_id and l.proven = k.proven and l.due <= v_now
                        and l.due < 'infinity' and l.due >= o.floor
                    limit ceil(o.room / 8.0)) c offset 0) q
            cross join lateral (
                select d.place
                from (
                    select l.subscription_id, l.floor, l.catch_up_from, l.catch_up_to, case when l.rate is null then l.window_size - l.in_flight
                        else least(l.window_size - l.in_flight, hookd.paced_room(l.rate, l.paced_until, v_now)) end as space
                    from hookd.lane l
                    where l.host_id = r.id and l.org_id = o.org_id and l.proven = k.proven and l.due <= v_now
                        and l.due < 'infinity' and l.due >= o.floor
                    order by l.due limit o.room) l
                cross join lateral (
                    (select d.ctid as place from hookd.delivery d
                    where d.subscription_id = l.subscription_id and d.lease is null and d.due >= l.floor and d.due <= v_now
                    order by d.due limit least(l.space, q.turn))
                    union all -- behind that, what may go ahead of its time
                    (select d.ctid from hookd.delivery d
                    where l.catch_up_to is not null and d.subscription_id = l.subscription_id and d.lease is null
                        and d.failed_at >= l.catch_up_from and d.failed_at <= l.catch_up_to and d.due > v_now
                    order by d.failed_at limit least(l.space, q.turn))
                    limit least(l.space, q.turn)) d
                limit o.room) d
            limit s.room) x
        limit p_batch),
    pick as (
        select f.place, f.host_id
        from (select g.*, row_number() over (partition by g.org_id order by g.n) as of_org from found g) f
        where p_most_of_org is null or f.of_org <= p_most_of_org),
    taken as (
        update hookd.delivery d set lease = p_token, host_id = p.host_id, attempt = d.attempt + 1
        from pick p where d.ctid = p.place -- nobody else moves them while we have their hosts' locks
        returning d.id, d.subscription_id, d.host_id)
    select array_agg(t.id), array_agg(t.subscription_id), array_agg(t.host_id) into v_ids, v_from, v_at from taken t;

    if v_ids is not null then
        select array_agg(f), array_agg(n) into v_lanes, v_taken
        from (select f, count(*)::integer as n from unnest(v_from) f group by f) x;
        insert into hookd.lease (token, until, deliveries) values (p_token, v_now + p_lease, v_ids);
    else
        -- due, with room, and nothing to take: look at these lanes anew, so that no claim comes here in vain again
        select array_agg(l.subscription_id) into v_lanes
        from unnest(v_hosts, v_rooms, v_owners) r(id, space, owner)
        cross join unnest('{true,false}'::boolean[]) k(proven)
        cross join lateral (
            select r.owner as org_id where r.owner is not null
            union all
            (select h.org_id from hookd.host_share h
            where r.owner is null and k.proven and h.host_id = r.id and h.ready_at <= v_now and h.ready_at < 'infinity'
            limit 100)
            union all
            (select h.org_id from hookd.host_share h
            where r.owner is null and not k.proven and h.host_id = r.id and h.probe_at <= v_now and h.probe_at < 'infinity'
            limit 100)) o
        cross join lateral (
            select l.subscription_id from hookd.lane l
            where l.host_id = r.id and l.org_id = o.org_id and l.proven = k.proven and l.due <= v_now and l.due < 'infinity'
                and r.space > 0 limit 100) l;
    end if;
    perform hookd.settle_lanes(v_lanes, v_now, p_taken => v_taken);
    if array_position(v_owners, null) is null then
        v_lanes := null; -- no lane becomes due earlier by a claim
    end if;
    v_each := v_taken;
    select array_agg(coalesce(c.n, 0) order by t.k) into v_taken
    from unnest(v_hosts) with ordinality t(id, k)
    left join (select a, count(*)::integer as n from unnest(v_at) a group by a) c on c.a = t.id;
    perform hookd.settle_hosts(v_hosts, v_now, v_lanes, p_taken => v_taken, p_lanes_taken => v_each, p_by => p_rank);

    return query
        select d.id, d.subscription_id, d.host_id, d.event_id, e.type, d.attempt,
            d.failures - (d.due > v_now)::integer::smallint, -- ahead of its time: if it fails, that is its next time still
            s.revision,
            case when octet_length(e.body) <= 65536 then e.body end, s.org_id
        from hookd.delivery d
        join hookd.subscription s on s.id = d.subscription_id
        -- lateral with offset 0: else a cached plan may join over full index scans of every event partition
        cross join lateral (select v.type, v.body from hookd.event v where v.org_id = s.org_id and v.id = d.event_id offset 0) e
        where d.id = any (v_ids);
end $$;

-- How many requests a host may be sent now.
create or replace function hookd.room(p_host hookd.host, p_now timestamptz) returns integer
language sql immutable parallel safe as $$
    select case
        when not hookd.circuit_open(p_host.circuit_failures)
            then greatest(0, least(p_host.max_in_flight - p_host.in_flight, floor(hookd.tokens_at(p_host, p_now))))::integer
        when p_host.in_flight = 0 and p_host.blocked_until <= p_now and hookd.tokens_at(p_host, p_now) >= 1
            then 1
        else 0 end
$$;

-- How many requests an organisation gets at a host where p_orgs have their turns in p_room: as many as leave as many free as it
-- has then under way.
create or replace function hookd.share_room(p_free integer, p_in_flight integer, p_room bigint, p_orgs bigint) returns integer
language sql immutable parallel safe as $$
    select least(ceil((p_free - p_in_flight) / 2.0), greatest(8, ceil(p_room::float8 / greatest(1, p_orgs))))::integer
$$;

-- Whether a daemon is the one to come to a host: each has its part of them, and goes on with what it came to last, until the one
-- whose it is comes. So few wait for the locks of each other's claims and results.
create or replace function hookd.prefers(p_host hookd.host, p_rank integer, p_daemons integer) returns boolean
language sql immutable parallel safe as $$
    select p_host.id % p_daemons = p_rank or p_host.claimed_by = p_rank
$$;

-- How long a host must have waited for the daemon that prefers it before another takes it.
create or replace function hookd.patience() returns interval language sql immutable parallel safe as $$
    select interval '0.1 seconds'
$$;

-- Whether no daemon has come to a host for that long. A time to come is from before the clock was set back.
create or replace function hookd.is_left(p_host hookd.host, p_now timestamptz) returns boolean
language sql stable parallel safe as $$
    select p_host.claimed_at <= p_now - hookd.patience() or p_host.claimed_at > p_now + hookd.patience()
$$;

-- Seconds until a claim may find work again: of proven lanes, of the others; null while nothing is pending. For a daemon of
-- several and with organisations that may not have more as in claim(): what is due at a host that another prefers may be
-- claimed once that has waited.
-- In plpgsql, which keeps its plans; before Postgres 18 a function in SQL is planned at each call.
create or replace function hookd.next_due(
    p_rank integer default 0, p_daemons integer default 1, p_full uuid[] default '{}', p_full_probes uuid[] default '{}',
    out ready float8, out probe float8
)
language plpgsql volatile as $$
declare
    v_now     timestamptz := hookd.clock();
    v_ready   timestamptz;
    v_probe   timestamptz;
begin
    select h.ready_at into v_ready from hookd.host h
    where h.ready_at < 'infinity' and (h.owner is null or h.owner <> all (p_full))
        and (p_daemons = 1 or hookd.prefers(h, p_rank, p_daemons))
    order by h.ready_at limit 1;
    select h.probe_at into v_probe from hookd.host h
    where h.probe_at < 'infinity' and (h.owner is null or h.owner <> all (p_full_probes))
        and (p_daemons = 1 or hookd.prefers(h, p_rank, p_daemons))
    order by h.probe_at limit 1;
    if p_daemons > 1 then
        v_ready := least(v_ready, (
            select greatest(v_now, h.ready_at) + hookd.patience() from hookd.host h
            where h.ready_at < 'infinity' order by h.ready_at limit 1));
        v_probe := least(v_probe, (
            select greatest(v_now, h.probe_at) + hookd.patience() from hookd.host h
            where h.probe_at < 'infinity' order by h.probe_at limit 1));
    end if;
    ready := extract(epoch from v_ready - v_now);
    probe := extract(epoch from v_probe - v_now);
end $$;

-- Both kinds of claim in one round trip: up to p_batch of the proven under p_token, up to p_probes of them of the others under
-- p_probe_token; the rest as in claim(). Where that leaves room, a last row without a delivery tells for how many seconds
-- nothing can be claimed, of any host.
create or replace function hookd.claim_both(
    p_token uuid, p_probe_token uuid, p_batch integer, p_probes integer, p_lease interval, p_rank integer default 0,
    p_daemons integer default 1, p_full uuid[] default '{}', p_full_probes uuid[] default '{}', p_most_of_org integer default null,
    p_most_of_org_probes integer default null, p_among integer[] default null
) returns table (probe boolean, wait float8, delivery_id uuid, subscription_id uuid, host_id integer, event_id uuid,
    event_type text, attempt smallint, failures smallint, revision integer, body text, org_id uuid)
language plpgsql volatile as $$
#variable_conflict use_column
declare
    v_taken integer;
    v_probes integer;
begin
    return query select false, null::float8, c.* from hookd.claim(
        p_token, p_batch, greatest(8, case when p_among is null then p_batch / 8 else p_batch end), p_lease, false, p_among,
        p_rank, p_daemons, p_full, p_most_of_org) c;
    get diagnostics v_taken = row_count;
    if least(p_probes, p_batch - v_taken) > 0 then
        v_probes := 0;
        if exists (select from hookd.host h where h.probe_at <= hookd.clock() and h.probe_at < 'infinity') then
            -- as many hosts as probes: a lane that has to prove itself gets one
            return query select true, null::float8, c.* from hookd.claim(p_probe_token, least(p_probes, p_batch - v_taken),
                least(p_probes, p_batch - v_taken), p_lease, true, p_among, p_rank, p_daemons, p_full_probes, p_most_of_org_probes) c;
            get diagnostics v_probes = row_count;
        end if;
    end if;
    if v_taken + coalesce(v_probes, 0) < p_batch then
        -- without room for a probe, only a result can help the unproven
        select least(n.ready, case when v_probes is not null then n.probe end) into wait
        from hookd.next_due(p_rank, p_daemons, p_full, p_full_probes) n;
        return next;
    end if;
end $$;
