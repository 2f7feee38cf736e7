-- Broken: a delivery that is asked for once more is owed, and nobody is told.
select hookd.break_function('redeliver',
    'perform hookd.settle_subscription(p_subscription_id, v_host, v_now, p_early => v_now);', '');
