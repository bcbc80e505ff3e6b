-- A time that no mark of session_end_before is later than: what began since then need not be compared with any.
--
-- A constant, which mark_gate_raise replaces: it is written into the plans of those who ask, so that it costs a read nothing, and
-- replacing it has every connection plan those anew at its next transaction. A sequence would cost a lone read 13 %, a table more.
-- Stable: an immutable one would be evaluated where it is planned, and the plan not know that it came from here. No migration may
-- include this file again: it would lower the gate.
create or replace function :PGSTORE_SCHEMA.mark_gate()
  returns timestamptz
  language sql
  stable parallel safe
as $$
  select timestamptz '-infinity'
$$;
comment on function :PGSTORE_SCHEMA.mark_gate() is
  'A time that no mark is later than; internal.';
