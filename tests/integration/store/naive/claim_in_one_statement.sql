-- Broken: locks the host and reads its lanes under one snapshot, which is older than the lock.
create or replace function hookd.claim(
    p_token uuid, p_batch integer, p_hosts integer, p_lease interval, p_probe boolean, p_among integer[] default null,
    p_rank integer default 0, p_daemons integer default 1, p_full uuid[] default '{}', p_most_of_org integer default null)
returns table (delivery_id uuid, subscription_id uuid, host_id integer, event_id uuid, event_type text, attempt smallint,
    failures smallint, revision integer, body text, org_id uuid)
language sql volatile as $$
    with h as materialized (
        select h.id from hookd.host h where h.ready_at <= hookd.clock() and h.ready_at < 'infinity'
        order by h.ready_at limit p_hosts for no key update skip locked),
    taken as (
        update hookd.delivery d set lease = p_token, host_id = h.id, attempt = d.attempt + 1
        from hookd.lane l, h where l.host_id = h.id and l.due < 'infinity' and d.subscription_id = l.subscription_id
            and d.lease is null
        returning d.*),
    lanes as (
        update hookd.lane l set due = 'infinity', floor = 'infinity', in_flight = in_flight + t.n
        from (select subscription_id, count(*)::integer as n from taken group by 1) t
        where l.subscription_id = t.subscription_id),
    hosts as (
        update hookd.host g set ready_at = 'infinity', ready_floor = 'infinity', in_flight = in_flight + t.n
        from (select host_id, count(*)::integer as n from taken group by 1) t where g.id = t.host_id)
    select t.id, t.subscription_id, t.host_id, t.event_id, 't', t.attempt, t.failures, 1, '{}',
        gen_random_uuid()
    from taken t
$$;
