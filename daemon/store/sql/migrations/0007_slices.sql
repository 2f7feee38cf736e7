-- Routing tells whether it is amid a wide fan-out.
drop function if exists hookd.route(smallint[], integer, integer, uuid[], uuid[], text[], text[]);
drop function if exists hookd.route_ready(integer, integer, integer, interval);
