-- name: ping
select 1

-- name: session
-- Which server process answers, for which account, and the settings that it has; null: it does not know of one.
select pg_backend_pid() as backend, session_user::text as account,
    array(select current_setting(s.name, true) from unnest($1::text[]) with ordinality s(name, n) order by s.n) as settings

-- name: backend
select pg_backend_pid()

-- name: server_version
select current_setting('server_version_num')::int as number, current_setting('server_version') as text

-- name: schema_state
-- Whether the schema and its list of migrations exist, who asks, and whether the name is a word that would need quotes.
-- Read from the tables: to_regnamespace() may answer from a cache that is older than the lock which we waited for.
select exists(select from pg_namespace where nspname = $1) as has_schema,
       exists(select from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where n.nspname = $1 and c.relname = 'migration') as has_migrations,
       exists(select from pg_get_keywords() k where k.word = $1 and k.catcode <> 'U') as reserved,
       current_user::text as account,
       current_database()::text as database

-- name: migration_settings
-- For the whole transaction, where the server knows them. lock_timeout bounds the waits for the lock below, and for those
-- that the migrations take.
select set_config(s.name, s.value, true) from unnest($1::text[], $2::text[]) s(name, value)
where current_setting(s.name, true) is not null

-- name: migration_lock
-- Held to the end of the transaction, so that it works through a transaction pooler; reading goes on. A table and not a
-- number, so that only those can take it who may write there.
lock table hookd.migration in share row exclusive mode

-- name: create_schema
create schema hookd

-- name: create_migration_table
-- Number 0 is not a migration: its checksum is that of all the function files together.
create table hookd.migration (
    number int primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default clock_timestamp()
)

-- name: applied_migrations
select number, name, checksum from hookd.migration order by number

-- name: record_migration
insert into hookd.migration as m (number, name, checksum) values ($1, $2, $3)
on conflict (number) do update set checksum = excluded.checksum, applied_at = excluded.applied_at
