-- Switches the history on or off, for everybody: where it is on, every sign-in, regeneration and end is a row of it. p_keep is how
-- long a row is kept; null leaves that as it was, 90 days at first. What is kept stays, and is purged in its time, when it is
-- switched off. Status: on, off or invalid, which changes nothing.
create or replace function :PGSTORE_SCHEMA.audit_set(
  p_on boolean,
  p_keep interval default null,
  out status text,
  out keep interval
)
  returns record
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  if p_on is null or not :PGSTORE_SCHEMA.valid_life(p_keep) then
    status := 'invalid';
    return;
  end if;
  update :PGSTORE_SCHEMA.audit as a
  set
    is_on = p_on,
    keep = coalesce(p_keep, a.keep)
  returning case when a.is_on then 'on' else 'off' end, a.keep into status, keep;
end
$$;
comment on function :PGSTORE_SCHEMA.audit_set(boolean, interval) is
  'Switches the history of sessions on or off, and sets how long it is kept; status on, off or invalid.';
