-- Broken: what results bring back goes on to count as under way in their lane.
select hookd.break_function('record', 'v_off) off), p_flown => v_flown,', 'v_off) off),');
