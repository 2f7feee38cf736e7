-- Broken: the lanes of a host take turns, whosever they are, so that one organisation's slow requests fill it.
create or replace function hookd.own_host(p_host integer) returns void language sql volatile as $$
    update hookd.host h set owner = '00000000-0000-0000-0000-000000000000' where h.id = p_host;
    update hookd.lane l set org_id = '00000000-0000-0000-0000-000000000000' where l.host_id = p_host
$$;
