-- What the REST API asks for: settings of a subscription, histories by delivery, replays, requests that are safe to repeat.

-- headers: sealed like the secrets, since one may be a password. filter: an SQL/JSON path predicate on the event's data,
-- as its owner wrote it.
alter table hookd.subscription
    add column description text,
    add column metadata    jsonb,
    add column headers     bytea,
    add column filter      text,
    add column rate_limit  float8,
    add column ordered     boolean not null default false,
    add column timeout     float8;

-- From the subscription, so that routing looks nowhere else.
alter table hookd.interest add column filter jsonpath;

-- rate: requests a second, null: as the host allows. paced_until: the moment up to which what was sent has used the rate
-- up (the theoretical arrival time of the generic cell rate algorithm). ordered: one at a time, oldest first.
alter table hookd.lane
    add column ordered     boolean not null default false,
    add column rate        float8,
    add column paced_until timestamptz not null default '-infinity';

-- Old secrets stay as long as the history of what they signed.
alter table hookd.subscription_secret add column created_at timestamptz not null default '-infinity';

alter table hookd.delivery add column replay_id uuid;

create index attempt_of_delivery on hookd.attempt (delivery_id);

-- An organisation's events in a span of time are read together; an event is always looked up with its organisation.
alter table hookd.event drop constraint event_pkey;
alter table hookd.event add primary key (org_id, id);

-- What a replay will send is written down when it is asked for; deliveries are made from it little by little.
create table hookd.replay (
    id              uuid primary key,
    org_id          uuid not null,
    subscription_id uuid not null,
    created_at      timestamptz not null,
    total           bigint not null,
    queued          bigint not null default 0, -- of which deliveries have been made
    skipped         bigint not null default 0, -- of events that have expired meanwhile, or are cancelled
    fed_at          timestamptz not null default '-infinity',
    ended           text,                      -- null: running; 'done' or 'cancelled'
    ended_at        timestamptz
);
create index replay_of_subscription on hookd.replay (subscription_id, id);
create index replay_running on hookd.replay (fed_at) where ended is null;
create table hookd.replay_event (
    replay_id uuid not null,
    event_id  uuid not null,
    primary key (replay_id, event_id)
);

-- The answer to a request that carried an Idempotency-Key, kept for 24 hours. part: which batch of a stream.
create table hookd.idempotency (
    org_id      uuid not null,
    key         text not null,
    part        bigint not null,
    fingerprint bytea not null,
    event_ids   uuid[] not null,
    created_at  timestamptz not null,
    primary key (org_id, key, part)
);
create index idempotency_age on hookd.idempotency (created_at);

-- Subscriptions that were deleted: what is left of their deliveries and attempts goes slice by slice.
create table hookd.removal (
    subscription_id uuid primary key,
    requested_at    timestamptz not null,
    looked_at       timestamptz not null default '-infinity' -- when nothing of it was found
);

-- Until when a daemon polls so often that publish() need not wake any.
alter table hookd.publishing add column awake_until timestamptz not null default '-infinity';

-- These take or return more now.
drop function if exists hookd.check_event(uuid, text, jsonb, text);
drop function if exists hookd.open_shard(integer);
drop function if exists hookd.route(smallint, integer, integer, uuid[], text[], text[]);
drop function if exists hookd.register(uuid, uuid, text, text[], bytea, integer, text, float8, float8, integer);
