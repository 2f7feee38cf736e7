-- Broken: locks hosts in whatever order they come.
create or replace function hookd.lock_hosts(p_hosts integer[]) returns void language plpgsql volatile as $$
declare
    v_host integer;
begin
    for v_host in select x from unnest(p_hosts) x order by random() loop
        perform from hookd.host h where h.id = v_host for no key update;
    end loop;
end $$;
