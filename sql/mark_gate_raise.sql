-- Raises the gate above a mark that is about to be set, to the next full minute: of many marks in a minute one has all connections plan
-- anew. For those who hold the lock of the watermark; granted to nobody.
create or replace function :PGSTORE_SCHEMA.mark_gate_raise(p_at timestamptz)
  returns void
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  if :PGSTORE_SCHEMA.mark_gate() >= p_at then
    return;
  end if;
  execute format(
    'create or replace function :PGSTORE_SCHEMA.mark_gate() returns timestamptz language sql stable parallel safe as %L',
    format('select timestamptz %L', to_char((date_trunc('minute', p_at) + interval '1 minute') at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
  );
end
$$;
comment on function :PGSTORE_SCHEMA.mark_gate_raise(timestamptz) is
  'Raises the time that no mark is later than; internal.';
