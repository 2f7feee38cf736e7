-- Whoever changes what is pending at a host holds its lock.

-- Locks hosts in the one order that everybody uses. They are locked whatever they say now: a claim under way may be
-- about to put one of them to sleep.
create or replace function hookd.lock_hosts(p_hosts integer[]) returns void language plpgsql volatile as $$
begin
    perform from hookd.host h where h.id = any (p_hosts) order by h.id for no key update;
end $$;

-- After the locks are had: a lane may have moved to a host that is not locked. Then the whole unit starts again.
create or replace function hookd.check_lanes_locked(p_subscriptions uuid[], p_hosts integer[]) returns void
language plpgsql volatile as $$
begin
    if exists (select from hookd.lane l where l.subscription_id = any (p_subscriptions) and l.host_id <> all (p_hosts)) then
        raise exception 'a subscription moved to another host meanwhile' using errcode = '40001', hint = 'Try again.';
    end if;
end $$;
