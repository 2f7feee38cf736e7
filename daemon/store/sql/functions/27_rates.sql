-- How many requests a host and a lane may be sent, by their rates.

-- The token bucket: what is in it at p_now.
create or replace function hookd.tokens_at(p_host hookd.host, p_now timestamptz) returns float8
language sql immutable parallel safe as $$
    select least(p_host.burst, p_host.tokens
        + p_host.rate * greatest(0, extract(epoch from p_now - p_host.refilled_at)::float8))
$$;

-- A lane's own rate, by the generic cell rate algorithm: what was sent has used the rate up until p_until, and one second's
-- worth may be ahead of that. pace: from when one more may go; paced_room: how many may go now.
-- Stable, as the subtraction is: called immutable it would not be inlined, and be planned anew in each statement.
create or replace function hookd.pace(p_rate float8, p_until timestamptz) returns timestamptz
language sql stable parallel safe as $$
    select case when p_rate is null then '-infinity'
        else p_until - make_interval(secs => (greatest(1, ceil(p_rate)) - 1) / p_rate) end
$$;

create or replace function hookd.paced_room(p_rate float8, p_until timestamptz, p_now timestamptz) returns integer
language sql immutable parallel safe as $$
    select greatest(0, least(1000000, floor(greatest(1, ceil(p_rate)) + 1e-6
        - greatest(0, extract(epoch from p_until - p_now)::float8) * p_rate)))::integer
$$;
