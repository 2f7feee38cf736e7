-- Two routers, one of them for shards with a burst; routing tells of how many transactions the events are.
drop function if exists hookd.open_shards(integer, integer);
drop function if exists hookd.route(smallint[], integer, integer, uuid[], uuid[], text[], text[]);
drop function if exists hookd.route_ready(integer, integer, integer, interval);
