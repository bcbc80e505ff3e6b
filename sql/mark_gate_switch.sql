-- Has all reads look for marks, from the gate in its sequence on, or none. Each connection plans what asks for it anew, at
-- its next transaction. For those who hold the lock of the watermark; granted to nobody.
create or replace function :PGSTORE_SCHEMA.mark_gate_switch(p_is_read boolean)
  returns void
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  if p_is_read = isfinite(:PGSTORE_SCHEMA.mark_gate()) then
    return;
  elsif p_is_read then
    create or replace function :PGSTORE_SCHEMA.mark_gate()
      returns timestamptz
      language sql
      volatile parallel unsafe
    as $gate$
      select pg_catalog.to_timestamp(pg_catalog.pg_sequence_last_value(':PGSTORE_SCHEMA.mark_gate'))
    $gate$;
    create or replace function :PGSTORE_SCHEMA.no_marks()
      returns boolean
      language sql
      stable parallel safe
    as $gate$
      select false
    $gate$;
  else
    create or replace function :PGSTORE_SCHEMA.mark_gate()
      returns timestamptz
      language sql
      volatile parallel unsafe
    as $gate$
      select timestamptz '-infinity'
    $gate$;
    create or replace function :PGSTORE_SCHEMA.no_marks()
      returns boolean
      language sql
      stable parallel safe
    as $gate$
      select true
    $gate$;
  end if;
end
$$;
comment on function :PGSTORE_SCHEMA.mark_gate_switch(boolean) is
  'Has the time that no mark is later than read from its sequence, or not; internal.';
