-- The lane and the host of each delivery that a lease holds.
create or replace function hookd.held() returns table (subscription_id uuid, host_id integer) language sql stable as $$
    select d.subscription_id, d.host_id from hookd.lease e
    cross join lateral (select f.* from unnest(e.deliveries) u(id) cross join lateral (
        select g.subscription_id, g.host_id from hookd.delivery g
        where g.id = u.id and g.lease = e.token offset 0) f offset 0) d
$$;

-- The safety net: looks at hosts p_after < id anew without trusting any floor or counter, corrects what is off and
-- returns the last host it looked at (null: none left), how many counters it corrected and how many were asleep with work.
-- It looks without locks, at one moment at which every change of the queue is whole or has not been; only hosts at which
-- something is off are locked, and looked at again.
create or replace function hookd.repair(p_after integer, p_limit integer)
returns table (last_host integer, drifted integer, asleep integer)
language plpgsql volatile as $$
#variable_conflict use_column
declare
    v_now   timestamptz := hookd.clock();
    v_hosts integer[];
    v_subs  uuid[];
    v_due   integer[];
begin
    select array_agg(x.id order by x.id) into v_hosts from (
        select h.id from hookd.host h where h.id > p_after order by h.id limit p_limit) x;
    if v_hosts is null then
        return;
    end if;
    last_host := v_hosts[cardinality(v_hosts)];
    drifted := 0;
    asleep := 0;
    v_hosts := hookd.suspects(v_hosts, v_now);
    if v_hosts is null then
        return next;
        return;
    end if;
    perform hookd.lock_hosts(v_hosts);
    select array_agg(l.subscription_id) into v_subs from hookd.lane l where l.host_id = any (v_hosts);
    select coalesce(array_agg(h.id), '{}') into v_due from hookd.host h
    where h.id = any (v_hosts) and least(h.ready_at, h.probe_at) <= v_now;

    with held as (select * from hookd.held()),
    by_lane as (select subscription_id, count(*)::integer as n from held group by subscription_id),
    by_host as (select host_id, count(*)::integer as n from held group by host_id),
    lanes as (
        update hookd.lane l set in_flight = coalesce(b.n, 0)
        from unnest(v_subs) t(id) left join by_lane b on b.subscription_id = t.id
        where l.subscription_id = t.id and l.in_flight <> coalesce(b.n, 0) returning 1),
    hosts as (
        update hookd.host h set in_flight = coalesce(b.n, 0)
        from unnest(v_hosts) t(id) left join by_host b on b.host_id = t.id
        where h.id = t.id and h.in_flight <> coalesce(b.n, 0) returning 1)
    select (select count(*) from lanes) + (select count(*) from hosts) into drifted;
    drifted := drifted + hookd.repair_shares(v_hosts);

    update hookd.host h set ready_floor = '-infinity', probe_floor = '-infinity' where h.id = any (v_hosts);
    perform hookd.settle_lanes(v_subs, v_now, array_fill('-infinity'::timestamptz, array[coalesce(cardinality(v_subs), 0)]));
    perform hookd.settle_hosts(v_hosts, v_now, v_subs);
    select count(*) into asleep from hookd.host h
    where h.id = any (v_hosts) and h.id <> all (v_due) and least(h.ready_at, h.probe_at) <= v_now;
    return next;
end $$;

-- Writes anew which organisations have lanes at these hosts, and how many requests each has under way at a host of several.
-- Returns how many counters were off.
create or replace function hookd.repair_shares(p_hosts integer[]) returns integer language plpgsql volatile as $$
declare
    v_host    integer;
    v_drifted integer;
begin
    with lanes as (
        select l.host_id, l.org_id, count(*)::integer as lanes, sum(l.in_flight)::integer as in_flight
        from hookd.lane l where l.host_id = any (p_hosts) group by l.host_id, l.org_id),
    gone as (
        delete from hookd.host_share s where s.host_id = any (p_hosts) and not exists (
            select from lanes l where l.host_id = s.host_id and l.org_id = s.org_id)
        returning 1),
    written as (
        insert into hookd.host_share as s (host_id, org_id, lanes, in_flight) select * from lanes
        on conflict (host_id, org_id) do update set lanes = excluded.lanes, in_flight = excluded.in_flight
        where s.lanes <> excluded.lanes or s.in_flight <> excluded.in_flight and exists (
            select from hookd.host h where h.id = s.host_id and h.owner is null)
        returning 1)
    select (select count(*) from gone) + (select count(*) from written) into v_drifted;
    foreach v_host in array p_hosts loop
        perform hookd.own_host(v_host);
    end loop;
    update hookd.host_share s set ready_floor = '-infinity', probe_floor = '-infinity' where s.host_id = any (p_hosts);
    return v_drifted;
end $$;

