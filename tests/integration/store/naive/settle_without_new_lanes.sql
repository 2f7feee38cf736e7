-- Broken: whoever makes a lane due earlier does not lower its host's floor.
alter function hookd.settle_hosts rename to settle_hosts_and_floors;
create function hookd.settle_hosts(
    p_ids integer[], p_now timestamptz, p_lanes uuid[] default null, p_taken integer[] default null,
    p_flown integer[] default null, p_failed timestamptz[] default null, p_waited integer[] default null,
    p_answered boolean[] default null, p_lanes_taken integer[] default null, p_lanes_flown integer[] default null,
    p_by integer default null
) returns void
language sql volatile as $$
    select hookd.settle_hosts_and_floors(p_ids, p_now, null, p_taken, p_flown, p_failed, p_waited, p_answered)
$$;
