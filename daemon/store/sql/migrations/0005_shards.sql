-- Routing takes several shards at once.
drop function if exists hookd.open_shard(integer);
drop function if exists hookd.route(smallint, integer, integer, uuid[], uuid[], text[], text[]);
drop function if exists hookd.route_ready(integer, integer, interval);
drop function if exists hookd.defer_shard(smallint, interval);
