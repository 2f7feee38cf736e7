-- Names that say what they are. What these functions did, functions of other names do now.
alter table hookd.host rename column cap to max_in_flight;

drop function if exists hookd.want(uuid);
drop function if exists hookd.switch_off(uuid[], text[]);
drop function if exists hookd.standing(uuid, uuid, uuid);
-- Parameters of these have other names.
drop function if exists hookd.limit_hosts(text[], float8[], float8[], integer[]);
drop function if exists hookd.register(uuid, uuid, text, text[], bytea, integer, text, float8, float8, integer, text, jsonb,
    bytea, text, text, float8, boolean, float8, float8[], boolean);
drop function if exists hookd.change(uuid, uuid, integer[], text[], text, text, float8, float8, integer, text[], boolean, text,
    jsonb, bytea, text, text, float8, boolean, float8, float8[]);
drop function if exists hookd.host_of(text, float8, float8, integer, timestamptz);
