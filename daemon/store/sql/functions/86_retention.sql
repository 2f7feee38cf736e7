-- Gives up up to p_limit unleased deliveries of events before p_before, so that nothing owed is dropped in silence: each
-- ends in the history with the reason 'expired'. Returns how many are still owed of such events, leased ones included.
create or replace function hookd.expire(p_before uuid, p_limit integer) returns bigint
language plpgsql volatile as $$
declare
    v_now   timestamptz;
    v_ids   uuid[];
    v_subs  uuid[];
    v_hosts integer[];
begin
    select array_agg(x.id), array_agg(distinct x.subscription_id) into v_ids, v_subs from (
        select d.id, d.subscription_id from hookd.delivery d
        where d.event_id < p_before and d.lease is null limit p_limit) x;
    if v_ids is not null then
        select array_agg(distinct l.host_id) into v_hosts from hookd.lane l where l.subscription_id = any (v_subs);
        perform hookd.lock_hosts(v_hosts);
        perform hookd.check_lanes_locked(v_subs, v_hosts);
        v_now := hookd.clock();
        with gone as (
            delete from hookd.delivery d where d.id = any (v_ids) and d.lease is null
            returning d.id, d.subscription_id, d.event_id, d.attempt)
        insert into hookd.attempt (id, subscription_id, delivery_id, event_id, event_type, attempt, succeeded, error, ended,
            attempted_at)
        select hookd.uuid7(v_now), g.subscription_id, g.id, g.event_id, coalesce(e.type, ''), g.attempt, false, 'expired',
            'expired', v_now
        from gone g
        left join hookd.subscription s on s.id = g.subscription_id
        left join lateral (
            select v.type from hookd.event v where v.org_id = s.org_id and v.id = g.event_id offset 0) e on true;
        perform hookd.settle_lanes(v_subs, v_now);
        perform hookd.settle_hosts(v_hosts, v_now, v_subs);
    end if;
    return (select count(*) from hookd.delivery d where d.event_id < p_before)
        + (select count(*) from hookd.inbox i where i.event_id < p_before);
end $$;
