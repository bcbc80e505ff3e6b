-- Whether a session that began at p_began has been ended by a mark: one for everybody, for its user or for one of its tags. Asked
-- only of sessions that are older than the gate.
--
-- Stable, so that it sees the marks of the statement that asks.
create or replace function :PGSTORE_SCHEMA.is_marked(p_began timestamptz, p_user_id text, p_tags text[])
  returns boolean
  language plpgsql
  stable parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
begin
  return not coalesce((select w.everybody from :PGSTORE_SCHEMA.watermark as w where w.id) <= p_began, false)
    or exists (
      select from :PGSTORE_SCHEMA.marks as m
      where m.kind = 'user'
        and m.name = p_user_id
        and m.not_before > p_began
    )
    or exists (
      select from :PGSTORE_SCHEMA.marks as m
      where m.kind = 'tag'
        and m.name = any (p_tags)
        and m.not_before > p_began
    );
end
$$;
comment on function :PGSTORE_SCHEMA.is_marked(timestamptz, text, text[]) is
  'Whether a mark has ended a session that began then; internal.';
