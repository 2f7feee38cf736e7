-- Broken: what a dead daemon held goes back, but the hosts still count it as under way.
create function hookd.reap() returns void language sql volatile as $$
    update hookd.delivery d set lease = null, host_id = null from hookd.lease e
    where d.lease = e.token and e.until <= hookd.clock();
    delete from hookd.lease e where e.until <= hookd.clock();
$$;
