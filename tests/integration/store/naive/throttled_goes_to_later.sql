-- Broken: what a limited host may not be sent now is put off to later, row by row, at each claim.
alter function hookd.claim rename to claim_what_may_go;
create function hookd.claim(
    p_token uuid, p_batch integer, p_hosts integer, p_lease interval, p_probe boolean, p_among integer[] default null,
    p_rank integer default 0, p_daemons integer default 1, p_full uuid[] default '{}', p_most_of_org integer default null)
returns table (delivery_id uuid, subscription_id uuid, host_id integer, event_id uuid, event_type text, attempt smallint,
    failures smallint, revision integer, body text, org_id uuid)
language plpgsql volatile as $$
begin
    return query select * from hookd.claim_what_may_go(p_token, p_batch, p_hosts, p_lease, p_probe);
    update hookd.delivery d set due = hookd.clock() + interval '1 second' where d.lease is null and d.due <= hookd.clock();
end $$;
