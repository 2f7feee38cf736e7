-- What a daemon at rest asks: is there an event to route, and may a claim find work?
create or replace function hookd.pulse(out inbox boolean, out due boolean) language plpgsql volatile as $$
begin
    inbox := exists (
        select from hookd.inbox_shard s where exists (
            select from hookd.inbox i where i.shard = s.shard and i.xid >= hookd.inbox_floor(s.floor) offset 0));
    due := exists (select from hookd.host h where h.ready_at <= hookd.clock() and h.ready_at < 'infinity')
        or exists (select from hookd.host h where h.probe_at <= hookd.clock() and h.probe_at < 'infinity');
end $$;

-- Says that a daemon polls often for p_time: until then publish() wakes nobody.
create or replace function hookd.stay_awake(p_time interval) returns void language plpgsql volatile as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    update hookd.publishing p set awake_until = hookd.clock() + p_time where p.awake_until < hookd.clock() + p_time / 2;
end $$;
