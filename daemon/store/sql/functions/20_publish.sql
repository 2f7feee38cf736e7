-- What others may call runs with the owner's rights, so its search_path is fixed, and ends with pg_temp: left out, that
-- would come first, and with it whatever type or table the caller made there.

-- Remembers a publisher's key. Returns the event that had the key in the last 24 hours, or null if this one has it now.
create or replace function hookd.keep_key(p_org_id uuid, p_key text, p_event_id uuid) returns uuid
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_kept uuid;
begin
    insert into hookd.event_key as k (org_id, key, event_id, created_at)
    values (p_org_id, p_key, p_event_id, hookd.clock())
    on conflict (org_id, key) do update set event_id = excluded.event_id, created_at = excluded.created_at
        where k.created_at <= excluded.created_at - interval '24 hours'
    returning k.event_id into v_kept;
    if found then
        return null;
    end if;
    select k.event_id into v_kept from hookd.event_key k where k.org_id = p_org_id and k.key = p_key;
    return v_kept;
end $$;

-- Publishes one event inside the caller's transaction and returns its id. Takes no lock that another publisher or a
-- delivery waits for; only the same key of the same organisation waits for the transaction that used it first.
-- A transaction that has notified cannot be prepared for two-phase commit, and none says beforehand that it will be: where
-- the server lets any be prepared, nobody is woken, and daemons at rest look more often.
-- Errors: 22023 (invalid_parameter_value) for an unknown type, data that is too large or too deep, a bad key, a moment that
-- never comes.
create or replace function hookd.publish(
    org_id uuid, type text, data jsonb, key text default null, deliver_after timestamptz default null
) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_id    uuid := hookd.uuid7(hookd.clock());
    v_old   uuid;
    v_awake timestamptz := hookd.check_event(
        publish.org_id, publish.type, publish.data, publish.key, publish.deliver_after);
begin
    if publish.key is not null then
        v_old := hookd.keep_key(publish.org_id, publish.key, v_id);
        if v_old is not null then
            return v_old;
        end if;
    end if;
    insert into hookd.event (id, org_id, type) values (v_id, publish.org_id, publish.type);
    insert into hookd.inbox (shard, event_id, org_id, type, data, deliver_after)
    values (uuid_hash(publish.org_id) & 31, v_id, publish.org_id, publish.type, publish.data, publish.deliver_after);
    if v_awake < hookd.clock() and current_setting('max_prepared_transactions') = '0' then
        perform pg_notify('hookd.wake', '');
    end if;
    return v_id;
end $$;

-- Publishes many events of one organisation, all or none, and returns their ids in order.
-- types and data have one entry an event; keys and deliver_after are null or have as many.
create or replace function hookd.publish_batch(
    org_id uuid, types text[], data jsonb[], keys text[] default null, deliver_after timestamptz[] default null
) returns uuid[]
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_now  timestamptz := hookd.clock();
    v_rule hookd.publishing;
    v_deep jsonpath;
    v_ids  uuid[];
    v_kept uuid[];
    v_old  uuid;
    n      integer;
begin
    if coalesce(cardinality(types), 0) <> coalesce(cardinality(data), 0)
        or cardinality(keys) <> cardinality(types) or cardinality(publish_batch.deliver_after) <> cardinality(types) then
        raise exception 'types, data, keys and deliver_after differ in length'
            using errcode = '22023', hint = 'Give one entry an event in each array, or null for keys and deliver_after.';
    end if;
    select * into v_rule from hookd.publishing;
    v_deep := hookd.deeper_than(v_rule.max_depth);
    -- all at once, and only what is at fault by itself, for the words: one by one is four times as dear
    select x.n into n from unnest(types, data, keys, deliver_after) with ordinality x(type, data, key, deliver_after, n)
    where not coalesce(hookd.can_be_published(
        v_rule, v_deep, publish_batch.org_id, x.type, x.data, x.key, x.deliver_after), false)
    order by x.n limit 1;
    if found then
        perform hookd.check_event(publish_batch.org_id, types[n], data[n], keys[n], deliver_after[n]);
    end if;
    v_ids := hookd.uuid7_row(v_now, cardinality(types));
    v_kept := v_ids;
    for n in select k.n from unnest(keys) with ordinality k(key, n)
             where k.key is not null order by k.key, k.n loop -- one order for all, so that two batches cannot deadlock
        v_old := hookd.keep_key(publish_batch.org_id, keys[n], v_ids[n]);
        if v_old is not null then
            v_kept[n] := v_old;
        end if;
    end loop;
    insert into hookd.event (id, org_id, type)
    select x.id, publish_batch.org_id, x.type from unnest(v_ids, v_kept, types) x(id, kept, type) where x.id = x.kept;
    insert into hookd.inbox (shard, event_id, org_id, type, data, deliver_after)
    select uuid_hash(publish_batch.org_id) & 31, x.id, publish_batch.org_id, x.type, x.data, x.deliver_after
    from unnest(v_ids, v_kept, types, publish_batch.data, publish_batch.deliver_after) x(id, kept, type, data, deliver_after)
    where x.id = x.kept;
    if v_rule.awake_until < hookd.clock() and v_ids <> '{}' and current_setting('max_prepared_transactions') = '0' then
        perform pg_notify('hookd.wake', '');
    end if;
    return v_kept;
end $$;

-- The depth is counted from the outermost value.
create or replace function hookd.deeper_than(p_levels integer) returns jsonpath language sql immutable as $$
    select format('strict $.**{%s} ? (@.type() == "object" || @.type() == "array")', p_levels)::jsonpath
$$;

