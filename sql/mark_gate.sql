-- A time that no mark of session_end_before is later than: what began since then need not be compared with any.
--
-- Before the first mark it is this constant, written into the plans of those who ask. From then on it is read from a sequence: see
-- mark_gate_switch, which replaces this function.
create or replace function :PGSTORE_SCHEMA.mark_gate()
  returns timestamptz
  language sql
  volatile parallel unsafe
as $$
  select timestamptz '-infinity'
$$;
comment on function :PGSTORE_SCHEMA.mark_gate() is
  'A time that no mark is later than; internal.';
