-- Names that say what they are. What these functions did, functions of other names do now.
alter table hookd.inbox_shard rename column crowd to bulk_orgs;
drop function if exists hookd.newest_of_crowds(integer);
drop function if exists hookd.whose_turn(smallint);
drop function if exists hookd.look_past(smallint, uuid[], integer, xid8, uuid, uuid);
drop function if exists hookd.all_had(smallint, uuid[], boolean);
drop function if exists hookd.open_shards(integer, integer, boolean);
drop function if exists hookd.filters_ahead(smallint[], boolean, integer, integer);

-- These tell of no slices any more.
drop function if exists hookd.route(smallint[], integer, integer, uuid[], uuid[], text[], text[]);
drop function if exists hookd.route_ready(integer, integer, integer, interval, boolean);
