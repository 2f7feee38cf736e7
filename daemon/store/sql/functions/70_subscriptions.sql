-- Registers a subscription with its secret, lane, interests and, if need be, host. Null: the organisation has p_limit already.
create or replace function hookd.register(
    p_id uuid, p_org_id uuid, p_url text, p_events text[], p_ciphertext bytea, p_limit integer,
    p_host text, p_rate float8, p_burst float8, p_cap integer
) returns hookd.subscription
language plpgsql volatile as $$
declare
    v_now  timestamptz := hookd.clock();
    v_host integer;
    v_row  hookd.subscription;
begin
    -- one registration at a time in an organisation, else two could pass the limit together
    perform pg_advisory_xact_lock(hashtextextended('hookd.register', uuid_hash(p_org_id)));
    if (select count(*) from hookd.subscription s where s.org_id = p_org_id) >= p_limit then
        return null;
    end if;
    insert into hookd.host (name, rate, burst, cap, tokens, refilled_at)
    values (p_host, p_rate, p_burst, p_cap, p_burst, v_now)
    on conflict (name) do nothing;
    select h.id into v_host from hookd.host h where h.name = p_host;
    insert into hookd.subscription (id, org_id, url, events, created_at)
    values (p_id, p_org_id, p_url, p_events, v_now) returning * into v_row;
    insert into hookd.subscription_secret (subscription_id, number, ciphertext) values (p_id, 1, p_ciphertext);
    insert into hookd.lane (subscription_id, host_id) values (p_id, v_host);
    perform hookd.want(p_id);
    return v_row;
end $$;

-- Writes the interests of a subscription anew. A type that a pattern covers already is left out, so that no event
-- meets one subscription twice.
create or replace function hookd.want(p_id uuid) returns void language plpgsql volatile as $$
begin
    delete from hookd.interest i using hookd.subscription s
    where s.id = p_id and i.org_id = s.org_id and i.subscription_id = p_id;
    insert into hookd.interest (org_id, pattern, subscription_id)
    select distinct s.org_id, e.pattern, s.id from hookd.subscription s cross join unnest(s.events) e(pattern)
    where s.id = p_id and s.is_active and not exists (
        select from unnest(s.events) o(pattern)
        where o.pattern <> e.pattern and o.pattern = any (hookd.patterns(e.pattern)));
end $$;

-- Switches subscriptions off with a reason. The caller holds their hosts' locks and settles their lanes as not active.
create or replace function hookd.switch_off(p_ids uuid[], p_reasons text[]) returns void language plpgsql volatile as $$
begin
    update hookd.subscription s set is_active = false, disabled_reason = x.reason, revision = s.revision + 1
    from unnest(p_ids, p_reasons) x(id, reason) where s.id = x.id;
    delete from hookd.interest i using hookd.subscription s
    where s.id = any (p_ids) and i.org_id = s.org_id and i.subscription_id = s.id and i.pattern = any (s.events);
end $$;

-- Pauses (p_active false) or resumes a subscription: nothing new is routed to it and what is owed is held, or goes on.
-- False if there is no such subscription.
create or replace function hookd.set_active(p_id uuid, p_active boolean, p_reason text) returns boolean
language plpgsql volatile as $$
declare
    v_now  timestamptz := hookd.clock();
    v_host integer;
begin
    select l.host_id into v_host from hookd.lane l where l.subscription_id = p_id;
    if not found then
        return false;
    end if;
    perform hookd.lock_hosts(array[v_host]);
    perform hookd.check_lanes_locked(array[p_id], array[v_host]);
    if p_active then
        update hookd.subscription s set is_active = true, disabled_reason = null, revision = s.revision + 1 where s.id = p_id;
        perform hookd.want(p_id);
    else
        perform hookd.switch_off(array[p_id], array[p_reason]);
    end if;
    perform hookd.settle_lanes(array[p_id], v_now, p_active => array[p_active]);
    perform hookd.settle_hosts(array[v_host], v_now, array[p_id]);
    return true;
end $$;
