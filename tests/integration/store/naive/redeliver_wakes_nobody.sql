-- Broken: a delivery that is asked for once more is owed, and nobody is told.
select hookd.break_function('redeliver', $old$perform hookd.settle_lanes(array[p_subscription_id], v_now, p_early => array[v_now]);$old$, $new$$new$);
