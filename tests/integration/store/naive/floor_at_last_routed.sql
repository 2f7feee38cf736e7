-- Broken: goes on after the last event it routed, and so passes those that commit later.
alter function hookd.route rename to route_to_the_oldest_running;
create function hookd.route(
    p_shards smallint[], p_limit integer, p_budget integer, p_ids uuid[], p_orgs uuid[], p_bodies text[],
    p_problems text[], out events integer, out transactions integer, out cut boolean, out hosts integer[]
) language plpgsql volatile as $$
declare
    v_last  xid8 := (select max(i.xid) from hookd.inbox i where i.shard = any (p_shards));
begin
    select r.* into events, transactions, cut, hosts
    from hookd.route_to_the_oldest_running(p_shards, p_limit, p_budget, p_ids, p_orgs, p_bodies, p_problems) r;
    update hookd.inbox_shard s set floor = v_last where s.shard = any (p_shards);
end $$;
-- without it, a floor above the oldest running transaction would not be believed
create or replace function hookd.open_shards(p_limit integer, p_shards integer, p_bulk boolean default null)
returns table (shard smallint, event_id uuid, org_id uuid, type text, data text) language sql volatile as $$
    select s.shard, i.event_id, i.org_id, i.type, i.data::text from hookd.inbox_shard s
    join hookd.inbox i on i.shard = s.shard and i.xid > s.floor
$$;
