-- The database knows its master key: a value sealed with it at the first start, which the key of each later start must open.
create table hookd.master_key_check (
    single boolean primary key default true check (single),
    sealed bytea not null,
    sealed_at timestamptz not null default clock_timestamp()
);
