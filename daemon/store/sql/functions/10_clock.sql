-- Plans are cached while the queue is nearly empty and used when it holds a million rows: then what joins a few rows with
-- a table reads all of it. So a session forgets its plans when a table has grown eightfold since it made them. What it remembers
-- belongs to the server's process, as the plans do, and so fits behind a transaction pooler.
create or replace function hookd.fresh_plans() returns void language plpgsql volatile as $$
declare
    v_last   float8 := nullif(current_setting('hookd.plans_looked', true), '')::float8;
    v_now    float8 := date_part('epoch', clock_timestamp());
    v_then   bigint[];
    v_pages  bigint[];
begin
    if v_now - v_last between 0 and 0.1 then
        return; -- looking costs as much as a small statement
    end if;
    perform set_config('hookd.plans_looked', v_now::text, false);
    v_then := nullif(current_setting('hookd.plans_sizes', true), '')::bigint[];
    v_pages := array[pg_relation_size('hookd.delivery'), pg_relation_size('hookd.lane'), pg_relation_size('hookd.host'),
        pg_relation_size('hookd.inbox'), pg_relation_size('hookd.lease'), pg_relation_size('hookd.interest')];
    for i in 1 .. cardinality(v_pages) loop
        if v_then is null or v_pages[i] > greatest(262144, 8 * v_then[i]) then
            execute 'discard plans';
            perform set_config('hookd.plans_sizes', v_pages::text, false);
            return;
        end if;
    end loop;
end $$;

-- The one clock of the queue; tests replace it to move time.
create or replace function hookd.clock() returns timestamptz language sql volatile parallel safe
as $$ select clock_timestamp() $$;

-- RFC 9562 section 5.7: 48 bits of milliseconds and the version, then 12 bits of the fraction of the millisecond (section
-- 6.2, method 3), so that what is made later sorts later; the rest is random.
-- One expression, so that Postgres inlines it where the moment is no function's answer: a quarter of the cost. And
-- date_part, which gives microseconds exactly for centuries, without extract's numeric.
create or replace function hookd.uuid7(at timestamptz) returns uuid language sql volatile parallel safe
as $$
    select encode(int8send(((date_part('epoch', at) * 1e6)::bigint / 1000) << 16 | 28672
        | ((date_part('epoch', at) * 1e6)::bigint % 1000) * 4096 / 1000)
        || substring(uuid_send(gen_random_uuid()) from 9), 'hex')::uuid
$$;

-- A UUIDv7 of so many microseconds since 1970 and what uuid7_random() gave. For ids in a row the random part is drawn once,
-- and both are counted up (section 6.2, method 2): drawing it is two thirds of the cost of one. They sort as they were
-- counted, so that an index takes them one behind the other.
create or replace function hookd.uuid7_of(p_micros bigint, p_random bigint) returns uuid language sql immutable parallel safe
as $$
    select encode(int8send(p_micros / 1000 << 16 | 28672 | p_micros % 1000 * 4096 / 1000)
        || int8send((-9223372036854775808)::bigint + p_random), 'hex')::uuid
$$;

create or replace function hookd.uuid7_micros(at timestamptz) returns bigint language sql stable parallel safe
as $$ select (date_part('epoch', at) * 1e6)::bigint $$;

create or replace function hookd.uuid7_random() returns bigint language sql volatile parallel safe
as $$ select ('x' || right(replace(gen_random_uuid()::text, '-', ''), 16))::bit(64)::bigint & 2305843009213693951 $$;

create or replace function hookd.uuid7_row(p_at timestamptz, p_count integer) returns uuid[] language plpgsql volatile as $$
declare
    v_micros bigint := hookd.uuid7_micros(p_at);
    v_random bigint := hookd.uuid7_random();
begin
    return array(select hookd.uuid7_of(v_micros + k, v_random + k) from generate_series(1, p_count) k order by k);
end $$;

-- The least UUIDv7 of a moment: the bound of a partition or a time filter.
create or replace function hookd.uuid7_floor(at timestamptz) returns uuid language sql immutable parallel safe
as $$
    select encode(substring(int8send(floor(extract(epoch from at) * 1000)::bigint) from 3) || '\x70008000000000000000'::bytea,
        'hex')::uuid
$$;

create or replace function hookd.uuid7_time(id uuid) returns timestamptz language sql immutable parallel safe
as $$ select to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0) $$;