-- The bytes of an event's canonical body, where p_data is what jsonb prints: that has a blank behind each comma and colon, and
-- plain what the body escapes (\uXXXX, beyond the basic plane two of them). Numbers count as jsonb prints them.
create or replace function hookd.body_size(p_type text, p_data text) returns bigint
language sql immutable parallel safe as $$
    select 102 + octet_length(p_type) + length(p_data)
        - regexp_count(regexp_replace(p_data, '"(?:[^"\\]|\\.)*"', '', 'g'), ' ')
        + 5 * regexp_count(p_data, '[^\u0001-\u007e]') + 6 * regexp_count(p_data, '[\U00010000-\U0010ffff]')
$$;

-- Whether it has at most so many. Few events have to be counted for that: the near ones that are not plain ASCII.
create or replace function hookd.fits_body(p_type text, p_data text, p_most integer) returns boolean
language sql immutable parallel safe as $$
    select case
        when octet_length(p_data) <= p_most / 6 - 300 then true
        when octet_length(p_data) / 2 > p_most then false
        when octet_length(p_data) <= p_most - 300 and octet_length(p_data) = length(p_data) and strpos(p_data, chr(127)) = 0 then true
        else hookd.body_size(p_type, p_data) <= p_most end
$$;

-- Whether an event may be published; null counts as no. check_event() has the words. Without settings of its own, so that it
-- is inlined.
create or replace function hookd.can_be_published(
    p_rule hookd.publishing, p_deep jsonpath, p_org_id uuid, p_type text, p_data jsonb, p_key text, p_after timestamptz
) returns boolean language sql immutable as $$
    select p_org_id is not null and p_type is not null and p_data is not null
        and (p_type = any ((p_rule).types) or (p_rule).types = '{}')
        and (p_key is null or length(p_key) between 1 and 256)
        and hookd.fits_body(p_type, p_data::text, (p_rule).max_bytes)
        and not jsonb_path_exists(p_data, p_deep, silent => true)
        and (p_after is null or isfinite(p_after) and p_after < timestamptz '10000-01-01 00:00:00+00')
$$;

-- Refuses an event that could not be delivered, naming the fault and the remedy. Returns until when nobody needs waking: a
-- notification takes a lock that all commits share, so only those who publish to daemons at rest send one.
create or replace function hookd.check_event(p_org_id uuid, p_type text, p_data jsonb, p_key text, p_after timestamptz)
returns timestamptz
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_rule hookd.publishing;
    v_deep jsonpath;
begin
    select * into v_rule from hookd.publishing;
    v_deep := hookd.deeper_than(v_rule.max_depth);
    if hookd.can_be_published(v_rule, v_deep, p_org_id, p_type, p_data, p_key, p_after) then
        return v_rule.awake_until;
    end if;
    if p_org_id is null or p_type is null or p_data is null then
        raise exception 'org_id, type and data must not be null'
            using errcode = '22023', hint = 'For an event without data give ''null''::jsonb or ''{}''::jsonb.';
    end if;
    if not p_type = any (v_rule.types) and v_rule.types <> '{}' then
        raise exception 'unknown event type %', quote_literal(left(p_type, 100))
            using errcode = '22023', hint = 'Known types: ' || array_to_string(v_rule.types, ', ')
                || '. Add the type to [events] types in config.toml and reload.';
    end if;
    if length(p_key) not between 1 and 256 then
        raise exception 'the key has % characters', length(p_key)
            using errcode = '22023', hint = 'A key has 1 to 256 characters.';
    end if;
    if not hookd.fits_body(p_type, p_data::text, v_rule.max_bytes) then
        raise exception 'the event has % bytes as it is sent, more than the % allowed',
            hookd.body_size(p_type, left(p_data::text, 2 * v_rule.max_bytes)), v_rule.max_bytes
            using errcode = '22023', hint = 'Send a reference instead, or raise [events] max_bytes in config.toml.';
    end if;
    if jsonb_path_exists(p_data, v_deep, silent => true) then
        raise exception 'the data is nested deeper than % levels', v_rule.max_depth
            using errcode = '22023', hint = 'Send flatter data, or raise [events] max_depth in config.toml.';
    end if;
    -- all that is left: a moment that clients could not be shown
    raise exception 'deliver_after is %', p_after
        using errcode = '22023', hint = 'Give a moment before the year 10000, or null for at once.';
end $$;

-- The daemon's own way in: ids and canonical bodies are ready. A known key gives the first event's id in its place.
create or replace function hookd.publish_bodies(
    p_ids uuid[], p_orgs uuid[], p_types text[], p_bodies text[], p_keys text[], p_after timestamptz[]
) returns uuid[]
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_ids uuid[] := p_ids;
    v_old uuid;
    n     integer;
begin
    for n in select k.n from unnest(p_orgs, p_keys) with ordinality k(org_id, key, n)
             where k.key is not null order by k.org_id, k.key, k.n loop -- one order for all, so that two batches cannot deadlock
        v_old := hookd.keep_key(p_orgs[n], p_keys[n], p_ids[n]);
        if v_old is not null then
            v_ids[n] := v_old;
        end if;
    end loop;
    insert into hookd.event (id, org_id, type, body)
    select x.id, x.org_id, x.type, x.body
    from unnest(p_ids, v_ids, p_orgs, p_types, p_bodies) x(id, kept, org_id, type, body) where x.id = x.kept;
    insert into hookd.inbox (shard, event_id, org_id, type, deliver_after)
    select uuid_hash(x.org_id) & 31, x.id, x.org_id, x.type, x.deliver_after
    from unnest(p_ids, v_ids, p_orgs, p_types, p_after) x(id, kept, org_id, type, deliver_after) where x.id = x.kept;
    return v_ids;
end $$;
