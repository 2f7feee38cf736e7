-- Whoever may create a function in `public` could have ours run it with our rights: `cardinality(uuid[])` there fits better
-- than the one of Postgres, which takes any array. So no function looks for names anywhere but in pg_catalog; pg_temp is
-- named last, since left out it would come first. Functions in SQL without settings of their own are inlined into those that
-- call them, and a setting would forbid that: their text is read with the path of the caller, which is one of ours.
-- And nobody else may call them: docs/how-to/publish-in-sql.md says whom to grant publish() to.
do $$
declare
    v_function record;
begin
    for v_function in
        select p.oid::regprocedure as name, l.lanname = 'sql' and p.proconfig is null as is_inlined
        from pg_proc p join pg_language l on l.oid = p.prolang
        where p.pronamespace = (select c.relnamespace from pg_class c where c.oid = 'hookd.host'::regclass)
    loop
        if not v_function.is_inlined then
            execute format('alter function %s set search_path = pg_catalog, pg_temp', v_function.name);
        end if;
        execute format('revoke execute on function %s from public', v_function.name);
    end loop;
end $$;
