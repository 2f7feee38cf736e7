-- Owes the event of a delivery to its subscription once more, due now, whatever became of that delivery. Returns 'pending' and
-- the new delivery; 'missing': the organisation has no such delivery; 'expired': its event is not kept any more;
-- 'unrepresentable': the event has no body that could be sent.
create or replace function hookd.redeliver(
    p_org_id uuid, p_subscription_id uuid, p_delivery_id uuid, out outcome text, out delivery_id uuid
)
language plpgsql volatile as $$
declare
    v_host    integer := hookd.lock_subscription(p_org_id, p_subscription_id);
    v_now     timestamptz := hookd.clock();
    v_event   uuid;
    v_problem text;
begin
    if v_host is not null then
        select coalesce(
            (select d.event_id from hookd.delivery d where d.id = p_delivery_id and d.subscription_id = p_subscription_id),
            (select a.event_id from hookd.attempts_of(p_subscription_id, p_delivery_id, 1) a)) into v_event;
    end if;
    if v_event is null then
        outcome := 'missing';
        return;
    end if;
    select e.problem into v_problem from hookd.event e where e.org_id = p_org_id and e.id = v_event;
    if not found then
        outcome := 'expired';
    elsif v_problem is not null then
        outcome := 'unrepresentable';
    else
        outcome := 'pending';
        delivery_id := hookd.uuid7(v_now);
        insert into hookd.delivery (id, subscription_id, event_id, due)
        values (delivery_id, p_subscription_id, v_event, v_now);
        perform hookd.settle_subscription(p_subscription_id, v_host, v_now, p_early => v_now);
    end if;
end $$;

-- Makes a delivery that is pending due now, before the time that its schedule or deliver_after gives; in strict order its lane does
-- not wait for it any more. What holds the lane goes on to do so. Returns 'due', 'sending' where it is under way, 'ended' where
-- it is not pending any more, or 'missing': the organisation has no such delivery.
create or replace function hookd.retry_now(p_org_id uuid, p_subscription_id uuid, p_delivery_id uuid) returns text
language plpgsql volatile as $$
declare
    v_host     integer := hookd.lock_subscription(p_org_id, p_subscription_id);
    v_now      timestamptz := hookd.clock();
    v_leased   boolean;
    v_failures integer;
begin
    if v_host is null then
        return 'missing';
    end if;
    select d.lease is not null, d.failures into v_leased, v_failures
    from hookd.delivery d where d.id = p_delivery_id and d.subscription_id = p_subscription_id;
    if not found then
        return case when exists (select from hookd.attempts_of(p_subscription_id, p_delivery_id, 1)) then 'ended' else 'missing' end;
    end if;
    if v_leased then
        return 'sending';
    end if;
    update hookd.delivery d set due = least(d.due, v_now) where d.id = p_delivery_id;
    if v_failures > 0 then
        update hookd.lane l set hold_until = '-infinity' where l.subscription_id = p_subscription_id and l.ordered;
    end if;
    perform hookd.settle_subscription(p_subscription_id, v_host, v_now, p_early => v_now);
    return 'due';
end $$;
