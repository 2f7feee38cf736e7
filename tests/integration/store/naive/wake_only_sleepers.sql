-- Broken: whoever wakes a host looks first whether it sleeps, at a row that a claim may be about to change.
create or replace function hookd.lock_hosts(p_hosts integer[]) returns void language plpgsql volatile as $$
begin
    perform from hookd.host h where h.id = any (p_hosts) and h.ready_at > hookd.clock() order by h.id for no key update;
end $$;
alter function hookd.settle_hosts rename to settle_hosts_locked;
create function hookd.settle_hosts(
    p_ids integer[], p_now timestamptz, p_lanes uuid[] default null, p_taken integer[] default null,
    p_flown integer[] default null, p_failed timestamptz[] default null, p_waited integer[] default null,
    p_answered boolean[] default null, p_lanes_taken integer[] default null, p_lanes_flown integer[] default null,
    p_by integer default null
) returns void
language plpgsql volatile as $$
begin
    if current_setting('test.waking', true) is null then -- a claim: it has the lock
        perform hookd.settle_hosts_locked(p_ids, p_now, p_lanes, p_taken, p_flown, p_failed, p_waited, p_answered,
            p_lanes_taken, p_lanes_flown, p_by);
    else
        perform hookd.settle_hosts_locked(
            array(select h.id from hookd.host h where h.id = any (p_ids) and h.ready_at > p_now), p_now, p_lanes);
    end if;
end $$;
