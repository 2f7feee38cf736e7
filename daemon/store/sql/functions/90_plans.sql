-- However a table looked when a plan was made, the hot functions look rows up, one after another in the order of an
-- index: a bitmap would collect all the lanes of each host for the few that a claim takes. And without jit off, the cost of the
-- disabled paths wakes the JIT for 120 ms a call. Generic plans: with arrays of ever other lengths Postgres would go on
-- planning each call anew, which is up to half of its work; fresh_plans() sees to it that none outlives the sizes it was made for.
do $$
declare
    v_function regprocedure;
begin
    for v_function in
        select p.oid::regprocedure from pg_proc p
        where p.pronamespace = (select c.relnamespace from pg_class c where c.oid = 'hookd.host'::regclass) and p.proname in ('publish', 'publish_batch', 'publish_bodies', 'publish_once',
            'open_shards', 'route', 'route_ready', 'poll', 'claim', 'claim_both', 'record', 'expired_leases', 'leased', 'set_active', 'change', 'rotate', 'remove', 'purge',
            'repair', 'limit_hosts', 'observe', 'attempts_page', 'pending_page', 'delivery_state',
            'attempts_of', 'event_of', 'redeliver', 'retry_now', 'cancel_replay')
    loop
        execute format('alter function %s set enable_seqscan = off', v_function);
        execute format('alter function %s set enable_bitmapscan = off', v_function);
        execute format('alter function %s set jit = off', v_function);
        execute format('alter function %s set plan_cache_mode = force_generic_plan', v_function);
    end loop;
end $$;
