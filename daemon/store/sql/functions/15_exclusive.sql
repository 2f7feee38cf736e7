-- Has the caller's transaction do something of an organisation alone, until its end. False if another one was at it for
-- p_wait.
create or replace function hookd.exclude_others(p_org_id uuid, p_name text, p_wait interval) returns boolean
language plpgsql volatile set lock_timeout = 0 as $$
begin
    perform set_config('lock_timeout', ceil(extract(epoch from p_wait) * 1000)::text, true); -- to the end of this function
    insert into hookd.exclusive as e (org_id, name, held_at) values (p_org_id, p_name, hookd.clock())
    on conflict (org_id, name) do update set held_at = excluded.held_at;
    return true;
exception when lock_not_available then
    return false;
end $$;
