-- What a receiver may have under way follows whether its answers come; what failed while it was away goes when it is back.

-- window_results of the window_span results that are a window's have come, window_bad of them bad answers or none. answered_at:
-- when one came last. failed_in_time: deliveries that failed at their own time since one succeeded. unreached: something
-- could not connect since the host was reached last. What failed from catch_up_from to catch_up_to may go ahead of its time.
alter table hookd.lane
    add column window_span integer not null default 0,
    add column window_results integer not null default 0,
    add column window_bad integer not null default 0,
    add column answered_at timestamptz not null default '-infinity',
    add column failed_in_time integer not null default 0,
    add column unreached boolean not null default false,
    add column catch_up_from timestamptz,
    add column catch_up_to timestamptz;
create index lane_unreached on hookd.lane (host_id) where unreached;

-- When it failed last.
alter table hookd.delivery add column failed_at timestamptz;
create index delivery_failed on hookd.delivery (subscription_id, failed_at) where lease is null and failed_at is not null;

-- failed_at: when a failure to connect was counted last; away_since: the first since the host was reached.
alter table hookd.host
    add column failed_at timestamptz not null default '-infinity',
    add column away_since timestamptz;
update hookd.host set away_since = now() where circuit_failures > 0;

-- These take or return more now.
drop function if exists hookd.settle_lanes(uuid[], timestamptz, timestamptz[], integer[], boolean[], integer[], integer[], text[],
    timestamptz[], boolean[], integer[]);
drop function if exists hookd.settle_hosts(integer[], timestamptz, uuid[], integer[], integer[], integer[], boolean[], integer[],
    integer[], integer);
drop function if exists hookd.circuit_block(integer, float8);
drop function if exists hookd.standing(uuid, uuid, uuid);
