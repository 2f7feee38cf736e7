-- Publishes what a request with an Idempotency-Key brings, at most once in 24 hours. p_part: 0 for a whole request, else
-- which batch of a stream; a key is for the one or the other. All or nothing: the events and the memory of them commit
-- together, and the lock goes with the transaction, so that a publisher that dies leaves no request half done or "running".
-- outcome: 'published' now or before, with the events' ids; 'running' while another transaction publishes under the key;
-- 'differs' if the key stands for something else.
create or replace function hookd.publish_once(
    p_org_id uuid, p_key text, p_part bigint, p_fingerprint bytea,
    p_ids uuid[], p_orgs uuid[], p_types text[], p_bodies text[], p_keys text[], p_after timestamptz[]
) returns table (outcome text, event_ids uuid[])
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_now  timestamptz := hookd.clock();
    v_then hookd.idempotency;
begin
    if not hookd.exclude_others(p_org_id, 'request ' || p_key, interval '100 milliseconds') then
        return query select 'running', null::uuid[];
        return;
    end if;
    -- the lock is had: what its last holder committed is visible to the next statements
    select * into v_then from hookd.idempotency i
    where i.org_id = p_org_id and i.key = p_key and (i.part = p_part or (i.part = 0) <> (p_part = 0))
        and i.created_at > v_now - interval '24 hours'
    order by i.part <> p_part limit 1;
    if found then
        if v_then.part = p_part and v_then.fingerprint = p_fingerprint then
            return query select 'published', v_then.event_ids;
        else
            return query select 'differs', null::uuid[];
        end if;
        return;
    end if;
    v_then.event_ids := hookd.publish_bodies(p_ids, p_orgs, p_types, p_bodies, p_keys, p_after);
    insert into hookd.idempotency as i (org_id, key, part, fingerprint, event_ids, created_at)
    values (p_org_id, p_key, p_part, p_fingerprint, v_then.event_ids, v_now)
    on conflict (org_id, key, part) do update set
        fingerprint = excluded.fingerprint, event_ids = excluded.event_ids, created_at = excluded.created_at;
    return query select 'published', v_then.event_ids;
end $$;
