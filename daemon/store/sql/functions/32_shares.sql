-- Several organisations share a host by one rule: each may have as many requests under way there as are still free. So one
-- that is slow gets half of them at most, two of them a third each, and whoever comes finds room. A host with one
-- organisation is all its own, and its share is not kept up. The caller holds the host's lock, and settles it afterwards.

-- So many lanes of an organisation come to a host, with requests under way. They are in hookd.lane already.
create or replace function hookd.join_host(p_host integer, p_org_id uuid, p_lanes integer default 1, p_in_flight integer default 0)
returns void
language plpgsql volatile as $$
begin
    insert into hookd.host_share as s (host_id, org_id, lanes, in_flight) values (p_host, p_org_id, p_lanes, p_in_flight)
    on conflict (host_id, org_id) do update set lanes = s.lanes + p_lanes, in_flight = s.in_flight + p_in_flight;
    perform hookd.own_host(p_host);
end $$;

-- A lane is about to leave its host: it may not wake it any more.
create or replace function hookd.leave_host(p_lane uuid, p_now timestamptz) returns void language plpgsql volatile as $$
declare
    v_lane hookd.lane;
begin
    update hookd.lane l set due = 'infinity' where l.subscription_id = p_lane returning * into v_lane;
    perform hookd.settle_shares(array[p_lane], p_now);
    update hookd.host_share s set lanes = s.lanes - 1, in_flight = s.in_flight - v_lane.in_flight
    where s.host_id = v_lane.host_id and s.org_id = v_lane.org_id;
    delete from hookd.host_share s where s.host_id = v_lane.host_id and s.org_id = v_lane.org_id and s.lanes <= 0;
    perform hookd.own_host(v_lane.host_id);
end $$;

-- Whose the host is, after organisations came or left.
create or replace function hookd.own_host(p_host integer) returns void language plpgsql volatile as $$
declare
    v_orgs uuid[] := array(select s.org_id from hookd.host_share s where s.host_id = p_host limit 2);
begin
    update hookd.host h set owner = x.org_id, ready_floor = '-infinity', probe_floor = '-infinity'
    from (select case when cardinality(v_orgs) = 1 then v_orgs[1] end as org_id) x
    where h.id = p_host and h.owner is distinct from x.org_id;
    if found and cardinality(v_orgs) > 1 then
        perform hookd.recount_shares(p_host);
    end if;
end $$;

-- Works out the shares of a host anew from what is leased and due.
create or replace function hookd.recount_shares(p_host integer) returns void language plpgsql volatile as $$
begin
    with held as materialized (
        select l.org_id, count(*)::integer as n
        from hookd.held() d cross join lateral (
            select k.org_id from hookd.lane k where k.subscription_id = d.subscription_id and k.host_id = p_host offset 0) l
        group by l.org_id)
    update hookd.host_share s set in_flight = coalesce(held.n, 0), ready_at = x.ready, probe_at = x.probe,
        ready_floor = x.ready, probe_floor = x.probe
    from hookd.host_share k
    left join held on held.org_id = k.org_id
    cross join lateral (
        select
            coalesce((
                select l.due from hookd.lane l
                where l.host_id = k.host_id and l.org_id = k.org_id and l.proven and l.due < 'infinity'
                order by l.due limit 1), 'infinity') as ready,
            coalesce((
                select l.due from hookd.lane l
                where l.host_id = k.host_id and l.org_id = k.org_id and not l.proven and l.due < 'infinity'
                order by l.due limit 1), 'infinity') as probe offset 0) x
    where k.host_id = p_host and s.host_id = k.host_id and s.org_id = k.org_id;
end $$;

-- The shares of organisations of which lanes were settled, at hosts with several. p_taken, p_flown: deliveries of these lanes
-- that a claim leased, and results that are back.
create or replace function hookd.settle_shares(
    p_lanes uuid[], p_now timestamptz, p_taken integer[] default null, p_flown integer[] default null
) returns void
language plpgsql volatile as $$
begin
    update hookd.host_share s set
        in_flight = x.in_flight,
        ready_floor = x.ready,
        probe_floor = x.probe,
        ready_at = hookd.turn_at(s.ready_at, x.ready, x.ready_taken, p_now),
        probe_at = hookd.turn_at(s.probe_at, x.probe, x.probe_taken, p_now)
    from (
        select k.place, k.in_flight + t.come as in_flight, t.ready_taken, t.probe_taken,
            least(t.ready, coalesce((
                select l.due from hookd.lane l
                where l.host_id = t.host_id and l.org_id = t.org_id and l.proven and l.due >= k.ready_floor
                    and l.due < 'infinity'
                order by l.due limit 1), 'infinity')) as ready,
            least(t.probe, coalesce((
                select l.due from hookd.lane l
                where l.host_id = t.host_id and l.org_id = t.org_id and not l.proven and l.due >= k.probe_floor
                    and l.due < 'infinity'
                order by l.due limit 1), 'infinity')) as probe
        from (
            select l.host_id, l.org_id, sum(coalesce(y.taken, 0) - coalesce(y.flown, 0))::integer as come,
                sum(y.taken) filter (where l.proven) as ready_taken, min(l.due) filter (where l.proven) as ready,
                sum(y.taken) filter (where not l.proven) as probe_taken, min(l.due) filter (where not l.proven) as probe
            from unnest(p_lanes, p_taken, p_flown) y(id, taken, flown)
            cross join lateral (select * from hookd.lane k where k.subscription_id = y.id offset 0) l
            group by l.host_id, l.org_id) t
        cross join lateral (
            select h.ctid as place, h.in_flight, h.ready_floor, h.probe_floor from hookd.host_share h
            where h.host_id = t.host_id and h.org_id = t.org_id
                and (select g.owner from hookd.host g where g.id = t.host_id) is null offset 0) k
        offset 0
    ) x
    where s.ctid = x.place;
end $$;

-- Since when an organisation waits for its turn. p_first: when its first lane is due; p_taken: what it was given now, with
-- which it goes to the back, the further the more it was.
create or replace function hookd.turn_at(p_at timestamptz, p_first timestamptz, p_taken bigint, p_now timestamptz)
returns timestamptz
language sql stable parallel safe as $$
    select case
        when p_first > p_now or p_at > p_now then p_first
        when p_taken > 0 then greatest(p_at, p_now + interval '1 microsecond' * (least(p_taken, 1000) - 1000))
        else p_at end
$$;
