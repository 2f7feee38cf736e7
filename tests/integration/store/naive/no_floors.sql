-- Broken: every scan begins at the very first entry, past all the dead ones that a held snapshot keeps.
create function hookd.forget_floors() returns trigger language plpgsql as $$
begin
    if tg_table_name = 'lane' then
        new.floor := '-infinity';
    elsif tg_table_name = 'host' then
        new.ready_floor := '-infinity';
        new.probe_floor := '-infinity';
    else
        new.floor := '0';
    end if;
    return new;
end $$;
create trigger forget before insert or update on hookd.lane for each row execute function hookd.forget_floors();
create trigger forget before insert or update on hookd.host for each row execute function hookd.forget_floors();
create trigger forget before insert or update on hookd.inbox_shard for each row execute function hookd.forget_floors();
