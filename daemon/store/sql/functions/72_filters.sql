-- What becomes of filters that are not evaluated: those that were stored before they were checked, and those that fail.

-- Notes what the check of stored filters found: the path of each, or its problem.
create or replace function hookd.filters_checked(p_ids uuid[], p_paths text[], p_problems text[]) returns void
language plpgsql volatile as $$
begin
    update hookd.subscription s set filter_path = x.path, filter_problem = x.problem,
        revision = s.revision + case when x.problem is not null then 1 else 0 end
    from unnest(p_ids, p_paths, p_problems) x(id, path, problem) where s.id = x.id;
    update hookd.interest i set filter = x.path::jsonpath,
        filter_blocked_until = case when x.problem is not null then 'infinity'::timestamptz end
    from unnest(p_ids, p_paths, p_problems) x(id, path, problem) join hookd.subscription s on s.id = x.id
    where i.org_id = s.org_id and i.pattern = any (s.events) and i.subscription_id = s.id;
end $$;

-- The filters that the next rounds of shards (p_shards; null: of all with a burst alone, or of all without) look at, by event
-- and in the order of rounds: for each shard no more than a round of p_limit events and p_budget deliveries meets.
create or replace function hookd.filters_ahead(p_shards smallint[], p_bulk boolean, p_limit integer, p_budget integer)
returns table (org_id uuid, event_id uuid, subscription_id uuid)
language plpgsql volatile as $$
#variable_conflict use_column
declare
    v_now   timestamptz := hookd.clock();
    v_shard smallint;
begin
    for v_shard in
        select s.shard from hookd.inbox_shard s
        where s.shard = any (p_shards) or p_shards is null and (p_bulk is null or p_bulk = (s.bulk_orgs <> '{}'))
    loop
        return query
            select e.org_id, e.event_id, i.subscription_id
            from ( -- whoever's turn it is, it may become that of all
                select t.* from hookd.next_range(v_shard) t
                union all
                select hookd.inbox_floor(s.floor), '00000000-0000-0000-0000-000000000000',
                    '00000000-0000-0000-0000-000000000000', '{}'::uuid[]
                from hookd.inbox_shard s where s.shard = v_shard and s.others_next) t
            cross join lateral hookd.next_events(v_shard, t.xid, t.org_id, t.id, t.skip, p_limit) with ordinality
                e(place, xid, event_id, org_id, type, data, deliver_after, routed_to, n)
            cross join lateral unnest(hookd.patterns(e.type)) p(pattern)
            cross join lateral (
                select j.subscription_id from hookd.interest j
                where j.org_id = e.org_id and j.pattern = p.pattern and j.filter is not null
                    and j.subscription_id > coalesce(e.routed_to, '00000000-0000-0000-0000-000000000000')
                    and not coalesce(j.filter_blocked_until > v_now, false)
                order by j.subscription_id limit p_budget + 1) i
            order by e.n, i.subscription_id limit 2 * (p_budget + 1);
    end loop;
end $$;

-- Evaluates the filter of a subscription on an event that is still to be routed, for whoever wants to see it fail.
create or replace function hookd.try_filter(p_org_id uuid, p_event_id uuid, p_subscription_id uuid) returns boolean
language plpgsql volatile as $$
begin
    return (
        select bool_or(hookd.matches(d.data, i.filter))
        from hookd.event e
        cross join lateral (
            select coalesce(hookd.data_of(e.body), (
                select o.data from hookd.inbox o
                where o.shard = uuid_hash(p_org_id) & 31 and o.xid = e.xid and o.org_id = p_org_id and o.event_id = p_event_id))
                as data offset 0) d
        join hookd.interest i on i.org_id = p_org_id and i.pattern = any (hookd.patterns(e.type))
            and i.subscription_id = p_subscription_id and i.filter is not null
        where e.org_id = p_org_id and e.id = p_event_id);
end $$;

-- Lets routing pass over a filter that failed: for p_time if it is as the check wrote it, else until its owner sets another, and
-- then p_problem says why. True in the second case.
create or replace function hookd.block_filter(p_org_id uuid, p_subscription_id uuid, p_time interval, p_problem text)
returns boolean
language plpgsql volatile as $$
declare
    v_until timestamptz := hookd.clock() + p_time;
begin
    if hookd.lock_subscription(p_org_id, p_subscription_id) is null then
        return false;
    end if;
    if exists (
        select from hookd.interest i join hookd.subscription s on s.id = i.subscription_id
        where i.org_id = p_org_id and i.subscription_id = p_subscription_id and i.pattern = any (s.events)
            and i.filter is not null and i.filter::text is distinct from s.filter_path::jsonpath::text) then
        v_until := 'infinity';
        update hookd.subscription s set filter_problem = p_problem, revision = s.revision + 1 where s.id = p_subscription_id;
    end if;
    update hookd.interest i set filter_blocked_until = v_until
    from hookd.subscription s
    where s.id = p_subscription_id and i.org_id = s.org_id and i.pattern = any (s.events) and i.subscription_id = s.id;
    return v_until = 'infinity';
end $$;
