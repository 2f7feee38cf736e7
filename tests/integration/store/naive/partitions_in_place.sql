-- Broken: makes partitions as parts of the table at once, which waits for every open publisher, and all others for it.
create or replace function hookd.make_partitions(p_from timestamptz, p_until timestamptz) returns setof text
language plpgsql volatile as $$
begin
    execute format('create table hookd.event_in_place partition of hookd.event for values from (%L) to (%L)',
        hookd.uuid7_floor(p_until), hookd.uuid7_floor(p_until + interval '7 days'));
    return next 'event_in_place';
end $$;
