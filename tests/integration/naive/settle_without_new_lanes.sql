-- Broken: whoever makes a lane due earlier does not lower its host's floor.
alter function hookd.settle_hosts rename to settle_hosts_and_floors;
create function hookd.settle_hosts(p_hosts integer[], p_subscriptions uuid[], p_now timestamptz) returns void
language sql volatile as $$ select hookd.settle_hosts_and_floors(p_hosts, '{}', p_now) $$;
