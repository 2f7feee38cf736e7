-- Broken: of a wide fan-out the first slice is made, and then the event has gone.
select hookd.break_function('route', $old$if v_last is not null then$old$, $new$if false then$new$);
