-- A host's circuit: no request goes there while it is open, but for one now and then that tries whether it is back.

-- Five failures to connect in a row open a host's circuit.
create or replace function hookd.circuit_open(p_failures integer) returns boolean
language sql immutable parallel safe as $$ select p_failures >= 5 $$;

-- How many failures to connect count towards a host's circuit, of which the last was begun at p_failed. Those that were under
-- way together are one, a moment's; but each of p_waited held a sender for long. While the circuit is open, only a probe's
-- counts: what was sent before says nothing new.
create or replace function hookd.failures_of(p_host hookd.host, p_now timestamptz, p_failed timestamptz, p_waited integer)
returns integer
language sql immutable parallel safe as $$
    select case
        when p_failed is null then 0
        when not hookd.circuit_open(p_host.circuit_failures)
            then greatest(p_waited, (p_failed > p_host.failed_at)::integer)
        else (p_failed > p_host.failed_at and p_host.blocked_until <= p_now)::integer end
$$;

-- Seconds for which an open circuit blocks a host that has been away for p_away: half a second, doubling with each time in a
-- row to 5 minutes, with 20 % jitter; but no more than 0.8 seconds or a twenty-fifth of the time away, so that with the jitter
-- what waits for it goes within a second or a twentieth of that time, and has gone by a tenth.
create or replace function hookd.circuit_block(p_trips integer, p_away float8, p_random float8) returns float8
language sql immutable parallel safe as $$
    select least(300, 0.5 * 2.0 ^ least(p_trips, 10), greatest(0.8, 0.04 * p_away)) * (0.8 + 0.4 * p_random)
$$;
