-- What operators watch of the whole database, in one row, for less than it costs to count a large queue: what is counted is
-- counted up to a limit, and what is looked through ends after some thousand rows.
--   due, oldest_due: deliveries of active subscriptions whose time has come and that nobody sends, up to p_most, and for how
--     many seconds the oldest has been due. pending: an estimate of all that is pending, null where Postgres has none.
--   inbox, inbox_oldest: events that are not yet routed, up to p_most, and the oldest's age in seconds.
--   circuits, full_hosts, paced_hosts: hosts with pending deliveries and have an open circuit, as many requests under way
--     as they may have, or must wait for their rate.
--   partitions: seconds for which there are partitions ahead.
--   holders, held_transactions, held_seconds: who keeps Postgres from removing dead rows, the oldest of each kind. Other
--     accounts' sessions show only to members of pg_read_all_stats.
create or replace function hookd.observe(p_most integer, p_lanes integer)
returns table (due bigint, oldest_due float8, pending float8, inbox bigint, inbox_oldest float8, circuits bigint,
    full_hosts bigint, paced_hosts bigint, partitions float8, holders text[], held_transactions bigint[],
    held_seconds float8[])
language plpgsql volatile as $$
#variable_conflict use_column
declare
    v_now  timestamptz := hookd.clock();
    v_leased_lanes uuid[];
    v_leased_hosts integer[];
begin
    perform hookd.fresh_plans();
    select array_agg(distinct d.subscription_id), array_agg(distinct d.host_id) into v_leased_lanes, v_leased_hosts
    from (select x.id from hookd.lease e cross join lateral unnest(e.deliveries) x(id) limit p_lanes) u
    cross join lateral (
        select g.subscription_id, g.host_id from hookd.delivery g where g.id = u.id and g.lease is not null offset 0) d;

    -- Lanes with something pending are in lane_due, save those that have all their requests under way.
    with lanes as materialized (
        select l.subscription_id, l.floor
        from (select k.subscription_id, k.floor from hookd.lane k where k.due < 'infinity' limit p_lanes) l
        where l.floor <= v_now
        union
        select l.subscription_id, l.floor
        from unnest(v_leased_lanes) u(id) cross join lateral (
            select k.* from hookd.lane k where k.subscription_id = u.id offset 0) l
        where l.active and l.floor <= v_now),
    firsts as (
        select d.due from lanes l cross join lateral (
            select g.due from hookd.delivery g
            where g.subscription_id = l.subscription_id and g.lease is null and g.due >= l.floor and g.due <= v_now
            order by g.due limit 1) d)
    select c.n, extract(epoch from v_now - (select min(f.due) from firsts f))::float8 into due, oldest_due
    from (select count(*) as n from (
        select from lanes l cross join lateral (
            select from hookd.delivery g
            where g.subscription_id = l.subscription_id and g.lease is null and g.due >= l.floor and g.due <= v_now
            limit p_most) d
        limit p_most) x) c;

    select case when c.reltuples >= 0 and c.relpages > 0
        then c.reltuples::float8 / c.relpages * (pg_relation_size(c.oid) / current_setting('block_size')::integer) end
    into pending from pg_class c where c.oid = 'hookd.delivery'::regclass;

    select count(*), extract(epoch from v_now - min(x.published))::float8 into inbox, inbox_oldest from (
        select case when i.n = 1 then hookd.uuid7_time(i.event_id) end as published
        from hookd.inbox_shard s cross join lateral (
            select j.event_id, row_number() over (order by j.xid, j.org_id, j.event_id) as n from hookd.inbox j
            where j.shard = s.shard -- from its beginning: a wrong floor is among what is watched
            order by j.xid, j.org_id, j.event_id limit p_most) i
        limit p_most) x;

    select count(*) filter (where h.open), count(*) filter (where not h.open and h.in_flight >= h.max_in_flight),
        count(*) filter (where not h.open and h.in_flight < h.max_in_flight and h.tokens < 1
            and least(h.ready_floor, h.probe_floor) <= v_now)
    into circuits, full_hosts, paced_hosts
    from (
        select k.in_flight, k.max_in_flight, k.ready_floor, k.probe_floor, hookd.tokens_at(k, v_now) as tokens,
            hookd.circuit_open(k.circuit_failures) as open
        from (
            select * from (select a.id from hookd.host a where a.ready_at < 'infinity' order by a.ready_at limit p_lanes) a
            union select * from (
                select b.id from hookd.host b where b.probe_at < 'infinity' order by b.probe_at limit p_lanes) b
            union select unnest(v_leased_hosts)) u
        cross join lateral (select g.* from hookd.host g where g.id = u.id offset 0) k) h;

    partitions := extract(epoch from hookd.partitioned_until(v_now) - v_now)::float8;

    select array_agg(x.kind order by x.kind), array_agg(x.transactions order by x.kind), array_agg(x.seconds order by x.kind)
    into holders, held_transactions, held_seconds from (
        select y.kind, max(y.transactions) as transactions, max(y.seconds) as seconds from (
            -- a vacuum holds nobody up; sessions of other databases hold up only those
            select 'backend' as kind, greatest(age(a.backend_xid), age(a.backend_xmin))::bigint as transactions,
                extract(epoch from clock_timestamp() - a.xact_start)::float8 as seconds
            from pg_stat_activity a
            where a.datname = current_database() and a.pid <> pg_backend_pid()
                and a.backend_type not in ('autovacuum worker', 'walsender')
                and coalesce(a.backend_xid, a.backend_xmin) is not null
            union all select 'standby', age(r.backend_xmin), null from pg_stat_replication r where r.backend_xmin is not null
            union all select 'slot', age(s.xmin), null from pg_replication_slots s where s.xmin is not null
            union all select 'prepared_transaction', age(p.transaction), extract(epoch from clock_timestamp() - p.prepared)
            from pg_prepared_xacts p where p.database = current_database()) y
        group by y.kind) x;
    return next;
end $$;
