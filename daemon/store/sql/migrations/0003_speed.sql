-- Functions whose arguments or results are others now.
drop function if exists hookd.route_ready(integer, integer);
drop function if exists hookd.check_event(uuid, text, jsonb, text);
drop function if exists hookd.check_moment(timestamptz);
drop function if exists hookd.record;
