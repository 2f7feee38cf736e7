-- Floors rest on transaction ids, so they hold in the cluster that gave those. In another one (dump and restore, an upgrade
-- by replication) they start anew: whoever published there before us may have ids below them. What is unrouted comes first
-- there, each organisation's in the order of its ids. Returns whether this is another cluster than the last time.
create or replace function hookd.meet_cluster() returns boolean language plpgsql volatile as $$
declare
    v_here bigint := case when has_function_privilege('pg_control_system()', 'execute')
        then (select s.system_identifier from pg_control_system() s) end;
    v_last bigint := (select c.system_identifier from hookd.cluster c);
begin
    if v_here is null or v_here = v_last then
        return false;
    end if;
    perform from hookd.inbox_shard s order by s.shard for no key update; -- as routers do, before the rows of the inbox
    insert into hookd.cluster as c (system_identifier) values (v_here)
    on conflict (only_row) do update set system_identifier = excluded.system_identifier
    where c.system_identifier <> excluded.system_identifier;
    if not found then
        return false; -- another daemon was quicker
    end if;
    update hookd.event e set xid = '0' from hookd.inbox i where e.org_id = i.org_id and e.id = i.event_id;
    update hookd.inbox i set xid = '0';
    update hookd.inbox_shard s set floor = '0', passed_xid = '0',
        passed_org = '00000000-0000-0000-0000-000000000000', passed_id = '00000000-0000-0000-0000-000000000000';
    return v_last is not null;
end $$;

-- The safety net below the floors, where nothing should be: lowers the floor of a shard that has an event there, and tells
-- whether it did. It meets what is dead and not yet vacuumed, so it is for now and then.
create or replace function hookd.look_below_floor(p_shard smallint) returns boolean language plpgsql volatile as $$
declare
    v_first xid8;
begin
    perform from hookd.inbox_shard s where s.shard = p_shard for no key update skip locked;
    if not found then
        return false; -- a router is at it, and there is always a next time
    end if;
    select i.xid into v_first from hookd.inbox i where i.shard = p_shard order by i.xid, i.org_id, i.event_id limit 1;
    update hookd.inbox_shard s set floor = v_first, passed_xid = '0' where s.shard = p_shard and s.floor > v_first;
    return found;
end $$;
