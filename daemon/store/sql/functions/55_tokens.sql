-- Takes p_count tokens of the host of an organisation's subscription, for requests that are no deliveries. As a claim does, it
-- takes none from a bucket that is empty: wait tells in how many seconds there are as many as are wanted, or as the bucket
-- holds; null where they have been taken. What is wanted beyond that is pending to those who come later. blocked_until tells
-- until when an open circuit keeps deliveries from the host; null while it is closed. rate: the host's tokens a second. All
-- are null if the organisation has no such subscription.
create or replace function hookd.take_tokens(
    p_org_id uuid, p_subscription_id uuid, p_count integer,
    out host text, out rate float8, out wait float8, out blocked_until timestamptz
)
language plpgsql volatile as $$
declare
    v_now  timestamptz;
    v_id   integer := hookd.lock_subscription(p_org_id, p_subscription_id);
    v_host hookd.host;
    v_lack float8;
begin
    if v_id is null then
        return;
    end if;
    v_now := hookd.clock();
    select * into v_host from hookd.host h where h.id = v_id;
    host := v_host.name;
    rate := v_host.rate;
    if hookd.circuit_open(v_host.circuit_failures) then
        blocked_until := greatest(v_host.blocked_until, v_now);
    end if;
    v_lack := least(p_count, greatest(1, v_host.burst)) - hookd.tokens_at(v_host, v_now);
    if v_lack > 0 then
        wait := v_lack / v_host.rate;
        return;
    end if;
    perform hookd.settle_hosts(array[v_id], v_now, p_taken => array[p_count], p_flown => array[p_count]);
end $$;
