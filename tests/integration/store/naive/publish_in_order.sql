-- Broken: one publisher at a time, as anything that keeps commits in order (or NOTIFY) has it.
alter function hookd.check_event rename to check_event_alone;
create function hookd.check_event(p_org_id uuid, p_type text, p_data jsonb, p_key text, p_after timestamptz) returns void language sql volatile as $$
    select pg_advisory_xact_lock(1);
    select hookd.check_event_alone(p_org_id, p_type, p_data, p_key, p_after);
$$;
