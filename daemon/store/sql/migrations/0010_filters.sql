-- Filters as trees of allowed parts.

-- filter: as its owner wrote it, an object as its JSON. filter_path: what is evaluated, written from the tree; null until the
-- filter was checked. filter_problem: why it is not evaluated; what it should have looked at ends in the history.
alter table hookd.subscription
    add column filter_path    text,
    add column filter_problem text;
create index subscription_filter_unchecked on hookd.subscription (id)
    where filter is not null and filter_path is null and filter_problem is null;
create index subscription_filter_problem on hookd.subscription (id) where filter_problem is not null;

-- Until then the filter is not evaluated, as for 'infinity' any that was not checked.
alter table hookd.interest add column filter_blocked_until timestamptz;
update hookd.interest set filter = null, filter_blocked_until = 'infinity' where filter is not null;

-- These take more now, or are gone.
drop function if exists hookd.register(uuid, uuid, text, text[], bytea, integer, text, float8, float8, integer, text, jsonb,
    bytea, text, float8, boolean, float8);
drop function if exists hookd.change(uuid, uuid, integer[], text[], text, text, float8, float8, integer, text[], boolean, text,
    jsonb, bytea, text, float8, boolean, float8);
drop function if exists hookd.matches(text, text);
drop function if exists hookd.filter_path(text);
