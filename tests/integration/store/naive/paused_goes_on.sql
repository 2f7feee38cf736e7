-- Broken: a lane whose subscription is paused is due as if it were not.
select hookd.break_function('settle_lanes', 'when not settled.active or settled.in_flight', 'when settled.in_flight');
