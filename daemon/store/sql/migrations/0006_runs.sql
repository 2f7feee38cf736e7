-- The inbox is in the order of transactions, and in each by organisation, so that those who look for what others published
-- step over what one transaction holds of one organisation. First the shards, then the inbox, as routers lock them.
alter table hookd.inbox_shard add column passed_org uuid not null default '00000000-0000-0000-0000-000000000000';
alter table hookd.inbox drop constraint inbox_pkey, add primary key (shard, xid, org_id, event_id);
drop function if exists hookd.next_events(smallint, xid8, uuid, uuid[], integer, integer);
drop function if exists hookd.whose_turn(smallint, integer);
drop function if exists hookd.others_wait(smallint, xid8, uuid, uuid[], integer);
drop function if exists hookd.others_had(smallint, xid8, uuid, xid8);

-- The router claims what it routed, and nothing else.
drop function if exists hookd.route(smallint[], integer, integer, uuid[], uuid[], text[], text[]);
drop function if exists hookd.route_ready(integer, integer, integer, interval);
drop function if exists hookd.claim(uuid, integer, integer, interval, boolean);
drop function if exists hookd.claim_both(uuid, uuid, integer, integer, interval);
