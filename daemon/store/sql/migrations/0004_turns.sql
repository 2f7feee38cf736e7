-- Where the front of a shard is one organisation's burst, the others' events go by it, every other time.
-- crowd: whose events were in front. Those of the others up to passed_xid and passed_id, in the order of the inbox, have
-- been routed. others_next: the next turn is theirs.
alter table hookd.inbox_shard
    add column crowd       uuid[] not null default '{}',
    add column passed_xid  xid8 not null default '0',
    add column passed_id   uuid not null default '00000000-0000-0000-0000-000000000000',
    add column others_next boolean not null default false;
