-- name: clock
select date_part('epoch', hookd.clock())

-- name: make_partitions
select * from hookd.make_partitions(hookd.clock() - interval '7 days', hookd.clock() + $1)

-- name: partitioned_until
select u.until, u.until - u.now as remaining
from (select hookd.partitioned_until(c.now) as until, c.now from (select hookd.clock() as now offset 0) c offset 0) u

-- name: partitions
select * from hookd.partitions()

-- name: publishing_rules
update hookd.publishing p set types = $1, max_bytes = $2, max_depth = $3
where (p.types, p.max_bytes, p.max_depth) is distinct from ($1, $2, $3)

-- name: hosts
select name, rate, burst, max_in_flight from hookd.host

-- name: limit_hosts
select hookd.limit_hosts(p_names => $1, p_rates => $2, p_bursts => $3, p_max_in_flight => $4)

-- name: forget_keys
delete from hookd.event_key where created_at < hookd.clock() - interval '24 hours'

-- name: forget_requests
delete from hookd.idempotency where created_at < hookd.clock() - interval '24 hours'

-- name: forget_exclusive
delete from hookd.exclusive where held_at < hookd.clock() - interval '24 hours'

-- name: meet_cluster
select hookd.meet_cluster()

-- name: look_below_floor
select hookd.look_below_floor($1)

-- name: expire
select hookd.expire(hookd.uuid7_floor($1), $2)

-- name: detach_partition
-- {partition} and {parent} are names that partitions() gave; neither readers nor writers wait for this.
alter table hookd.{parent} detach partition hookd.{partition} concurrently

-- name: finish_detaching
alter table hookd.{parent} detach partition hookd.{partition} finalize

-- name: drop_partition
drop table if exists hookd.{partition}

-- name: detached_partitions
-- Left over where a daemon died between detaching and dropping.
select c.relname::text as name from pg_class c
where c.relnamespace = (select p.relnamespace from pg_class p where p.oid = 'hookd.event'::regclass)
    and c.relkind = 'r' and c.relname ~ '^(event|attempt)_\d{8}$'
    and not exists (select from pg_inherits i where i.inhrelid = c.oid)

-- name: see_clock
select seen_at as at, even_from, leapt_from from hookd.see_clock(p_gap => $1, p_stand => $2)

-- name: set_back_hosts
select hookd.set_back_hosts(p_after => $1, p_limit => $2, p_from => $3)

-- name: set_back_rest
select hookd.set_back_rest($1)

-- name: take_duty
select hookd.take_duty(p_name => $1, p_holder => $2, p_time => $3)

-- name: leave_duty
delete from hookd.duty where name = $1 and holder = $2

-- name: server_encoding
select current_setting('server_encoding')

-- name: purge
select hookd.purge($1)

-- name: forget_secrets
-- Kept that long to show what was signed with them.
delete from hookd.subscription_secret where expires_at < hookd.clock() - $1::interval

-- name: forget_hosts
select hookd.forget_hosts($1)
