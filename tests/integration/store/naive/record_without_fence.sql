-- Broken: takes a result for whoever holds the delivery now.
alter function hookd.record rename to record_fenced;
create function hookd.record(
    p_deliveries uuid[], p_tokens uuid[], p_subscriptions uuid[], p_hosts integer[], p_events uuid[], p_types text[],
    p_attempts integer[], p_outcomes text[], p_reasons text[], p_statuses integer[], p_errors text[], p_delays float8[],
    p_holds float8[], p_lanes text[], p_host_failed boolean[], p_started float8[], p_durations float8[],
    p_phases text[], p_excerpts text[], p_done uuid[], p_disable_after interval, p_notes text[], p_headers text[], out counted boolean[], out pending boolean
) language sql volatile as $$
    select r.counted, r.pending from hookd.record_fenced(p_deliveries, array(
        select d.lease from unnest(p_deliveries) with ordinality u(id, n) left join hookd.delivery d on d.id = u.id order by n),
        p_subscriptions, p_hosts, p_events, p_types, p_attempts, p_outcomes, p_reasons, p_statuses, p_errors, p_delays,
        p_holds, p_lanes, p_host_failed, p_started, p_durations, p_phases, p_excerpts, p_done, p_disable_after, p_notes, p_headers) r
$$;
