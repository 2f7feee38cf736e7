-- Broken: what came last goes first, also in strict order.
select hookd.break_function('claim', $old$order by d.due limit least(l.space, q.turn))
                    union all$old$, $new$order by d.due desc limit least(l.space, q.turn))
                    union all$new$);
