-- A subscription's own waits after failed attempts, in seconds; null: the operator's.
alter table hookd.subscription add column retry_schedule float8[];

-- These take more now.
drop function if exists hookd.register(uuid, uuid, text, text[], bytea, integer, text, float8, float8, integer, text, jsonb,
    bytea, text, text, float8, boolean, float8);
drop function if exists hookd.change(uuid, uuid, integer[], text[], text, text, float8, float8, integer, text[], boolean, text,
    jsonb, bytea, text, text, float8, boolean, float8);
