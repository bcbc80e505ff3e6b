-- Whether there is no mark of session_end_before: then no plan holds a look for any, and a read pays nothing. A constant, written into the
-- plans of those who ask; mark_gate_switch replaces it.
create or replace function :PGSTORE_SCHEMA.no_marks()
  returns boolean
  language sql
  stable parallel safe
as $$
  select true
$$;
comment on function :PGSTORE_SCHEMA.no_marks() is
  'Whether no read need look for marks; internal.';
