-- Leases up to p_batch due deliveries of up to p_hosts due hosts under the random token p_token. Hosts come longest
-- waiting first, a host's lanes take turns. p_probe: take from lanes that have not answered in time of late and from hosts
-- whose circuit is half open, instead of from the proven ones. The same token gives the lease back (record()).
create or replace function hookd.claim(p_token uuid, p_batch integer, p_hosts integer, p_lease interval, p_probe boolean)
returns table (delivery_id uuid, subscription_id uuid, host_id integer, event_id uuid, attempt smallint, failures smallint,
    revision integer, event_type text, body text)
language plpgsql volatile as $$
#variable_conflict use_column
declare
    v_now   timestamptz := hookd.clock();
    v_hosts integer[];
    v_rooms integer[];
    v_open  boolean[]; -- the host's circuit is open: lanes of either kind may be its probe
    v_share integer;
    v_lanes uuid[];
    v_homes integer[];
    v_rows  integer[];
    v_ids   uuid[];
    v_from  uuid[];
    v_at    integer[];
    v_taken integer[];
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'the queue needs read committed transactions'
            using hint = 'Reset default_transaction_isolation for hookd''s role.';
    end if;
    perform set_config('synchronous_commit', 'off', true); -- a lost claim is only claimed again
    if p_probe then
        select array_agg(x.id), array_agg(hookd.room(x, v_now)), array_agg(hookd.circuit_open(x.circuit_failures))
        into v_hosts, v_rooms, v_open from (
            select * from hookd.host h where h.probe_at <= v_now and h.probe_at < 'infinity'
            order by h.probe_at limit p_hosts for no key update skip locked) x;
    else
        select array_agg(x.id), array_agg(hookd.room(x, v_now)), array_agg(false)
        into v_hosts, v_rooms, v_open from (
            select * from hookd.host h where h.ready_at <= v_now and h.ready_at < 'infinity'
            order by h.ready_at limit p_hosts for no key update skip locked) x;
    end if;
    if v_hosts is null then
        return;
    end if;
    v_share := greatest(1, ceil(p_batch::float8 / cardinality(v_hosts)));

    -- a second statement: it sees what was committed before the locks of the hosts were had
    select array_agg(z.subscription_id order by z.place, z.turn), array_agg(z.id order by z.place, z.turn),
        array_agg(z.n order by z.place, z.turn) into v_lanes, v_homes, v_rows from (
        select y.place, y.turn, y.subscription_id, y.id, least(y.space, y.room / y.lanes + (y.turn <= y.room % y.lanes)::integer)::integer as n
        from (
            select l.subscription_id, r.id, r.place, l.space, least(r.room, v_share) as room,
                row_number() over (partition by r.id order by l.due) as turn, count(*) over (partition by r.id) as lanes
            from unnest(v_hosts, v_rooms, v_open) with ordinality r(id, room, open, place)
            join hookd.host h on h.id = r.id
            cross join unnest(case when r.open then '{true,false}' else array[not p_probe] end) k(proven)
            cross join lateral (
                select l.subscription_id, l.due, l.window_size - l.in_flight as space from hookd.lane l
                where l.host_id = r.id and l.proven = k.proven and l.due <= v_now and l.due < 'infinity'
                    and l.due >= case when k.proven then h.ready_floor else h.probe_floor end
                order by l.due limit least(r.room, v_share)) l
        ) y
    ) z where z.n > 0;

    if v_lanes is not null then
        with pick as (
            select d.id, d.subscription_id, t.host_id
            from unnest(v_lanes, v_homes, v_rows) t(subscription_id, host_id, n)
            join hookd.lane l on l.subscription_id = t.subscription_id
            cross join lateral (
                select d.id, d.subscription_id from hookd.delivery d
                where d.subscription_id = t.subscription_id and d.lease is null and d.due >= l.floor and d.due <= v_now
                order by d.due limit t.n) d
            limit p_batch),
        taken as (
            update hookd.delivery d set lease = p_token, host_id = p.host_id, attempt = d.attempt + 1
            from pick p where d.id = p.id
            returning d.id, d.subscription_id, d.host_id)
        select array_agg(t.id), array_agg(t.subscription_id), array_agg(t.host_id) into v_ids, v_from, v_at from taken t;

        select array_agg(coalesce(c.n, 0) order by t.k) into v_taken
        from unnest(v_lanes) with ordinality t(id, k)
        left join (select f, count(*)::integer as n from unnest(v_from) f group by f) c on c.f = t.id;
        perform hookd.settle_lanes(v_lanes, v_now, p_taken => v_taken);
        if v_ids is not null then
            insert into hookd.lease (token, until, deliveries) values (p_token, v_now + p_lease, v_ids);
        end if;
    end if;

    select array_agg(coalesce(c.n, 0) order by t.k) into v_taken
    from unnest(v_hosts) with ordinality t(id, k)
    left join (select a, count(*)::integer as n from unnest(v_at) a group by a) c on c.a = t.id;
    perform hookd.settle_hosts(v_hosts, v_now, p_taken => v_taken);

    return query
        select d.id, d.subscription_id, d.host_id, d.event_id, d.attempt, d.failures, s.revision, e.type, e.body
        from hookd.delivery d
        join hookd.subscription s on s.id = d.subscription_id
        -- lateral with offset 0: else a cached plan may join over full index scans of every event partition
        cross join lateral (select v.type, v.body from hookd.event v where v.id = d.event_id offset 0) e
        where d.id = any (v_ids);
end $$;

-- How many requests a host may be sent now.
create or replace function hookd.room(p_host hookd.host, p_now timestamptz) returns integer
language sql immutable parallel safe as $$
    select case
        when not hookd.circuit_open(p_host.circuit_failures)
            then greatest(0, least(p_host.cap - p_host.in_flight, floor(hookd.tokens_at(p_host, p_now))))::integer
        when p_host.in_flight = 0 and p_host.blocked_until <= p_now and hookd.tokens_at(p_host, p_now) >= 1
            then 1
        else 0 end
$$;
