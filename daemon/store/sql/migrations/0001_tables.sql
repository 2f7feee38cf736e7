-- The tables of hookd. Words: an event is owed to subscriptions as deliveries; a lane is a subscription's place in the
-- queue of its host; an attempt is one request. No foreign keys on hot tables: they would lock rows out of order.

-- What publish() checks, kept equal to config.toml by every daemon that starts or reloads.
create table hookd.publishing (
    only_row  boolean primary key default true check (only_row),
    types     text[] not null default '{}',
    max_bytes integer not null default 1048576,
    max_depth integer not null default 64
);
insert into hookd.publishing default values;

-- Immutable. The id is a UUIDv7 and carries the event's time. body is the exact text to send; null until the router
-- has brought an event that was published through SQL into canonical form. problem says why that was impossible.
create table hookd.event (
    id      uuid not null,
    org_id  uuid not null,
    type    text not null,
    body    text,
    problem text,
    xid     xid8 not null default pg_current_xact_id(),
    primary key (id)
) partition by range (id);

-- A publisher's own identifier, unique in its organisation for 24 hours.
create table hookd.event_key (
    org_id     uuid not null,
    key        text not null,
    event_id   uuid not null,
    created_at timestamptz not null,
    primary key (org_id, key)
);
create index event_key_age on hookd.event_key (created_at);

-- Events that are still to be routed. Appended by publishers, emptied by routers shard by shard, in order of
-- transaction id: everything below a shard's floor has been routed, so a scan never meets the dead entries there.
create table hookd.inbox (
    shard         smallint not null,
    xid           xid8 not null default pg_current_xact_id(),
    event_id      uuid not null,
    org_id        uuid not null,
    type          text not null,
    data          jsonb,        -- only from SQL: to be brought into canonical form
    deliver_after timestamptz,
    routed_to     uuid,         -- a wide fan-out goes in slices: the last subscription that was served
    primary key (shard, xid, event_id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

create table hookd.inbox_shard (
    shard     smallint primary key,
    floor     xid8 not null default '0',
    served_at timestamptz not null default '-infinity'
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
insert into hookd.inbox_shard (shard) select generate_series(0, 31);

-- A receiver's host and port. ready_at: when a claim may find work of proven lanes here; probe_at: the same for lanes
-- that have not answered in time of late, or for a host whose circuit is not closed. 'infinity' costs a claim nothing.
create table hookd.host (
    id               integer generated always as identity primary key,
    name             text not null unique,
    rate             float8 not null,
    burst            float8 not null,
    cap              integer not null,
    tokens           float8 not null,
    refilled_at      timestamptz not null,
    in_flight        integer not null default 0,
    circuit_failures integer not null default 0,
    circuit_trips    integer not null default 0,
    blocked_until    timestamptz not null default '-infinity',
    ready_at         timestamptz not null default 'infinity',
    probe_at         timestamptz not null default 'infinity',
    ready_floor      timestamptz not null default 'infinity',
    probe_floor      timestamptz not null default 'infinity'
) with (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create index host_ready on hookd.host (ready_at) where ready_at < 'infinity';
create index host_probe on hookd.host (probe_at) where probe_at < 'infinity';

create table hookd.subscription (
    id              uuid primary key,
    org_id          uuid not null,
    url             text not null,
    events          text[] not null,
    is_active       boolean not null default true,
    disabled_reason text,
    revision        integer not null default 1,
    created_at      timestamptz not null
);
create index subscription_of_organisation on hookd.subscription (org_id, id);

-- Encrypted. The newest signs first; an older one signs too until it expires.
create table hookd.subscription_secret (
    subscription_id uuid not null,
    number          integer not null,
    ciphertext      bytea not null,
    expires_at      timestamptz,
    primary key (subscription_id, number)
);

-- Which active subscriptions want which types: an event type, '*', or a prefix such as 'placement.*'.
create table hookd.interest (
    org_id          uuid not null,
    pattern         text not null,
    subscription_id uuid not null,
    primary key (org_id, pattern, subscription_id)
);

-- due: when the next delivery may go, 'infinity' while none is owed or window_size requests are under way.
-- floor: no unleased delivery of the lane is due before it. Both are written under the lock of the host's row only.
create table hookd.lane (
    subscription_id uuid primary key,
    host_id         integer not null,
    active          boolean not null default true,
    proven          boolean not null default false,
    due             timestamptz not null default 'infinity',
    floor           timestamptz not null default 'infinity',
    hold_until      timestamptz not null default '-infinity',
    in_flight       integer not null default 0,
    window_size     integer not null default 1,
    failure_count   integer not null default 0,
    failing_since   timestamptz
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
create index lane_due on hookd.lane (host_id, proven, due) where due < 'infinity';

-- What is owed. lease is the random token of the claim that holds it, host_id the host it was claimed from.
create table hookd.delivery (
    id              uuid primary key,
    subscription_id uuid not null,
    event_id        uuid not null,
    due             timestamptz not null,
    lease           uuid,
    host_id         integer,
    attempt         smallint not null default 0,
    failures        smallint not null default 0
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
create index delivery_due on hookd.delivery (subscription_id, due) where lease is null;

-- One row a claim, so that the sweeper finds what a dead daemon held without an index on every delivery.
create table hookd.lease (
    token      uuid primary key,
    until      timestamptz not null,
    deliveries uuid[] not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- The history. ended: null while the delivery is still owed, else 'succeeded' or the reason it was given up.
create table hookd.attempt (
    id              uuid not null,
    subscription_id uuid not null,
    delivery_id     uuid not null,
    event_id        uuid not null,
    event_type      text not null,
    attempt         smallint not null,
    succeeded       boolean not null,
    response_status smallint,
    error           text,
    ended           text,
    duration_ms     real,
    phases_ms       real[],
    excerpt         text,
    attempted_at    timestamptz not null,
    next_attempt_at timestamptz
) partition by range (id);
create index attempt_of_subscription on hookd.attempt (subscription_id, id);
