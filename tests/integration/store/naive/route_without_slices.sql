-- Broken: routes whatever there is in one transaction, under the locks of all its hosts.
alter function hookd.route rename to route_slice;
create function hookd.route(
    p_shards smallint[], p_limit integer, p_budget integer, p_ids uuid[], p_orgs uuid[], p_bodies text[],
    p_problems text[], out events integer, out transactions integer, out cut boolean, out hosts integer[]
) language sql volatile as $$
    select * from hookd.route_slice(p_shards, p_limit, 1000000, p_ids, p_orgs, p_bodies, p_problems)
$$;
