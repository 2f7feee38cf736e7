-- Broken: locks hosts in the order in which it meets them.
create or replace function hookd.lock_hosts(p_hosts integer[]) returns void language plpgsql volatile as $$
declare
    v_host integer;
begin
    foreach v_host in array p_hosts loop
        perform from hookd.host h where h.id = v_host for no key update;
    end loop;
end $$;
