-- Broken: a lane whose subscription is paused is due as if it were not.
select hookd.break_function('settle_lanes', 'when not x.active or x.in_flight', 'when x.in_flight');
