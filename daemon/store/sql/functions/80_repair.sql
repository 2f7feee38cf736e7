-- The safety net: looks at hosts p_after < id anew without trusting any floor or counter, corrects what is off and
-- returns the last host it looked at (null: none left), how many counters it corrected and how many were asleep with work.
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
        select h.id from hookd.host h where h.id > p_after order by h.id limit p_limit for no key update) x;
    if v_hosts is null then
        return;
    end if;
    select array_agg(l.subscription_id) into v_subs from hookd.lane l where l.host_id = any (v_hosts);
    select coalesce(array_agg(h.id), '{}') into v_due from hookd.host h
    where h.id = any (v_hosts) and least(h.ready_at, h.probe_at) <= v_now;

    with held as (
        select d.subscription_id, d.host_id from hookd.lease e
        cross join lateral (select d.subscription_id, d.host_id from unnest(e.deliveries) u(id)
            join hookd.delivery d on d.id = u.id and d.lease = e.token offset 0) d),
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

    update hookd.host h set ready_floor = '-infinity', probe_floor = '-infinity' where h.id = any (v_hosts);
    perform hookd.settle_lanes(v_subs, v_now, array_fill('-infinity'::timestamptz, array[coalesce(cardinality(v_subs), 0)]));
    perform hookd.settle_hosts(v_hosts, v_now, v_subs);
    select count(*) into asleep from hookd.host h
    where h.id = any (v_hosts) and h.id <> all (v_due) and least(h.ready_at, h.probe_at) <= v_now;
    last_host := v_hosts[cardinality(v_hosts)];
    return next;
end $$;
