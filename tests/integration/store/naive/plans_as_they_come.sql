-- Broken: plans that were right for an almost empty queue are kept when it is full.
do $$
declare
    v_function regprocedure;
begin
    for v_function in
        select p.oid::regprocedure from pg_proc p
        where p.pronamespace = 'hookd'::regnamespace and p.proconfig::text like '%enable_seqscan%'
    loop
        execute format('alter function %s reset all', v_function);
    end loop;
end $$;
create or replace function hookd.fresh_plans() returns void language sql as $$ select $$;