-- Of these hosts, those whose counters or floors are not what is pending and leased says, or that sleep, or a lane of theirs,
-- a second past the moment at which there is work.
create or replace function hookd.suspects(p_hosts integer[], p_now timestamptz) returns integer[]
language sql volatile as $$
    with held as materialized (select * from hookd.held()),
    by_lane as (select subscription_id, count(*)::integer as n from held group by subscription_id),
    by_host as (select host_id, count(*)::integer as n from held group by host_id)
    select array_agg(x.host_id order by x.host_id) from (
        select l.host_id
        from hookd.lane l left join by_lane b on b.subscription_id = l.subscription_id
        cross join lateral (select coalesce((
            select d.due from hookd.delivery d where d.subscription_id = l.subscription_id and d.lease is null
            order by d.due limit 1), 'infinity') as first_due offset 0) o
        where l.host_id = any (p_hosts) and (l.in_flight <> coalesce(b.n, 0) or l.floor > o.first_due
            or l.active and l.in_flight < l.window_size and l.due
                > greatest(o.first_due, l.hold_until, hookd.pace(l.rate, l.paced_until), p_now) + interval '1 second')
        union
        select h.id from (
            select l.host_id, l.org_id, count(*) as lanes, sum(l.in_flight) as in_flight from hookd.lane l
            where l.host_id = any (p_hosts) group by l.host_id, l.org_id) t
        full join (select * from hookd.host_share s where s.host_id = any (p_hosts)) s
            on s.host_id = t.host_id and s.org_id = t.org_id
        join hookd.host h on h.id = coalesce(t.host_id, s.host_id)
        cross join lateral (
            select coalesce((select l.due from hookd.lane l
                    where l.host_id = t.host_id and l.org_id = t.org_id and l.proven and l.due < 'infinity'
                    order by l.due limit 1), 'infinity') as ready,
                coalesce((select l.due from hookd.lane l
                    where l.host_id = t.host_id and l.org_id = t.org_id and not l.proven and l.due < 'infinity'
                    order by l.due limit 1), 'infinity') as probe offset 0) o
        where t.lanes is distinct from s.lanes or h.owner <> t.org_id
            or h.owner is null and (s.in_flight <> t.in_flight or s.ready_floor > o.ready or s.probe_floor > o.probe
                or s.ready_at > greatest(o.ready, p_now) + interval '1 second'
                or s.probe_at > greatest(o.probe, p_now) + interval '1 second')
        union
        select h.id
        from hookd.host h left join by_host b on b.host_id = h.id
        cross join lateral (
            select
                case when h.owner is not null then coalesce((
                    select l.due from hookd.lane l
                    where l.host_id = h.id and l.org_id = h.owner and l.proven and l.due < 'infinity'
                    order by l.due limit 1), 'infinity') else coalesce((
                    select s.ready_at from hookd.host_share s where s.host_id = h.id and s.ready_at < 'infinity'
                    order by s.ready_at limit 1), 'infinity') end as ready_first,
                case when h.owner is not null then coalesce((
                    select l.due from hookd.lane l
                    where l.host_id = h.id and l.org_id = h.owner and l.proven and l.due < 'infinity'
                    order by l.due limit 1), 'infinity') else coalesce((
                    select s.ready_at from hookd.host_share s where s.host_id = h.id and s.ready_at < 'infinity' and s.in_flight < h.max_in_flight - h.in_flight
                    order by s.ready_at limit 1), 'infinity') end as ready,
                case when h.owner is not null then coalesce((
                    select l.due from hookd.lane l
                    where l.host_id = h.id and l.org_id = h.owner and not l.proven and l.due < 'infinity'
                    order by l.due limit 1), 'infinity') else coalesce((
                    select s.probe_at from hookd.host_share s where s.host_id = h.id and s.probe_at < 'infinity'
                    order by s.probe_at limit 1), 'infinity') end as probe_first,
                case when h.owner is not null then coalesce((
                    select l.due from hookd.lane l
                    where l.host_id = h.id and l.org_id = h.owner and not l.proven and l.due < 'infinity'
                    order by l.due limit 1), 'infinity') else coalesce((
                    select s.probe_at from hookd.host_share s where s.host_id = h.id and s.probe_at < 'infinity' and s.in_flight < h.max_in_flight - h.in_flight
                    order by s.probe_at limit 1), 'infinity') end as probe,
                case when h.in_flight >= h.max_in_flight then 'infinity' when hookd.tokens_at(h, p_now) < 1
                    then p_now + make_interval(secs => (1 - hookd.tokens_at(h, p_now)) / h.rate)
                    else p_now end as wait,
                hookd.circuit_open(h.circuit_failures) as open offset 0) o
        where h.id = any (p_hosts) and (h.in_flight <> coalesce(b.n, 0)
            or h.ready_floor > o.ready_first or h.probe_floor > o.probe_first
            or not o.open and h.ready_at > greatest(o.ready, o.wait) + interval '1 second'
            or not o.open and h.probe_at > greatest(o.probe, o.wait) + interval '1 second'
            or o.open and h.in_flight = 0
                and h.probe_at > greatest(least(o.ready, o.probe), o.wait, h.blocked_until) + interval '1 second')) x
$$;
