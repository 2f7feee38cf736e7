-- Partitions of event and attempt: a week each, by the time in the UUIDv7. Never a default partition: it would make
-- every attach scan it. Made apart and then attached, so that a long publisher transaction is not waited for.

-- Makes the partitions that are missing from p_from to p_until; returns the names of those made.
create or replace function hookd.make_partitions(p_from timestamptz, p_until timestamptz) returns setof text
language plpgsql volatile set timezone = 'UTC' set lock_timeout = '20s' as $$
declare
    v_table text;
    v_week  timestamptz;
    v_name  text;
    v_alone boolean := false;
begin
    foreach v_table in array array['event', 'attempt'] loop
        for v_week in
            select w from generate_series(date_trunc('week', p_from), p_until, interval '7 days') w
        loop
            v_name := v_table || to_char(v_week, '"_"YYYYMMDD');
            if to_regclass('hookd.' || v_name) is null and not v_alone then
                lock table hookd.migration in share row exclusive mode; -- whoever changes tables does so alone
                v_alone := true;
            end if;
            if to_regclass('hookd.' || v_name) is null then
                execute format('create table hookd.%I (like hookd.%I including all)', v_name, v_table);
                execute format('alter table hookd.%I attach partition hookd.%I for values from (%L) to (%L)', v_table, v_name,
                    hookd.uuid7_floor(v_week), hookd.uuid7_floor(v_week + interval '7 days'));
                return next v_name;
            end if;
        end loop;
    end loop;
end $$;

-- The partitions with the time at which they end.
create or replace function hookd.partitions() returns table (parent text, name text, ends_at timestamptz, detached boolean)
language sql stable set timezone = 'UTC' as $$
    select p.relname::text, c.relname::text,
        to_timestamp(substring(c.relname from '_(\d{8})$'), 'YYYYMMDD') + interval '7 days',
        i.inhdetachpending
    from pg_inherits i
    join pg_class p on p.oid = i.inhparent
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent in ('hookd.event'::regclass, 'hookd.attempt'::regclass)
$$;

-- Until when both tables have their partitions without a gap, from p_at on: those of another time, as a clock that was wrong
-- leaves behind, do not count.
create or replace function hookd.partitioned_until(p_at timestamptz) returns timestamptz
language sql stable set timezone = 'UTC' as $$
    with recursive week as materialized (
        select p.ends_at from hookd.partitions() p where not p.detached group by p.ends_at having count(*) = 2),
    reached(at) as (
        select date_trunc('week', p_at)
        union all
        select w.ends_at from reached r join week w on w.ends_at = r.at + interval '7 days')
    select max(r.at) from reached r
$$;
