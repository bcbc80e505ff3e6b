-- A time that no mark of session_end_before is later than: what began since then need not be compared with any.
--
-- Before the first mark it is this constant, written into the plans of those who ask, which costs a read nothing. From then on it is read
-- from a sequence, and a lone read pays 1.4 µs: see mark_gate_switch, which replaces this function.
create or replace function :PGSTORE_SCHEMA.mark_gate()
  returns timestamptz
  language sql
  volatile parallel unsafe
as $$
  select timestamptz '-infinity'
$$;
comment on function :PGSTORE_SCHEMA.mark_gate() is
  'A time that no mark is later than; internal.';
