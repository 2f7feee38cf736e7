-- When an attempt started comes as a number, which costs less to send.
drop function if exists hookd.record(
    uuid[], uuid[], uuid[], integer[], uuid[], text[], integer[], text[], text[], integer[], text[], float8[], float8[], text[],
    boolean[], timestamptz[], float8[], text[], text[], uuid[], interval);
