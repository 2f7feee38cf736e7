-- name: writable
-- Whether what hookd must write can be written, and if not, whether that is because the server is a standby.
select current_setting('transaction_read_only') = 'off' as writable, pg_is_in_recovery() as standby

-- name: lock_waited_for
-- The lock that one of the sessions $1 waits for, and who is at the front of those in its way: whoever waits for nobody.
-- A prepared transaction has the process id 0. What only members of pg_read_all_stats may see is null.
with recursive blocking as (
    select w.pid as waiter, b.pid as blocker, 1 as depth
    from unnest($1::int[]) w(pid) cross join lateral unnest(pg_blocking_pids(w.pid)) b(pid)
    union
    select c.waiter, b.pid, c.depth + 1
    from blocking c cross join lateral unnest(pg_blocking_pids(c.blocker)) b(pid) where c.depth < 10
)
select coalesce((
        select max(l.relation::regclass::text) from pg_locks l
        where l.pid = c.waiter and (not l.granted or l.locktype = 'tuple')), 'a row') as waited_for,
    c.blocker as pid, a.usename::text as account, a.application_name as application, a.state,
    extract(epoch from clock_timestamp() - a.xact_start)::float8 as age
from blocking c left join pg_stat_activity a on a.pid = c.blocker
where cardinality(pg_blocking_pids(c.blocker)) = 0 and c.blocker <> all ($1::int[])
order by a.xact_start nulls last limit 1

-- name: longest_statement
-- Of those that have run for so long that something is amiss.
select a.pid, a.wait_event_type || ' ' || a.wait_event as wait,
    extract(epoch from clock_timestamp() - a.query_start)::float8 as age
from pg_stat_activity a where a.pid = any ($1::int[]) and a.pid <> pg_backend_pid() and a.state = 'active'
    and a.query_start < clock_timestamp() - interval '3 seconds'
order by a.query_start limit 1

-- name: backends_by_name
-- The server processes behind hookd's sessions.
select array(select a.pid from pg_stat_activity a
    where a.usename = session_user and a.application_name = current_setting('application_name') and a.pid <> pg_backend_pid())

-- name: connection_limits
-- How many connections the account, the database and the server let us have; null: no limit.
select case when r.rolsuper or r.rolconnlimit < 0 then null else r.rolconnlimit end as of_account,
    case when r.rolsuper or d.datconnlimit < 0 then null else d.datconnlimit end as of_database,
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0) as of_server,
    session_user::text as account, current_database()::text as database
from pg_roles r cross join pg_database d where r.rolname = session_user and d.datname = current_database()
