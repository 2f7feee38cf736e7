-- The cluster is remembered; primary keys; locks that no stranger can name.

-- Transaction ids mean something in the cluster that gave them: after dump and restore they begin anew.
create table hookd.cluster (
    only_row          boolean primary key default true check (only_row),
    system_identifier bigint not null
);

-- What happens one at a time in an organisation, by name. A row is locked and not a number, which everybody who may connect
-- could take as an advisory lock.
create table hookd.exclusive (
    org_id  uuid not null,
    name    text not null,
    held_at timestamptz not null,
    primary key (org_id, name)
);
create index exclusive_age on hookd.exclusive (held_at);

-- Logical replication deletes and updates rows by their primary key. It has the index's columns and takes its place.
drop index hookd.attempt_of_subscription;
alter table hookd.attempt add primary key (subscription_id, id);
