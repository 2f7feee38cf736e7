-- What a lease holds, with the type of its event; '' where that is not kept any more.
create or replace function hookd.held_under(p_token uuid)
returns table (delivery_id uuid, subscription_id uuid, host_id integer, event_id uuid, event_type text, attempt smallint)
language sql stable as $$
    select delivery.id, delivery.subscription_id, delivery.host_id, delivery.event_id, coalesce(event.type, ''), delivery.attempt
    from hookd.lease
    cross join lateral (
        select held.* from unnest(lease.deliveries) claimed(id) cross join lateral (
            select * from hookd.delivery d where d.id = claimed.id and d.lease = lease.token offset 0) held offset 0) delivery
    left join hookd.subscription on subscription.id = delivery.subscription_id
    left join lateral (
        select e.type from hookd.event e where e.org_id = subscription.org_id and e.id = delivery.event_id offset 0) event
        on true
    where lease.token = p_token
$$;

-- What leases past their end still hold: the sweeper records it as interrupted.
create or replace function hookd.expired_leases(p_limit integer)
returns table (token uuid, delivery_id uuid, subscription_id uuid, host_id integer, event_id uuid, event_type text, attempt smallint)
language plpgsql volatile as $$
#variable_conflict use_column
begin
    perform hookd.fresh_plans();
    return query
        select expired.token, held.*
        from (select * from hookd.lease where lease.until <= hookd.clock() order by lease.until limit p_limit) expired
        left join lateral hookd.held_under(expired.token) held on true;
end $$;

-- What a claim whose answer was lost holds: it goes back unsent.
create or replace function hookd.leased(p_token uuid)
returns table (token uuid, delivery_id uuid, subscription_id uuid, host_id integer, event_id uuid, event_type text, attempt smallint)
language plpgsql volatile as $$
#variable_conflict use_column
begin
    perform hookd.fresh_plans();
    return query select p_token, held.* from hookd.held_under(p_token) held;
end $$;
